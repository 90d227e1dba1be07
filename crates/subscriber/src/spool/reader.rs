//! Reads frames back in order, and moves the cursor past what the API has.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::frame::{self, Bad, Frame, HEADER_BYTES};
use super::{Shared, segment};

/// The one reader.
pub struct Reader {
    shared: Arc<Shared>,
    at: Position,
    file: Option<File>,
}

/// The next byte to read.
#[derive(Clone, Copy)]
struct Position {
    first_sequence: u64,
    offset: u64,
}

impl Reader {
    /// Starts at the first message that the cursor has not passed.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let first_sequence = {
            let state = shared.state();
            let wanted = state.cursor.acked + 1;
            let holds = state.segments.iter().rev().find(|segment| segment.first_sequence <= wanted);
            holds.or(state.segments.front()).map_or(wanted, |segment| segment.first_sequence)
        };
        Self { shared, at: Position { first_sequence, offset: 0 }, file: None }
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
            let acked = self.shared.state().cursor.acked;
            let passed = (acked + 1).saturating_sub(frame.first_sequence).min(frame.messages.len() as u64);
            frame.messages.drain(..passed as usize);
            frame.first_sequence += passed;
            if !frame.messages.is_empty() {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Everything up to `sequence` is safe elsewhere: the cursor moves, and whole segments are removed.
    pub fn ack(&mut self, sequence: u64) -> io::Result<()> {
        {
            let mut state = self.shared.state();
            if sequence > state.cursor.acked {
                state.cursor.set(sequence)?;
            }
        }
        self.shared.release()
    }

    /// How much of the current segment may be read; goes on to the next segment where it is finished.
    fn durable_bytes(&mut self) -> Option<u64> {
        let state = self.shared.state();
        let mut segments = state.segments.iter().skip_while(|segment| segment.first_sequence < self.at.first_sequence);
        let mut segment = segments.next()?;
        if segment.first_sequence == self.at.first_sequence && self.at.offset >= segment.durable_bytes {
            // Read to its end: an open descriptor would keep a removed segment's space from a full disk.
            self.file = None;
            segment = segments.next()?;
        }
        if segment.first_sequence != self.at.first_sequence {
            self.at = Position { first_sequence: segment.first_sequence, offset: 0 };
            self.file = None;
        }
        (self.at.offset < segment.durable_bytes).then_some(segment.durable_bytes)
    }

    /// The frame at the current position; none where damaged bytes were stepped over.
    fn read_frame(&mut self, durable_bytes: u64) -> io::Result<Option<Frame>> {
        let file = match &self.file {
            Some(file) => file,
            None => {
                let path = segment::path(&self.shared.settings.dir, self.at.first_sequence);
                self.file.insert(File::open(path)?)
            }
        };
        let rest = durable_bytes - self.at.offset;
        let header = read_at(file, self.at.offset, rest.min(HEADER_BYTES as u64))?;
        let len = match frame::verify(&header) {
            Err(Bad::Short) if header.len() == HEADER_BYTES => {
                let len = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
                rest.min(HEADER_BYTES as u64 + u64::from(len))
            }
            _ => rest.min(HEADER_BYTES as u64),
        };
        let bytes = read_at(file, self.at.offset, len)?;
        match frame::decode(&bytes) {
            Ok((frame, extent)) => {
                self.at.offset += extent.bytes as u64;
                Ok(Some(frame))
            }
            Err(_) => {
                let bytes = read_at(file, self.at.offset, rest)?;
                let next = frame::resync(&bytes, 1).unwrap_or(bytes.len());
                segment::set_aside(&self.shared.settings.dir, self.at.first_sequence, self.at.offset, &bytes[..next])?;
                self.at.offset += next as u64;
                Ok(None)
            }
        }
    }
}

fn read_at(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(len as usize);
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.freeze())
}
