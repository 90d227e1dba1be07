//! The file `cursor`: who this spool is, and up to which sequence the API has everything.
//!
//! Three sectors of 512 bytes: an identity that never changes, then two slots that are written in turn, so that a torn
//! write spoils only the older one. All is written in place: moving the cursor needs no free space.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use uuid::Uuid;

use super::OpenError;

const SECTOR: usize = 512;
const MAGIC: [u8; 8] = *b"PONTESPL";
/// The format that this program reads and writes.
const VERSION: u32 = 1;

/// Who writes this spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Names the producer towards the API; its sequences never start over.
    pub producer: Uuid,
    /// Names the installation; the default MQTT client id comes from it.
    pub installation: Uuid,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Cursor {
    file: File,
    pub(super) identity: Identity,
    generation: u64,
    pub(super) acked: u64,
}

impl Cursor {
    /// Opens the cursor in `dir`, or makes one with a new identity. The flag says whether it was made.
    pub(super) fn open(dir: &Path) -> Result<(Self, bool), OpenError> {
        let path = dir.join("cursor");
        let fault = |error| OpenError::Io { path: path.clone(), error };
        match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => Ok((Self::read(file, &path)?, false)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((Self::create(dir, &path).map_err(fault)?, true)),
            Err(error) => Err(fault(error)),
        }
    }

    fn create(dir: &Path, path: &Path) -> io::Result<Self> {
        let identity = Identity { producer: Uuid::new_v4(), installation: Uuid::new_v4() };
        let draft = dir.join("cursor.new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&draft)?;
        let mut sectors = [0; 3 * SECTOR];
        sectors[..8].copy_from_slice(&MAGIC);
        sectors[8..12].copy_from_slice(&VERSION.to_le_bytes());
        sectors[12..28].copy_from_slice(identity.producer.as_bytes());
        sectors[28..44].copy_from_slice(identity.installation.as_bytes());
        let crc = crc32fast::hash(&sectors[..44]);
        sectors[44..48].copy_from_slice(&crc.to_le_bytes());
        let first = slot_offset(1) as usize;
        sectors[first..first + 20].copy_from_slice(&slot(1, 0));
        file.write_all_at(&sectors, 0)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        File::open(dir)?.sync_all()?;
        Ok(Self { file, identity, generation: 1, acked: 0 })
    }

    fn read(file: File, path: &Path) -> Result<Self, OpenError> {
        let mut sectors = [0; 3 * SECTOR];
        let foreign = || OpenError::Foreign { path: path.to_owned() };
        match file.read_exact_at(&mut sectors, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(foreign()),
            Err(error) => return Err(OpenError::Io { path: path.to_owned(), error }),
        }
        if sectors[..8] != MAGIC || sectors[44..48] != crc32fast::hash(&sectors[..44]).to_le_bytes() {
            return Err(foreign());
        }
        let version = u32_at(&sectors, 8);
        if version != VERSION {
            return Err(OpenError::Version { path: path.to_owned(), version });
        }
        let uuid = |at: usize| Uuid::from_slice(&sectors[at..at + 16]).unwrap_or_default();
        let identity = Identity { producer: uuid(12), installation: uuid(28) };
        let slots = [&sectors[SECTOR..SECTOR + 20], &sectors[2 * SECTOR..2 * SECTOR + 20]];
        // With no sound slot everything is sent again from the oldest segment: the API skips what it has.
        let (generation, acked) = slots.into_iter().filter_map(read_slot).max().unwrap_or((0, 0));
        Ok(Self { file, identity, generation, acked })
    }

    /// Moves the cursor. Without [`Self::sync`] a power cut may take it back, which costs only a repeated POST.
    pub(super) fn set(&mut self, acked: u64) -> io::Result<()> {
        debug_assert!(acked >= self.acked);
        let generation = self.generation + 1;
        self.file.write_all_at(&slot(generation, acked), slot_offset(generation))?;
        self.generation = generation;
        self.acked = acked;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The two slots take turns.
fn slot_offset(generation: u64) -> u64 {
    SECTOR as u64 * (1 + generation % 2)
}

fn slot(generation: u64, acked: u64) -> [u8; 20] {
    let mut slot = [0; 20];
    slot[..8].copy_from_slice(&generation.to_le_bytes());
    slot[8..16].copy_from_slice(&acked.to_le_bytes());
    let crc = crc32fast::hash(&slot[..16]);
    slot[16..].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn read_slot(slot: &[u8]) -> Option<(u64, u64)> {
    let sound = slot[16..20] == crc32fast::hash(&slot[..16]).to_le_bytes();
    let generation = u64_at(slot, 0);
    (sound && generation > 0).then(|| (generation, u64_at(slot, 8)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_sound_slot_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (mut cursor, created) = Cursor::open(dir.path()).unwrap();
        assert!(created);
        for acked in [5, 9, 12] {
            cursor.set(acked).unwrap();
        }
        let identity = cursor.identity;
        let last = slot_offset(cursor.generation);
        drop(cursor);
        let (cursor, created) = Cursor::open(dir.path()).unwrap();
        assert_eq!((cursor.acked, cursor.identity, created), (12, identity, false));
        cursor.file.write_all_at(b"torn", last).unwrap();
        assert_eq!(Cursor::open(dir.path()).unwrap().0.acked, 9);
    }

    #[test]
    fn another_file_and_another_version_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("cursor"), "something else").unwrap();
        assert!(matches!(Cursor::open(dir.path()), Err(OpenError::Foreign { .. })));
        std::fs::remove_file(dir.path().join("cursor")).unwrap();
        drop(Cursor::open(dir.path()).unwrap());
        let mut bytes = std::fs::read(dir.path().join("cursor")).unwrap();
        bytes[8] = 2;
        let crc = crc32fast::hash(&bytes[..44]);
        bytes[44..48].copy_from_slice(&crc.to_le_bytes());
        std::fs::write(dir.path().join("cursor"), bytes).unwrap();
        assert!(matches!(Cursor::open(dir.path()), Err(OpenError::Version { version: 2, .. })));
    }
}
