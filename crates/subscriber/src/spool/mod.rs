//! The spool: a segmented log on disk between the broker and the API, with one writer and one reader.
//!
//! - [`frame`]: the bytes of one group commit
//! - [`segment`]: the files, and what is found in them after a crash
//! - [`cursor`]: who the spool is towards the API, and up to where the API has everything
//! - [`checkpoint`]: the state of QoS 2 at the start of a segment
//! - [`disk`]: the changes to files that durability rests on
//! - [`writer`]: appends frames, durable when it returns; [`in_place`]: whether its files are still there, and putting
//!   back what was removed
//! - [`reader`]: reads them back in order, and frees what was delivered
//!
//! Invariants: what [`Writer::append`] returned `Ok` for survives `kill -9`, and power loss with [`Durability::Fsync`];
//! a segment is removed only after a synced cursor has passed it and a synced checkpoint begins behind it; sequences
//! never start over under one identity.

mod checkpoint;
mod cursor;
mod disk;
mod frame;
mod in_place;
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
use uuid::Uuid;

use checkpoint::Checkpoint;
use cursor::Cursor;
pub use cursor::Progress;
use frame::Codec;
pub(crate) use frame::MESSAGE_ALONE_BYTES;
pub use frame::{BootTime, Clock, Entry, Frame, Message};
pub use reader::Reader;
pub use writer::{AppendError, Writer};

use crate::session::Inbound;

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
    /// Acknowledged messages at the ends of what was found that are not there any more: counted as damaged, or about
    /// to be, once what waits before them is delivered.
    pub missing: u64,
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
    /// How far the API has it.
    pub progress: Progress,
    /// Capture time of the oldest message that waits, in milliseconds since the Unix epoch; none where nothing waits.
    pub oldest_ms: Option<i64>,
}

/// A segment as its users know it: the file itself may be longer while an append is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    first_sequence: u64,
    /// How often it was emptied and begun anew.
    restarts: u32,
    /// How often its file was made again with the same content.
    copies: u32,
    durable_bytes: u64,
}

struct State {
    /// Oldest first; the last one is appended to.
    segments: VecDeque<Extent>,
    cursor: Cursor,
    next_sequence: u64,
    quarantine_bytes: u64,
    /// The newest checkpoint holds the state before this segment: it and what follows it must stay.
    checkpoint_from: u64,
    /// Capture time of the oldest message that waits, as far as it is known.
    oldest_ms: Option<i64>,
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.durable_bytes).sum::<u64>() + self.quarantine_bytes
    }
}

/// What writer and reader have in common.
struct Shared {
    settings: Settings,
    codec: Codec,
    state: Mutex<State>,
    /// Wakes the reader.
    appended: Notify,
    /// Wakes a writer that waits for space.
    freed: Condvar,
    /// Held as long as any part of the spool is.
    lock: Mutex<File>,
    /// The disk that the directory is on.
    device: u64,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the spool's state panics")
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.lock.lock().expect("no holder of the lock file panics")
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
        state.cursor.progress().acked + 1 == state.next_sequence
    }

    /// Removes the segments that the cursor has passed, all but the last.
    fn release(&self) -> io::Result<()> {
        let mut state = self.state();
        let acked = state.cursor.progress().acked;
        let may_go = |next: &&Extent| next.first_sequence <= (acked + 1).min(state.checkpoint_from);
        let passed = state.segments.iter().skip(1).take_while(may_go).count();
        if passed == 0 {
            return Ok(());
        }
        // A power cut must not bring back a cursor that points before the oldest segment.
        state.cursor.sync()?;
        for _ in 0..passed {
            let path = segment::path(&self.settings.dir, state.segments[0].first_sequence);
            match disk::remove(&path) {
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
        let progress = state.cursor.progress();
        Usage {
            waiting: state.next_sequence - 1 - progress.acked,
            bytes: state.bytes(),
            bytes_max: self.0.settings.bytes_max,
            next_sequence: state.next_sequence,
            progress,
            oldest_ms: state.oldest_ms.filter(|_| progress.acked + 1 < state.next_sequence),
        }
    }

    /// Says that the oldest message that waits was captured then.
    pub fn set_oldest_ms(&self, captured_ms: i64) {
        self.0.state().oldest_ms = Some(captured_ms);
    }

    /// Names the installation, for ever.
    pub fn installation(&self) -> Uuid {
        self.0.state().cursor.installation
    }

    /// Makes durable how far the spool is: at a clean stop, after which nothing may be missing.
    pub fn sync(&self) -> io::Result<()> {
        self.0.state().cursor.sync()
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
    let (mut cursor, is_new) = Cursor::open(&dir)?;
    let (checkpoint, saved) = Checkpoint::open(&dir, cursor.codec).map_err(|error| fault(&dir, error))?;
    let mut segments = segment::list(&dir).map_err(|error| fault(&dir, error))?;
    let mut durable = saved.inbound;
    let mut torn_bytes = 0;
    let mut end = cursor.progress().acked + 1;
    let known_end = cursor.next_sequence.max(saved.from_sequence);
    let last_sequence = segments.back().map(|last| last.first_sequence);
    for segment in &mut segments {
        let (is_noted, is_last) =
            (segment.first_sequence < saved.from_sequence, Some(segment.first_sequence) == last_sequence);
        if is_noted && !is_last {
            continue;
        }
        let path = segment::path(&dir, segment.first_sequence);
        // The checkpoint has the notes of the segments before it.
        let notes = if is_noted { &mut Inbound::default() } else { &mut durable };
        let found =
            segment::scan(cursor.codec, &path, segment.first_sequence, notes).map_err(|error| fault(&path, error))?;
        end = end.max(found.next_sequence);
        if is_last {
            segment::settle(cursor.codec, &dir, segment.first_sequence, &found, end < known_end)
                .map_err(|error| fault(&path, error))?;
            torn_bytes = found.torn_bytes;
            segment.durable_bytes = found.sound_bytes;
        } else if found.torn_bytes == 0 {
            // Without the zeros that a rotation could not cut off.
            segment.durable_bytes = found.sound_bytes;
        }
    }
    // An earlier run may have ended between making a file and making its name durable.
    disk::sync_dir(&dir).map_err(|error| fault(&dir, error))?;
    let next_sequence = end.max(known_end);
    let oldest = segments.front().map_or(next_sequence, |segment| segment.first_sequence);
    let (missing, tail) = begin(&mut cursor, is_new, oldest, end, next_sequence).map_err(|error| fault(&dir, error))?;
    let shared = Arc::new(Shared {
        device: in_place::device(&dir).map_err(|error| fault(&dir, error))?,
        settings,
        codec: cursor.codec,
        state: Mutex::new(State {
            segments,
            cursor,
            next_sequence,
            quarantine_bytes: 0,
            checkpoint_from: saved.from_sequence,
            oldest_ms: None,
        }),
        appended: Notify::new(),
        freed: Condvar::new(),
        lock: Mutex::new(lock),
    });
    let writer = Writer::open(shared.clone(), checkpoint, durable).map_err(|error| fault(&dir, error))?;
    shared.release().map_err(|error| fault(&dir, error))?;
    let oldest = Reader::new(shared.clone(), 0).try_next().map_err(|error| fault(&dir, error))?;
    shared.state().oldest_ms = oldest.map(|frame| frame.messages[0].captured_ms);
    let reader = Reader::new(shared.clone(), tail);
    let gauge = Gauge(shared);
    let recovery = Recovery { torn_bytes, waiting: gauge.usage().waiting - tail, missing };
    Ok((writer, reader, gauge, recovery))
}

/// Fits the cursor to the segments, counts what is missing before `oldest` and from `end` on, and remembers durably from
/// which sequence on this run writes what the API has not vouched for.
///
/// Gives how many messages are missing, and how many of them the cursor cannot pass yet, since others wait before them.
fn begin(cursor: &mut Cursor, is_new: bool, oldest: u64, end: u64, next_sequence: u64) -> io::Result<(u64, u64)> {
    let mut progress = cursor.progress();
    let before = oldest.saturating_sub(1);
    if is_new {
        if oldest < next_sequence {
            warn!(producer = %progress.producer, "segments without a cursor: they are sent under a new identity");
        }
        progress.base = before;
        progress.acked = before;
    }
    // The cursor is synced before a segment is removed: what it has not passed was there.
    let mut missing = before.saturating_sub(progress.acked);
    progress.acked += missing;
    let mut tail = next_sequence - end.max(progress.acked + 1);
    missing += tail;
    if progress.acked + 1 == end {
        progress.acked += tail;
        tail = 0;
    }
    progress.damaged += missing - tail;
    if progress.unverified_from == 0 {
        progress.unverified_from = next_sequence;
    }
    cursor.next_sequence = next_sequence;
    cursor.set(progress)?;
    cursor.sync()?;
    Ok((missing, tail))
}

/// Whether there is no space, rather than something wrong.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// Whether a process holds this spool; nothing is made by the look.
pub fn is_locked(dir: &Path) -> bool {
    File::open(dir.join("lock")).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
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

#[cfg(any(test, fuzzing))]
pub(crate) use fuzz::{cursor as fuzz_cursor, frame as fuzz_frame};

#[cfg(any(test, fuzzing))]
mod fuzz;
#[cfg(test)]
mod power_loss;
#[cfg(test)]
mod tests;
