//! Appends frames; what it says is stored is on the disk.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::checkpoint::Checkpoint;
use super::frame::{Entry, HEADER_BYTES};
use super::{Extent, Shared, disk, is_full, segment};
use crate::session::Inbound;

/// Zeros that are written ahead of the frames at a time. A sync of what was written over them writes the data alone;
/// where a file grows, its length and its place on the disk too, which takes twice as long, or more with a journal.
const PREPARED_BYTES: u64 = 1 << 20;
/// So many of them in one write.
const ZEROS: usize = 64 << 10;
/// Memory that the encoding buffer keeps between frames.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Why a frame was not stored. It can be tried again: nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// `SPOOL_MAX_BYTES` is reached; space comes back as the API takes messages.
    #[error("the spool has reached its limit of {bytes_max} bytes")]
    Full {
        /// The limit.
        bytes_max: u64,
    },
    /// A file of the spool was removed or replaced: what is written to it would not be found again.
    #[error("{} was removed or replaced while it was in use", .path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
    },
    /// The disk, full or failing.
    #[error("the spool cannot be written: {0}")]
    Io(#[from] io::Error),
}

impl AppendError {
    /// Whether less might fit.
    pub fn is_for_space(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Misplaced { .. } => false,
            Self::Io(error) => is_full(error),
        }
    }
}

/// The one appender.
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) active: Active,
    buffer: BytesMut,
    pub(super) checkpoint: Checkpoint,
    /// A rotation has begun and failed. It must be completed before anything is appended: the disk may have the new
    /// segment or its checkpoint already, and at the next start nothing would be looked for behind them in the old one.
    rotating: bool,
    /// A file was not in its place at the last check.
    pub(super) misplaced: bool,
    /// The state of QoS 2 as the disk has it.
    durable: Inbound,
}

/// The segment that is appended to.
pub(super) struct Active {
    pub(super) first_sequence: u64,
    /// Where the next frame goes: everything before is as durable as the settings ask.
    pub(super) offset: u64,
    /// Up to here the file is zero behind `offset`, or there was no room to make it so.
    pub(super) prepared: u64,
    /// None after a failed write or sync: that descriptor is never used again.
    pub(super) file: Option<File>,
}

impl Writer {
    pub(super) fn open(shared: Arc<Shared>, checkpoint: Checkpoint, durable: Inbound) -> io::Result<Self> {
        let (last, next_sequence) = {
            let state = shared.state();
            (state.segments.back().copied(), state.next_sequence)
        };
        let active = Active {
            first_sequence: last.map_or(next_sequence, |last| last.first_sequence),
            offset: last.map_or(0, |last| last.durable_bytes),
            prepared: 0,
            file: None,
        };
        let mut writer =
            Self { shared, active, buffer: BytesMut::new(), checkpoint, rotating: false, misplaced: false, durable };
        match last {
            Some(last) => {
                writer.mend()?;
                let checkpoint_from = writer.shared.state().checkpoint_from;
                if last.first_sequence < checkpoint_from {
                    // The newest segment was removed. Notes that come now would not be looked for in an older one.
                    writer.begin_segment(next_sequence)?;
                }
                // A rotation that was not completed, or a checkpoint that was lost: without it no segment could go. On
                // a full disk the next rotation brings it.
                if checkpoint_from < last.first_sequence {
                    let _ = writer.save_checkpoint(last.first_sequence);
                }
            }
            None => writer.begin_segment(next_sequence)?,
        }
        Ok(writer)
    }

    /// Stores entries as one frame and gives the sequence of its first message.
    ///
    /// There must be at least one entry. On an error nothing is stored, and the same call may be made again.
    pub fn append<'a>(&mut self, entries: impl Iterator<Item = Entry<'a>> + Clone) -> Result<u64, AppendError> {
        if self.misplaced || self.is_cut_short()? {
            self.check()?;
        }
        self.mend()?;
        let size = (HEADER_BYTES + entries.clone().map(|entry| entry.encoded_len()).sum::<usize>()) as u64;
        let next_sequence = self.make_room(size)?;
        self.buffer.clear();
        self.buffer.reserve(size as usize);
        self.shared.codec.encode(next_sequence, 0, entries.clone(), &mut self.buffer);
        if let Err(error) = self.prepare(size).and_then(|()| self.write()) {
            // After a failed fsync the page cache may claim what the disk does not have: only a new descriptor on a
            // file cut back to its last durable byte is trusted again.
            self.active.file = None;
            return if self.give_up_segment(&error)? { self.append(entries) } else { Err(error.into()) };
        }
        self.check()?;
        self.active.offset += size;
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = BytesMut::new();
        }
        let (mut messages, mut first_ms) = (0, None);
        for entry in entries {
            match entry {
                Entry::Message(message) => {
                    messages += 1;
                    first_ms = first_ms.or(Some(message.captured_ms));
                    self.durable.pass((message.qos == 1).into());
                }
                Entry::Note(note) => self.durable.apply(note),
            }
        }
        let mut state = self.shared.state();
        if state.cursor.progress().acked + 1 == state.next_sequence {
            state.oldest_ms = first_ms;
        }
        state.next_sequence += messages;
        if messages > 0 {
            // Where it fails, less of a loss would be noticed at the next start; nothing is lost by that.
            let next_sequence = state.next_sequence;
            let _ = state.cursor.reached(next_sequence);
        }
        state.segments.back_mut().expect("the active segment").durable_bytes = self.active.offset;
        drop(state);
        self.shared.appended.notify_one();
        Ok(next_sequence)
    }

    /// The state of QoS 2 that the disk has: what a conversation with the broker goes on from.
    pub fn inbound(&self) -> &Inbound {
        &self.durable
    }

    /// Waits until the reader may have freed space, at most `timeout`.
    pub fn wait_for_space(&self, timeout: Duration) {
        let state = self.shared.state();
        let _ = self.shared.freed.wait_timeout(state, timeout).expect("no holder of the spool's state panics");
    }

    /// Writes zeros where this frame goes and others will go. Where there is no room for them, the file grows with its
    /// frames for a while.
    fn prepare(&mut self, size: u64) -> io::Result<()> {
        let Active { offset, prepared, ref file, .. } = self.active;
        if offset + size <= prepared || !self.shared.sync_wanted() {
            return Ok(());
        }
        let left = self.shared.settings.bytes_max.saturating_sub(self.shared.state().bytes());
        let end = (offset + PREPARED_BYTES.min(left)).min(self.shared.segment_bytes_max());
        if end < offset + size {
            return Ok(());
        }
        let file = file.as_ref().expect("mended before every write");
        match write_zeros(file, prepared.max(offset), end) {
            Err(error) if is_full(&error) => self.reopen()?,
            result => result?,
        }
        self.active.prepared = end;
        Ok(())
    }

    fn write(&self) -> io::Result<()> {
        let file = self.active.file.as_ref().expect("mended before every write");
        disk::write(file, &self.buffer, self.active.offset)?;
        if self.shared.sync_wanted() { disk::sync(file) } else { Ok(()) }
    }

    /// On a full disk with everything delivered, the active segment itself is what can be given back.
    fn give_up_segment(&mut self, error: &io::Error) -> io::Result<bool> {
        let next_sequence = self.shared.state().next_sequence;
        if !is_full(error) || self.active.offset == 0 || !self.shared.drained() {
            return Ok(false);
        }
        self.mend()?;
        self.begin_segment(next_sequence)?;
        self.shared.release()?;
        Ok(true)
    }

    /// Checks the limit, rotates where due; gives the next sequence.
    fn make_room(&mut self, size: u64) -> Result<u64, AppendError> {
        let bytes_max = self.shared.settings.bytes_max;
        let (bytes, next_sequence) = {
            let state = self.shared.state();
            (state.bytes(), state.next_sequence)
        };
        let drained = self.shared.drained();
        let full = bytes + size > bytes_max;
        let due = self.active.offset + size > self.shared.segment_bytes_max() || (full && drained);
        let rotate = self.rotating || (self.active.offset > 0 && due);
        if full && !(rotate && drained) {
            return Err(AppendError::Full { bytes_max });
        }
        if rotate {
            // Once it is closed, what was removed could not be put back.
            self.check()?;
            self.begin_segment(next_sequence)?;
            self.shared.release()?;
            if self.shared.state().bytes() + size > bytes_max {
                return Err(AppendError::Full { bytes_max });
            }
        }
        Ok(next_sequence)
    }

    /// The order matters: the new segment is there before the checkpoint that begins with it, and the older ones may
    /// go only after that.
    pub(super) fn begin_segment(&mut self, first_sequence: u64) -> io::Result<()> {
        if self.active.offset > 0 && first_sequence == self.active.first_sequence {
            return self.empty_segment();
        }
        self.trim()?;
        self.rotating = true;
        let file = segment::create(&self.shared.settings.dir, first_sequence, self.shared.sync_wanted())?;
        self.save_checkpoint(first_sequence)?;
        self.rotating = false;
        self.active = Active { first_sequence, offset: 0, prepared: 0, file: Some(file) };
        self.shared.state().segments.push_back(Extent { first_sequence, restarts: 0, copies: 0, durable_bytes: 0 });
        Ok(())
    }

    /// Cuts off what was prepared and not used: no segment but the last one ends in zeros.
    fn trim(&mut self) -> io::Result<()> {
        if self.active.prepared > self.active.offset { self.reopen() } else { Ok(()) }
    }

    /// Gives the descriptor up and takes the file back to its last durable byte.
    fn reopen(&mut self) -> io::Result<()> {
        self.active.file = None;
        self.mend()
    }

    pub(super) fn save_checkpoint(&mut self, from_sequence: u64) -> io::Result<()> {
        self.checkpoint.save(&self.durable, from_sequence)?;
        self.shared.state().checkpoint_from = from_sequence;
        Ok(())
    }

    /// A segment of nothing but notes begins anew. Should they be read again, they change nothing.
    fn empty_segment(&mut self) -> io::Result<()> {
        self.save_checkpoint(self.active.first_sequence)?;
        let mut state = self.shared.state();
        let extent = state.segments.back_mut().expect("the active segment");
        extent.durable_bytes = 0;
        extent.restarts += 1;
        drop(state);
        self.active.offset = 0;
        self.reopen()
    }

    /// Makes the active segment fit to append to: a new descriptor, nothing behind the last durable byte.
    pub(super) fn mend(&mut self) -> io::Result<()> {
        if self.active.file.is_some() {
            return Ok(());
        }
        let path = segment::path(&self.shared.settings.dir, self.active.first_sequence);
        let file = disk::open(&path).inspect_err(|error| self.misplaced |= error.kind() == ErrorKind::NotFound)?;
        disk::set_len(&file, self.active.offset)?;
        if self.shared.sync_wanted() {
            disk::sync(&file)?;
        }
        self.active.file = Some(file);
        self.active.prepared = self.active.offset;
        Ok(())
    }
}

/// Durable on return.
fn write_zeros(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    for start in (from..to).step_by(ZEROS) {
        disk::write(file, &zeros[..ZEROS.min((to - start) as usize)], start)?;
    }
    disk::sync(file)
}
