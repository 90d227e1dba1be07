//! The file `cursor`: who this spool is towards the API, and how far the API has everything.
//!
//! Three sectors of 4 KiB: the installation and how its frames begin, which never change, then two slots that are
//! written in turn, so that a torn write spoils only the older one. All is written in place: moving the cursor needs no
//! free space.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::{Buf, BufMut};
use uuid::Uuid;

use super::frame::Codec;
use super::{OpenError, disk, segment};

/// The largest piece that disks write whole: each part lies in one of its own, so that a torn write spoils one part.
const SECTOR: usize = 4096;
const SECTOR_OF_FORMAT_1: usize = 512;
const MAGIC: [u8; 8] = *b"PONTESPL";
/// The format that this program writes. It reads formats 1 and 2 too, which kept less.
const VERSION: u32 = 3;
/// The whole file.
pub(super) const BYTES: usize = 3 * SECTOR;
/// The first sector without its checksum.
const HEAD_BYTES: usize = 32;
const HEAD_BYTES_OF_FORMAT_1: usize = 44;
/// A slot without its checksum.
const SLOT_BYTES: usize = 72;
/// Format 2 did not keep the next sequence.
const SLOT_BYTES_OF_FORMAT_2: usize = 64;
const SLOT_BYTES_OF_FORMAT_1: usize = 16;

/// How far the spool is, and under which name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Names the producer towards the API; its sequences never start over.
    pub producer: Uuid,
    /// The spool's sequences minus this are those of the producer: it began after so many messages.
    pub base: u64,
    /// Up to this sequence of the spool everything is with the API, in quarantine or damaged.
    pub acked: u64,
    /// Messages of this producer that were put into quarantine.
    pub quarantined: u64,
    /// Sequences of this producer whose messages the disk gave back damaged.
    pub damaged: u64,
    /// What has this sequence or a later one was written without the API's word that it knows nothing newer of this
    /// producer; 0 where it gave it. The spool may be an older copy.
    pub unverified_from: u64,
}

impl Progress {
    fn new() -> Self {
        Self { producer: Uuid::new_v4(), base: 0, acked: 0, quarantined: 0, damaged: 0, unverified_from: 0 }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    /// Names the installation; the default MQTT client id comes from it.
    pub(super) installation: Uuid,
    /// How the frames of this spool are written.
    pub(super) codec: Codec,
    generation: u64,
    progress: Progress,
    /// Everything before this sequence was durable when the slot was written; 0 where the file does not say. What the
    /// segments hold less than that was lost.
    pub(super) next_sequence: u64,
    /// A sync has failed: what was written before is nowhere, though the next sync may claim it.
    doubtful: bool,
}

impl Cursor {
    /// Opens the cursor in `dir`, or makes one with a new identity. The flag says whether the identity is new.
    pub(super) fn open(dir: &Path) -> Result<(Self, bool), OpenError> {
        let path = dir.join("cursor");
        let fault = |error| OpenError::Io { path: path.clone(), error };
        let create = |installation, codec, progress| Self::create(dir, installation, codec, progress, 0).map_err(fault);
        match disk::open(&path) {
            Ok(file) => match read(&file, &path)? {
                Contents { installation, codec, version: VERSION, slot: Some(slot) } => {
                    let Slot { generation, progress, next_sequence } = slot;
                    Ok((
                        Self { file, installation, codec, generation, progress, next_sequence, doubtful: false },
                        false,
                    ))
                }
                Contents { installation, codec, slot: Some(slot), .. } => {
                    Ok((create(installation, codec, slot.progress)?, false))
                }
                // Both slots are damaged: what is there is sent under a new name rather than taken for known.
                Contents { installation, codec, slot: None, .. } => {
                    Ok((create(installation, codec, Progress::new())?, true))
                }
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Segments that have lost their cursor say themselves how their frames begin.
                let magic = segment::first_magic(dir).map_err(fault)?;
                let codec = Codec { magic: magic.unwrap_or_else(|| fastrand::u32(1..).to_le_bytes()) };
                Ok((create(Uuid::new_v4(), codec, Progress::new())?, true))
            }
            Err(error) => Err(fault(error)),
        }
    }

    fn create(
        dir: &Path,
        installation: Uuid,
        codec: Codec,
        progress: Progress,
        next_sequence: u64,
    ) -> io::Result<Self> {
        let draft = dir.join("cursor.new");
        let file = disk::create(&draft)?;
        disk::set_len(&file, 0)?;
        let mut sectors = [0; BYTES];
        let mut head = &mut sectors[..];
        head.put_slice(&MAGIC);
        head.put_u32_le(VERSION);
        head.put_slice(installation.as_bytes());
        head.put_slice(&codec.magic);
        let crc = crc32fast::hash(&sectors[..HEAD_BYTES]);
        sectors[HEAD_BYTES..HEAD_BYTES + 4].copy_from_slice(&crc.to_le_bytes());
        let at = slot_offset(1) as usize;
        let first = Slot { generation: 1, progress, next_sequence };
        sectors[at..at + SLOT_BYTES + 4].copy_from_slice(&encode(&first));
        disk::write(&file, &sectors, 0)?;
        disk::sync(&file)?;
        disk::rename(&draft, &dir.join("cursor"))?;
        disk::sync_dir(dir)?;
        Ok(Self { file, installation, codec, generation: 1, progress, next_sequence, doubtful: false })
    }

    /// Makes the file again where it was removed: what it said is in memory. An existing file is replaced.
    pub(super) fn put_back(&mut self, dir: &Path) -> io::Result<()> {
        *self = Self::create(dir, self.installation, self.codec, self.progress, self.next_sequence)?;
        Ok(())
    }

    /// Whether `path` still names the open file.
    pub(super) fn is_at(&self, path: &Path) -> io::Result<bool> {
        disk::is_at(&self.file, path)
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// Everything before `next_sequence` is durable: written as [`Self::set`] writes.
    pub(super) fn reached(&mut self, next_sequence: u64) -> io::Result<()> {
        self.next_sequence = next_sequence;
        self.set(self.progress)
    }

    /// Writes what has changed. Without [`Self::sync`] a power cut may take it back, which costs only a repeated POST.
    pub(super) fn set(&mut self, progress: Progress) -> io::Result<()> {
        debug_assert!(progress.acked >= self.progress.acked && progress.base <= progress.acked);
        let generation = self.generation + 1;
        let slot = Slot { generation, progress, next_sequence: self.next_sequence };
        disk::write(&self.file, &encode(&slot), slot_offset(generation))?;
        self.generation = generation;
        self.progress = progress;
        Ok(())
    }

    /// Makes what was set durable; after a failure it is written again, since a mere second attempt proves nothing.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.doubtful {
            self.set(self.progress)?;
        }
        self.doubtful = true;
        disk::sync(&self.file)?;
        self.doubtful = false;
        Ok(())
    }
}

/// What the file says.
#[derive(Debug)]
pub(super) struct Contents {
    installation: Uuid,
    codec: Codec,
    version: u32,
    /// The newest sound slot.
    pub(super) slot: Option<Slot>,
}

/// What one write of the cursor says; the newest generation counts.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) generation: u64,
    pub(super) progress: Progress,
    pub(super) next_sequence: u64,
}

fn read(file: &File, path: &Path) -> Result<Contents, OpenError> {
    let fault = |error| OpenError::Io { path: path.to_owned(), error };
    // Format 1 is shorter; what is missing reads as zeros, which no checksum takes.
    let len = file.metadata().map_err(fault)?.len().min(BYTES as u64) as usize;
    let mut sectors = [0; BYTES];
    file.read_exact_at(&mut sectors[..len], 0).map_err(fault)?;
    decode(&sectors, path)
}

pub(super) fn decode(sectors: &[u8; BYTES], path: &Path) -> Result<Contents, OpenError> {
    let version = (&sectors[8..12]).get_u32_le();
    let (head_bytes, sector) =
        if version == 1 { (HEAD_BYTES_OF_FORMAT_1, SECTOR_OF_FORMAT_1) } else { (HEAD_BYTES, SECTOR) };
    let crc = (&sectors[head_bytes..]).get_u32_le();
    if sectors[..8] != MAGIC || crc != crc32fast::hash(&sectors[..head_bytes]) {
        return Err(OpenError::Foreign { path: path.to_owned() });
    }
    let slots = [&sectors[sector..2 * sector], &sectors[2 * sector..3 * sector]];
    let uuid = |at: usize| Uuid::from_slice(&sectors[at..at + 16]).expect("sixteen bytes");
    let (installation, magic, found) = match version {
        // The producer stood in the first sector, a slot held only generation and acked, and all frames began alike.
        1 => (uuid(28), *b"PNT1", slots.map(|slot| read_slot_of_format_1(slot, uuid(12)))),
        2 | VERSION => {
            let bytes = if version == VERSION { SLOT_BYTES } else { SLOT_BYTES_OF_FORMAT_2 };
            (uuid(12), sectors[28..32].try_into().expect("four bytes"), slots.map(|slot| read_slot(slot, bytes)))
        }
        version => return Err(OpenError::Version { path: path.to_owned(), version }),
    };
    let slot = found.into_iter().flatten().max_by_key(|slot| slot.generation);
    Ok(Contents { installation, codec: Codec { magic }, version, slot })
}

/// The two slots take turns.
fn slot_offset(generation: u64) -> u64 {
    SECTOR as u64 * (1 + generation % 2)
}

fn encode(Slot { generation, progress, next_sequence }: &Slot) -> [u8; SLOT_BYTES + 4] {
    let mut slot = [0; SLOT_BYTES + 4];
    let mut fields = &mut slot[..];
    fields.put_u64_le(*generation);
    fields.put_u64_le(progress.acked);
    fields.put_u64_le(progress.base);
    fields.put_u64_le(progress.quarantined);
    fields.put_u64_le(progress.damaged);
    fields.put_u64_le(progress.unverified_from);
    fields.put_slice(progress.producer.as_bytes());
    fields.put_u64_le(*next_sequence);
    let crc = crc32fast::hash(&slot[..SLOT_BYTES]);
    slot[SLOT_BYTES..].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// The slot's fields end after so many `bytes`.
fn read_slot(slot: &[u8], bytes: usize) -> Option<Slot> {
    let (mut fields, mut crc) = slot.split_at(bytes);
    if crc32fast::hash(fields) != crc.get_u32_le() {
        return None;
    }
    let generation = fields.get_u64_le();
    let progress = Progress {
        acked: fields.get_u64_le(),
        base: fields.get_u64_le(),
        quarantined: fields.get_u64_le(),
        damaged: fields.get_u64_le(),
        unverified_from: fields.get_u64_le(),
        producer: Uuid::from_bytes(fields.copy_to_bytes(16)[..].try_into().ok()?),
    };
    let next_sequence = fields.try_get_u64_le().unwrap_or(0);
    let slot = Slot { generation, progress, next_sequence };
    (generation > 0 && progress.base <= progress.acked).then_some(slot)
}

fn read_slot_of_format_1(slot: &[u8], producer: Uuid) -> Option<Slot> {
    let (mut fields, mut crc) = slot.split_at(SLOT_BYTES_OF_FORMAT_1);
    if crc32fast::hash(fields) != crc.get_u32_le() {
        return None;
    }
    let generation = fields.get_u64_le();
    let progress = Progress { producer, acked: fields.get_u64_le(), ..Progress::new() };
    (generation > 0).then_some(Slot { generation, progress, next_sequence: 0 })
}

/// Gives any bytes the magic and checksums of a cursor.
#[cfg(any(test, fuzzing))]
pub(super) fn seal(sectors: &mut [u8; BYTES]) {
    let version = 1 + u32::from(sectors[8]) % VERSION;
    let (head_bytes, slot_bytes, sector) = match version {
        1 => (HEAD_BYTES_OF_FORMAT_1, SLOT_BYTES_OF_FORMAT_1, SECTOR_OF_FORMAT_1),
        2 => (HEAD_BYTES, SLOT_BYTES_OF_FORMAT_2, SECTOR),
        _ => (HEAD_BYTES, SLOT_BYTES, SECTOR),
    };
    sectors[..8].copy_from_slice(&MAGIC);
    sectors[8..12].copy_from_slice(&version.to_le_bytes());
    for (at, len) in [(0, head_bytes), (sector, slot_bytes), (2 * sector, slot_bytes)] {
        let crc = crc32fast::hash(&sectors[at..at + len]);
        sectors[at + len..at + len + 4].copy_from_slice(&crc.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(cursor: &mut Cursor, acked: u64) {
        cursor.set(Progress { acked, ..cursor.progress() }).unwrap();
    }

    #[test]
    fn the_newest_sound_slot_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (mut cursor, new) = Cursor::open(dir.path()).unwrap();
        assert!(new);
        for acked in [5, 9, 12] {
            moved(&mut cursor, acked);
        }
        let (installation, progress) = (cursor.installation, cursor.progress());
        let last = slot_offset(cursor.generation);
        drop(cursor);
        let (cursor, new) = Cursor::open(dir.path()).unwrap();
        assert_eq!((cursor.progress(), cursor.installation, new), (progress, installation, false));
        cursor.file.write_all_at(b"torn", last).unwrap();
        assert_eq!(Cursor::open(dir.path()).unwrap().0.progress(), Progress { acked: 9, ..progress });
    }

    #[test]
    fn after_a_failed_sync_the_slot_is_written_again() {
        use disk::recorded::{self, Change};
        let dir = tempfile::tempdir().unwrap();
        let (mut cursor, _) = Cursor::open(dir.path()).unwrap();
        moved(&mut cursor, 3);
        recorded::fail_next_sync(ErrorKind::Other);
        assert!(cursor.sync().is_err());
        recorded::start();
        cursor.sync().unwrap();
        cursor.sync().unwrap();
        let changes = recorded::finish();
        assert!(matches!(changes[..], [Change::Write { .. }, Change::Sync { .. }, Change::Sync { .. }]), "{changes:?}");
    }

    #[test]
    fn with_both_slots_damaged_the_producer_is_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let (mut cursor, _) = Cursor::open(dir.path()).unwrap();
        moved(&mut cursor, 3);
        let (installation, producer) = (cursor.installation, cursor.progress().producer);
        (1..=2).for_each(|generation| cursor.file.write_all_at(b"torn", slot_offset(generation)).unwrap());
        let (cursor, new) = Cursor::open(dir.path()).unwrap();
        assert!(new && cursor.progress().producer != producer);
        assert_eq!((cursor.installation, cursor.progress().acked), (installation, 0));
    }

    #[test]
    fn format_1_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let (producer, installation) = (Uuid::new_v4(), Uuid::new_v4());
        let mut sectors = [0; 3 * SECTOR_OF_FORMAT_1];
        let slot = SECTOR_OF_FORMAT_1;
        sectors[..8].copy_from_slice(&MAGIC);
        sectors[8] = 1;
        sectors[12..28].copy_from_slice(producer.as_bytes());
        sectors[28..44].copy_from_slice(installation.as_bytes());
        let crc = crc32fast::hash(&sectors[..44]);
        sectors[44..48].copy_from_slice(&crc.to_le_bytes());
        sectors[slot] = 7;
        sectors[slot + 8] = 42;
        let crc = crc32fast::hash(&sectors[slot..slot + 16]);
        sectors[slot + 16..slot + 20].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(dir.path().join("cursor"), sectors).unwrap();
        for _ in 0..2 {
            let (cursor, new) = Cursor::open(dir.path()).unwrap();
            let expected = Progress { producer, acked: 42, ..Progress::new() };
            assert_eq!((cursor.progress(), cursor.installation, new), (expected, installation, false));
        }
    }

    #[test]
    fn format_2_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let (mut cursor, _) = Cursor::open(dir.path()).unwrap();
        moved(&mut cursor, 42);
        let (progress, installation, codec) = (cursor.progress(), cursor.installation, cursor.codec);
        let mut sectors: [u8; BYTES] = std::fs::read(dir.path().join("cursor")).unwrap().try_into().unwrap();
        sectors[8] = 1;
        seal(&mut sectors);
        assert_eq!(sectors[8], 2);
        std::fs::write(dir.path().join("cursor"), sectors).unwrap();
        for _ in 0..2 {
            let (cursor, new) = Cursor::open(dir.path()).unwrap();
            assert_eq!((cursor.progress(), cursor.installation, cursor.codec), (progress, installation, codec));
            assert_eq!((cursor.next_sequence, new), (0, false));
        }
    }

    #[test]
    fn another_file_and_another_version_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cursor"), "something else").unwrap();
        assert!(matches!(Cursor::open(dir.path()), Err(OpenError::Foreign { .. })));
        std::fs::remove_file(dir.path().join("cursor")).unwrap();
        drop(Cursor::open(dir.path()).unwrap());
        let mut bytes = std::fs::read(dir.path().join("cursor")).unwrap();
        bytes[8] = 4;
        let crc = crc32fast::hash(&bytes[..HEAD_BYTES]);
        bytes[HEAD_BYTES..HEAD_BYTES + 4].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(dir.path().join("cursor"), bytes).unwrap();
        assert!(matches!(Cursor::open(dir.path()), Err(OpenError::Version { version: 4, .. })));
    }
}
