//! The spool: a segmented log on disk between the broker and the API, with one writer and one reader.
//!
//! - [`frame`]: the bytes of one group commit
//! - [`segment`]: the files, and what is found in them after a crash
//! - [`cursor`]: who the spool is, and up to where the API has everything
//! - [`writer`]: appends frames, durable when it returns
//! - [`reader`]: reads them back in order, and frees what was delivered
//!
//! Invariants: what [`Writer::append`] returned `Ok` for survives `kill -9`, and power loss with [`Durability::Fsync`];
//! a segment is removed only after a synced cursor has passed it; sequences never start over under one identity.

mod cursor;
mod frame;
mod reader;
mod segment;
mod writer;

use std::collections::VecDeque;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use clap::ValueEnum;
use tokio::sync::Notify;
use tracing::warn;

use cursor::Cursor;
pub use cursor::Identity;
pub use frame::{Frame, Message};
pub use reader::Reader;
pub use writer::{AppendError, Writer};

/// A segment is closed for appending at this size.
const SEGMENT_BYTES_MAX: u64 = 32 << 20;
/// A small spool has small segments, since space comes back a segment at a time.
const SEGMENTS_MIN: u64 = 8;

/// What an append waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// fdatasync: survives power loss.
    Fsync,
    /// write: survives kill -9, not power loss.
    Write,
}

/// Where the spool is and how large it may become.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its directory, made if it is missing.
    pub dir: PathBuf,
    /// Segments and quarantine together, in bytes.
    pub bytes_max: u64,
    /// What an append waits for.
    pub durability: Durability,
}

/// Why the spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Two writers would destroy each other's work.
    #[error("the spool {} is in use by another process", .dir.display())]
    Locked {
        /// The spool's directory.
        dir: PathBuf,
    },
    /// A file that this program did not write.
    #[error("{} is not a spool's cursor, or it is damaged", .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A format that this program does not know.
    #[error("{} has format {version}; this ponte-subscriber is older than the spool", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The format that it names.
        version: u32,
    },
    /// The disk or the directory.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// What opening found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes cut from the end of the last segment, where a write was torn.
    pub torn_bytes: u64,
    /// Messages that wait for the API.
    pub waiting: u64,
}

/// How full the spool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Messages that the API has not confirmed.
    pub waiting: u64,
    /// Segments and quarantine.
    pub bytes: u64,
    /// The limit on these bytes.
    pub bytes_max: u64,
    /// The sequence that the next message gets.
    pub next_sequence: u64,
}

/// A segment as its users know it: the file itself may be longer while an append is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    first_sequence: u64,
    durable_bytes: u64,
}

struct State {
    /// Oldest first; the last one is appended to.
    segments: VecDeque<Extent>,
    cursor: Cursor,
    next_sequence: u64,
    quarantine_bytes: u64,
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.durable_bytes).sum::<u64>() + self.quarantine_bytes
    }
}

/// What writer and reader have in common.
struct Shared {
    settings: Settings,
    state: Mutex<State>,
    /// Wakes the reader.
    appended: Notify,
    /// Wakes a writer that waits for space.
    freed: Condvar,
    /// Held as long as any part of the spool is.
    _lock: File,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the spool's state panics")
    }

    fn sync_wanted(&self) -> bool {
        self.settings.durability == Durability::Fsync
    }

    fn segment_bytes_max(&self) -> u64 {
        SEGMENT_BYTES_MAX.min(self.settings.bytes_max / SEGMENTS_MIN)
    }

    /// Whether the API has everything.
    fn drained(&self) -> bool {
        let state = self.state();
        state.cursor.acked + 1 == state.next_sequence
    }

    /// Removes the segments that the cursor has passed, all but the last.
    fn release(&self) -> io::Result<()> {
        let mut state = self.state();
        let acked = state.cursor.acked;
        let passed = state.segments.iter().skip(1).take_while(|next| next.first_sequence <= acked + 1).count();
        if passed == 0 {
            return Ok(());
        }
        // A power cut must not bring back a cursor that points before the oldest segment.
        state.cursor.sync()?;
        for _ in 0..passed {
            let path = segment::path(&self.settings.dir, state.segments[0].first_sequence);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => state.segments.pop_front(),
            };
        }
        drop(state);
        self.freed.notify_all();
        Ok(())
    }
}

/// A view on the spool's counters, for status and limits.
#[derive(Clone)]
pub struct Gauge(Arc<Shared>);

impl Gauge {
    /// How full it is now.
    pub fn usage(&self) -> Usage {
        let state = self.0.state();
        Usage {
            waiting: state.next_sequence - 1 - state.cursor.acked,
            bytes: state.bytes(),
            bytes_max: self.0.settings.bytes_max,
            next_sequence: state.next_sequence,
        }
    }

    /// Who this spool is.
    pub fn identity(&self) -> Identity {
        self.0.state().cursor.identity
    }

    /// Says how large the quarantine is now: it shares the spool's limit.
    pub fn set_quarantine_bytes(&self, bytes: u64) {
        self.0.state().quarantine_bytes = bytes;
        self.0.freed.notify_all();
    }
}

/// Opens the spool, or makes it; cuts a torn tail and finds where to go on.
pub fn open(settings: Settings) -> Result<(Writer, Reader, Gauge, Recovery), OpenError> {
    let dir = settings.dir.clone();
    let fault = |path: &Path, error| OpenError::Io { path: path.to_owned(), error };
    fs::create_dir_all(&dir).map_err(|error| fault(&dir, error))?;
    let lock = lock(&dir)?;
    let (cursor, created) = Cursor::open(&dir)?;
    let mut segments = segment::list(&dir).map_err(|error| fault(&dir, error))?;
    if created && !segments.is_empty() {
        warn!(producer = %cursor.identity.producer, "segments without a cursor: they are sent under a new identity");
    }
    let mut torn_bytes = 0;
    let mut next_sequence = cursor.acked + 1;
    if let Some(last) = segments.back_mut() {
        let path = segment::path(&dir, last.first_sequence);
        let found = segment::recover(&path, last.first_sequence).map_err(|error| fault(&path, error))?;
        torn_bytes = found.torn_bytes;
        last.durable_bytes = found.durable_bytes;
        next_sequence = next_sequence.max(found.next_sequence);
    }
    let shared = Arc::new(Shared {
        settings,
        state: Mutex::new(State { segments, cursor, next_sequence, quarantine_bytes: 0 }),
        appended: Notify::new(),
        freed: Condvar::new(),
        _lock: lock,
    });
    let writer = Writer::open(shared.clone()).map_err(|error| fault(&dir, error))?;
    shared.release().map_err(|error| fault(&dir, error))?;
    let reader = Reader::new(shared.clone());
    let gauge = Gauge(shared);
    let recovery = Recovery { torn_bytes, waiting: gauge.usage().waiting };
    Ok((writer, reader, gauge, recovery))
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join("lock");
    let file = File::create(&path).map_err(|error| OpenError::Io { path: path.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::Io { path, error }),
    }
}

#[cfg(test)]
mod tests;
