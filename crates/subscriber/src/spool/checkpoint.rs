//! The file `session`: the state of QoS 2 at the start of a segment, so that older segments may go.
//!
//! Two slots that are written in turn, each one frame of notes whose `first_sequence` is that of the segment and whose
//! `mark` counts up. Their first bytes are set aside at the start, so that a checkpoint of usual size needs no space on
//! a full disk; a larger one leaves out what it can do without there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::{Bytes, BytesMut};

use super::frame::{Codec, Entry, HEADER_BYTES};
use super::{disk, is_full};
use crate::session::{Inbound, Note};

/// Room for the notes of 65,535 packet ids, and of those released last.
const SLOT_BYTES: u64 = 2 << 20;
/// What is set aside of each slot: some 500 ids.
const PREPARED_BYTES: usize = 8 << 10;

/// The open file.
#[derive(Debug)]
pub(super) struct Checkpoint {
    file: File,
    codec: Codec,
    mark: u32,
}

/// What the newest checkpoint says: the state before the first frame of the segment `from_sequence`.
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) inbound: Inbound,
    pub(super) from_sequence: u64,
}

impl Checkpoint {
    /// Opens the file, or makes it. Without a sound checkpoint all segments count from the first on.
    pub(super) fn open(dir: &Path, codec: Codec) -> io::Result<(Self, Saved)> {
        let path = dir.join("session");
        let file = disk::create(&path)?;
        let bytes = file.metadata()?.len();
        if bytes < SLOT_BYTES + PREPARED_BYTES as u64 {
            for slot in 0..2 {
                disk::write(&file, &[0; PREPARED_BYTES], slot * SLOT_BYTES)?;
            }
            disk::sync(&file)?;
            disk::sync_dir(dir)?;
        }
        let mut newest = (0, Saved::default());
        for slot in 0..2 {
            if let Some((mark, saved)) = read(codec, &file, slot)?
                && mark > newest.0
            {
                newest = (mark, saved);
            }
        }
        Ok((Self { file, codec, mark: newest.0 }, newest.1))
    }

    /// Makes the file again where it was removed or replaced; [`Self::save`] must follow.
    pub(super) fn put_back(&mut self, dir: &Path) -> io::Result<()> {
        *self = Self::open(dir, self.codec)?.0;
        Ok(())
    }

    /// Whether `path` still names the open file.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        disk::is_at(&self.file, path)
    }

    /// Keeps the state before the first frame of a segment; durable on return.
    pub(super) fn save(&mut self, inbound: &Inbound, from_sequence: u64) -> io::Result<()> {
        match self.write(inbound.notes(), from_sequence) {
            Err(error) if is_full(&error) => self.write(inbound.unreleased(), from_sequence),
            result => result,
        }
    }

    fn write(&mut self, notes: Vec<Note>, from_sequence: u64) -> io::Result<()> {
        let mark = self.mark + 1;
        let mut bytes = BytesMut::new();
        self.codec.encode(from_sequence, mark, notes.into_iter().map(Entry::Note), &mut bytes);
        disk::write(&self.file, &bytes, u64::from(mark % 2) * SLOT_BYTES)?;
        disk::sync(&self.file)?;
        self.mark = mark;
        Ok(())
    }
}

fn read(codec: Codec, file: &File, slot: u64) -> io::Result<Option<(u32, Saved)>> {
    let start = slot * SLOT_BYTES;
    let end = file.metadata()?.len().min(start + SLOT_BYTES);
    let mut header = [0; HEADER_BYTES];
    if start + HEADER_BYTES as u64 > end {
        return Ok(None);
    }
    file.read_exact_at(&mut header, start)?;
    let len = u64::from(u32::from_le_bytes(header[8..12].try_into().expect("four bytes")));
    let mut bytes = vec![0; (HEADER_BYTES as u64 + len).min(end - start) as usize];
    file.read_exact_at(&mut bytes, start)?;
    let saved = codec.decode(&Bytes::from(bytes)).ok().map(|(frame, extent)| {
        let inbound = frame.notes.into_iter().collect();
        (extent.mark, Saved { inbound, from_sequence: frame.first_sequence })
    });
    Ok(saved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Fingerprint;

    const CODEC: Codec = Codec { magic: *b"test" };

    #[test]
    fn the_newest_sound_checkpoint_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (mut checkpoint, saved) = Checkpoint::open(dir.path(), CODEC).unwrap();
        assert_eq!((saved.inbound, saved.from_sequence), (Inbound::default(), 0));
        let mut inbound = Inbound::default();
        for pkid in 1..=u16::MAX {
            inbound.publish(pkid, false, Fingerprint(pkid.into()), true);
        }
        checkpoint.save(&Inbound::default(), 7).unwrap();
        checkpoint.save(&inbound, 9).unwrap();
        let (checkpoint, saved) = Checkpoint::open(dir.path(), CODEC).unwrap();
        assert_eq!((&saved.inbound, saved.from_sequence), (&inbound, 9));
        checkpoint.file.write_all_at(b"torn", 100).unwrap();
        assert_eq!(Checkpoint::open(dir.path(), CODEC).unwrap().1.from_sequence, 7);
    }
}
