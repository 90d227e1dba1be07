//! Segment files: their names, and what is found in one after a crash.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tracing::error;

use super::frame::{self, Bad, Codec, HEADER_BYTES};
use super::{Extent, disk};
use crate::session::Inbound;

const SUFFIX: &str = ".seg";
/// So many pieces of damage are kept for a person to look at.
const CORRUPT_FILES_MAX: usize = 64;

/// The file whose first message has this sequence.
pub(super) fn path(dir: &Path, first_sequence: u64) -> PathBuf {
    dir.join(format!("{first_sequence:020}{SUFFIX}"))
}

/// All segments of a directory, oldest first.
pub(super) fn list(dir: &Path) -> io::Result<VecDeque<Extent>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let first = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(|digits| digits.parse().ok());
        if let Some(first_sequence) = first {
            found.push(Extent { first_sequence, restarts: 0, copies: 0, durable_bytes: entry.metadata()?.len() });
        }
    }
    found.sort_by_key(|segment| segment.first_sequence);
    Ok(found.into())
}

/// How the first frame of the oldest segment begins; none where there is no frame.
pub(super) fn first_magic(dir: &Path) -> io::Result<Option<[u8; 4]>> {
    let segments = list(dir)?;
    for segment in segments.iter().filter(|segment| segment.durable_bytes >= HEADER_BYTES as u64) {
        let bytes = read_at(&File::open(path(dir, segment.first_sequence))?, 0, 4)?;
        // One that has been prepared for its first frame begins with zeros.
        if bytes[..] != [0; 4] {
            return Ok(Some(bytes[..].try_into().expect("four bytes")));
        }
    }
    Ok(None)
}

/// What lies at a place of a segment.
pub(super) enum Found {
    /// A sound frame, as its bytes.
    Frame(Bytes, frame::Extent),
    /// Bytes that are none; whether a sound frame follows them. Where none does, they go to the end.
    Damage { bytes: Bytes, followed: bool },
}

/// Looks at `offset`, which must be before `end`; neither may be behind the end of the file.
pub(super) fn look(codec: Codec, file: &File, offset: u64, end: u64) -> io::Result<Found> {
    let rest = end - offset;
    let header = read_at(file, offset, rest.min(HEADER_BYTES as u64))?;
    let len = match codec.verify(&header) {
        Err(Bad::Short) if header.len() == HEADER_BYTES => {
            let len = u32::from_le_bytes(header[8..12].try_into().expect("four bytes"));
            rest.min(HEADER_BYTES as u64 + u64::from(len))
        }
        _ => rest.min(HEADER_BYTES as u64),
    };
    let bytes = read_at(file, offset, len)?;
    if let Ok(extent) = codec.verify(&bytes) {
        return Ok(Found::Frame(bytes, extent));
    }
    let bytes = read_at(file, offset, rest)?;
    Ok(match codec.resync(&bytes, 1) {
        Some(next) => Found::Damage { bytes: bytes.slice(..next), followed: true },
        None => Found::Damage { bytes, followed: false },
    })
}

fn read_at(file: &File, offset: u64, len: u64) -> io::Result<Bytes> {
    let mut bytes = BytesMut::zeroed(len as usize);
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes.freeze())
}

/// What [`scan`] found.
pub(super) struct Scanned {
    /// Where the last sound frame ends.
    pub(super) sound_bytes: u64,
    /// What follows it, up to the zeros that frames are written over: a torn write.
    pub(super) torn_bytes: u64,
    pub(super) next_sequence: u64,
    /// Where the last sound frame begins, and its bytes.
    pub(super) last: Option<(u64, Bytes)>,
}

/// Reads a segment, and applies the notes of its frames.
///
/// A bad frame that is followed by a sound one is damage, not a torn write: it stays for the reader to set aside.
pub(super) fn scan(codec: Codec, path: &Path, first_sequence: u64, inbound: &mut Inbound) -> io::Result<Scanned> {
    let file = File::open(path)?;
    let end = file.metadata()?.len();
    let mut at = 0;
    let mut next_sequence = first_sequence;
    let (mut torn_bytes, mut last) = (0, None);
    while at < end {
        match look(codec, &file, at, end)? {
            Found::Frame(bytes, extent) => {
                if let Ok((frame, _)) = codec.decode(&bytes) {
                    frame.notes.into_iter().for_each(|note| inbound.apply(note));
                    inbound.pass(frame.messages.iter().filter(|message| message.qos == 1).count() as u32);
                }
                next_sequence = extent.first_sequence + extent.count;
                last = Some((at, bytes));
                at += extent.bytes as u64;
            }
            Found::Damage { bytes, followed: true } => at += bytes.len() as u64,
            Found::Damage { bytes, followed: false } => {
                torn_bytes = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
                break;
            }
        }
    }
    Ok(Scanned { sound_bytes: at, torn_bytes, next_sequence, last })
}

/// Makes what a scan has found durable: cuts a torn write off, and writes the last frame again. Its sync may have
/// failed before the program ended; then it is read from the page cache, and a sync alone would claim it without
/// writing it. The frames before it were synced, or cut off, before the next one came.
///
/// What is cut is torn if it is short, or zero from some byte on; else it may be damage of what was durable, and is set
/// aside. Where messages that were durable `are_missing`, it is damage whatever it looks like.
pub(super) fn settle(
    codec: Codec,
    dir: &Path,
    first_sequence: u64,
    scanned: &Scanned,
    are_missing: bool,
) -> io::Result<()> {
    let file = disk::open(&path(dir, first_sequence))?;
    if scanned.torn_bytes > 0 {
        let bytes = read_at(&file, scanned.sound_bytes, scanned.torn_bytes)?;
        let looks_whole = bytes.len() > HEADER_BYTES && codec.verify(&bytes) == Err(Bad::Damaged);
        if are_missing || looks_whole {
            set_aside(dir, first_sequence, scanned.sound_bytes, &bytes)?;
        }
    }
    disk::set_len(&file, scanned.sound_bytes)?;
    if let Some((offset, frame)) = &scanned.last {
        disk::write(&file, frame, *offset)?;
    }
    disk::sync(&file)
}

/// Makes an empty segment whose name survives power loss when `sync` is set.
pub(super) fn create(dir: &Path, first_sequence: u64, sync: bool) -> io::Result<File> {
    let file = disk::create(&path(dir, first_sequence))?;
    if sync {
        disk::sync(&file)?;
        disk::sync_dir(dir)?;
    }
    Ok(file)
}

/// Moves a file that another program put in the place of a segment to `corrupt/`: it is never overwritten.
pub(super) fn keep_foreign(path: &Path) -> io::Result<()> {
    let aside = path.with_file_name("corrupt");
    fs::create_dir_all(&aside)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let free = (0..).map(|number| aside.join(format!("{name}-replaced-{number}.seg"))).find(|copy| !copy.exists());
    let copy = free.expect("some number is free");
    error!(segment = %path.display(), copy = %copy.display(), "a segment of the spool was replaced: the other file was set aside");
    disk::rename(path, &copy)
}

/// Copies damaged bytes to `corrupt/`, so that a person can look at them; they are never silently cut.
pub(super) fn set_aside(dir: &Path, first_sequence: u64, offset: u64, damaged: &[u8]) -> io::Result<()> {
    let aside = dir.join("corrupt");
    fs::create_dir_all(&aside)?;
    if fs::read_dir(&aside)?.count() >= CORRUPT_FILES_MAX {
        error!(segment = first_sequence, offset, bytes = damaged.len(), "damaged bytes in the spool; corrupt/ is full");
        return Ok(());
    }
    let copy = aside.join(format!("{first_sequence:020}-{offset}.bin"));
    fs::write(&copy, damaged)?;
    error!(segment = first_sequence, offset, bytes = damaged.len(), copy = %copy.display(), "damaged bytes in the spool were set aside");
    Ok(())
}
