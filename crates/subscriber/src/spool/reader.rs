//! Reads frames back in order, and moves the cursor past what the API has.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use tracing::error;
use uuid::Uuid;

use super::cursor::Progress;
use super::frame::Frame;
use super::segment::{self, Found};
use super::{Extent, Shared};

/// The one reader.
pub struct Reader {
    shared: Arc<Shared>,
    at: Position,
    file: Option<File>,
    /// The sequence that should come next.
    expected: u64,
    /// Runs of sequences that were damaged, and that the cursor has not passed: where each ends, and how long it is.
    gaps: VecDeque<(u64, u64)>,
    /// The same of messages that were missing at the end when the spool was opened: nothing may ever come behind them.
    tail: Option<(u64, u64)>,
}

/// The next byte to read.
#[derive(Clone, Copy)]
struct Position {
    first_sequence: u64,
    restarts: u32,
    copies: u32,
    offset: u64,
}

impl Reader {
    /// Starts at the first message that the cursor has not passed; so many are `missing` at the end.
    pub(super) fn new(shared: Arc<Shared>, missing: u64) -> Self {
        let (first_sequence, expected, tail) = {
            let state = shared.state();
            let wanted = state.cursor.progress().acked + 1;
            let holds = state.segments.iter().rev().find(|segment| segment.first_sequence <= wanted);
            (
                holds.or(state.segments.front()).map_or(wanted, |segment| segment.first_sequence),
                wanted,
                (state.next_sequence - 1, missing),
            )
        };
        let at = Position { first_sequence, restarts: 0, copies: 0, offset: 0 };
        let tail = Some(tail).filter(|_| missing > 0);
        Self { shared, at, file: None, expected, gaps: VecDeque::new(), tail }
    }

    /// The next frame, as soon as there is one. Messages that the cursor has passed are left out.
    ///
    /// Reads are small and nearly always from the page cache, so they are done on the calling task. After an error the
    /// same frame can be asked for again. Cancel-safe.
    pub async fn next(&mut self) -> io::Result<Frame> {
        loop {
            // Asked for before looking, so that an append in between is not missed.
            let shared = self.shared.clone();
            let appended = shared.appended.notified();
            if let Some(frame) = self.try_next()? {
                return Ok(frame);
            }
            appended.await;
        }
    }

    /// The next frame, if it is there already.
    pub fn try_next(&mut self) -> io::Result<Option<Frame>> {
        while let Some(durable_bytes) = self.durable_bytes() {
            let Some(mut frame) = self.read_frame(durable_bytes)? else { continue };
            let acked = self.shared.state().cursor.progress().acked;
            let passed = (acked + 1).saturating_sub(frame.first_sequence).min(frame.messages.len() as u64);
            frame.messages.drain(..passed as usize);
            frame.first_sequence += passed;
            if frame.messages.is_empty() {
                continue;
            }
            if frame.first_sequence > self.expected {
                self.tail.take_if(|(end, _)| *end < frame.first_sequence);
                self.gaps.push_back((frame.first_sequence - 1, frame.first_sequence - self.expected));
            }
            self.expected = frame.first_sequence + frame.messages.len() as u64;
            return Ok(Some(frame));
        }
        Ok(None)
    }

    #[cfg(test)]
    pub(super) fn ack(&mut self, sequence: u64) -> io::Result<()> {
        self.ack_with(sequence, |_| {})
    }

    /// Everything up to `sequence` is safe elsewhere: the cursor moves, with what else changes in one write, so that the
    /// sums are always even; whole segments are removed.
    pub fn ack_with(&mut self, sequence: u64, change: impl FnOnce(&mut Progress)) -> io::Result<()> {
        // Nothing may ever follow what is missing at the end: the cursor passes it with what was before it.
        let tail = self.tail.filter(|(end, count)| sequence + count >= *end);
        let sequence = tail.map_or(sequence, |(end, _)| sequence.max(end));
        let count = self.gaps.iter().take_while(|(end, _)| *end <= sequence).count();
        let passed: Vec<_> = self.gaps.range(..count).copied().chain(tail).collect();
        {
            let mut state = self.shared.state();
            let mut progress = state.cursor.progress();
            if sequence > progress.acked {
                progress.acked = sequence;
                progress.damaged += passed.iter().map(|(_, count)| count).sum::<u64>();
                change(&mut progress);
                let moved = progress.base != state.cursor.progress().base;
                state.cursor.set(progress)?;
                if moved {
                    // Going back would give sequences of ours to what the API has under another name.
                    state.cursor.sync()?;
                }
            }
        }
        self.gaps.drain(..count);
        if let Some((end, _)) = tail {
            self.tail = None;
            self.expected = self.expected.max(end + 1);
        }
        for (end, count) in passed {
            error!(
                from = end + 1 - count,
                to = end,
                messages = count,
                "messages are missing from the spool: their segments were removed or are damaged; the ledger counts them as damaged"
            );
        }
        self.shared.release()
    }

    /// The API knows nothing of this producer that is newer than what was written here: durable on return.
    pub fn verified(&mut self) -> io::Result<()> {
        let mut state = self.shared.state();
        let progress = Progress { unverified_from: 0, ..state.cursor.progress() };
        state.cursor.set(progress)?;
        state.cursor.sync()
    }

    /// Goes on under a new name from `first_sequence` on; everything before it is with the API under the old one.
    /// Durable on return. Gives the new name.
    pub fn rename(&mut self, first_sequence: u64) -> io::Result<Uuid> {
        let passed = first_sequence - 1;
        let producer = Uuid::new_v4();
        let mut state = self.shared.state();
        let acked = passed.max(state.cursor.progress().acked);
        state.cursor.set(Progress { producer, base: passed, acked, quarantined: 0, damaged: 0, unverified_from: 0 })?;
        state.cursor.sync()?;
        drop(state);
        self.gaps.clear();
        self.tail.take_if(|(end, _)| *end < first_sequence);
        self.expected = self.expected.max(first_sequence);
        Ok(producer)
    }

    /// How much of the current segment may be read; goes on to the next segment where it is finished.
    fn durable_bytes(&mut self) -> Option<u64> {
        let state = self.shared.state();
        let mut segments = state.segments.iter().skip_while(|segment| segment.first_sequence < self.at.first_sequence);
        let mut segment = segments.next()?;
        let is_current = (segment.first_sequence, segment.restarts) == (self.at.first_sequence, self.at.restarts);
        if is_current && self.at.offset >= segment.durable_bytes {
            // Read to its end: an open descriptor would keep a removed segment's space from a full disk.
            self.file = None;
            segment = segments.next()?;
        }
        while segment.durable_bytes == 0 {
            segment = segments.next()?;
        }
        if (segment.first_sequence, segment.restarts) != (self.at.first_sequence, self.at.restarts) {
            let Extent { first_sequence, restarts, copies, .. } = *segment;
            self.at = Position { first_sequence, restarts, copies, offset: 0 };
            self.file = None;
        }
        if segment.copies != self.at.copies {
            // The old file ends where the copy was made.
            self.at.copies = segment.copies;
            self.file = None;
        }
        (self.at.offset < segment.durable_bytes).then_some(segment.durable_bytes)
    }

    /// The frame at the current position; none where damaged bytes were stepped over.
    fn read_frame(&mut self, durable_bytes: u64) -> io::Result<Option<Frame>> {
        if self.file.is_none() {
            match File::open(segment::path(&self.shared.settings.dir, self.at.first_sequence)) {
                Err(error) if error.kind() == ErrorKind::NotFound && self.is_closed() => {
                    return Ok(self.skip(durable_bytes, "removed"));
                }
                opened => self.file = Some(opened?),
            }
        }
        let file = self.file.as_ref().expect("opened above");
        // Another file in its place, or one that was cut short: what it has is read, the rest is missing.
        let len = file.metadata()?.len();
        if len <= self.at.offset && self.is_closed() {
            return Ok(self.skip(durable_bytes, "cut short"));
        }
        let end = if self.is_closed() { durable_bytes.min(len) } else { durable_bytes };
        let found = segment::look(self.shared.codec, file, self.at.offset, end);
        // The writer empties a segment of notes while we read it: then nothing that was read is what it seems.
        let restarts =
            |extent: &Extent| extent.first_sequence == self.at.first_sequence && extent.restarts != self.at.restarts;
        if self.shared.state().segments.iter().any(restarts) {
            return Ok(None);
        }
        let damaged = match found? {
            Found::Frame(bytes, extent) => match self.shared.codec.decode(&bytes) {
                Ok((frame, _)) => {
                    self.at.offset += extent.bytes as u64;
                    return Ok(Some(frame));
                }
                // A sound checksum over entries that this program cannot read.
                Err(_) => bytes,
            },
            Found::Damage { bytes, .. } => bytes,
        };
        segment::set_aside(&self.shared.settings.dir, self.at.first_sequence, self.at.offset, &damaged)?;
        self.at.offset += damaged.len() as u64;
        Ok(None)
    }

    /// Whether the writer has gone on to another segment.
    fn is_closed(&self) -> bool {
        self.shared.state().segments.back().is_none_or(|last| last.first_sequence != self.at.first_sequence)
    }

    /// Gives up what is left of this segment: none of it is there. The gap is counted as every gap is.
    fn skip(&mut self, durable_bytes: u64, what: &str) -> Option<Frame> {
        let path = segment::path(&self.shared.settings.dir, self.at.first_sequence);
        error!(segment = %path.display(), "a segment of the spool was {what}: messages that waited in it are missing");
        self.at.offset = durable_bytes;
        None
    }
}
