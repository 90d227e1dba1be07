//! Segment files: their names, and what is found in one after a crash.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use tracing::error;

use super::{Extent, frame};

const SUFFIX: &str = ".seg";

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
            found.push(Extent { first_sequence, durable_bytes: entry.metadata()?.len() });
        }
    }
    found.sort_by_key(|segment| segment.first_sequence);
    Ok(found.into())
}

/// What [`recover`] found.
pub(super) struct Recovered {
    pub(super) durable_bytes: u64,
    pub(super) next_sequence: u64,
    pub(super) torn_bytes: u64,
}

/// Scans the last segment and cuts what was torn at its end.
///
/// A bad frame that is followed by a sound one is damage, not a torn write: it stays for the reader to set aside.
pub(super) fn recover(path: &Path, first_sequence: u64) -> io::Result<Recovered> {
    let bytes = fs::read(path)?;
    let mut at = 0;
    let mut next_sequence = first_sequence;
    while at < bytes.len() {
        match frame::verify(&bytes[at..]) {
            Ok(extent) => {
                next_sequence = extent.first_sequence + extent.count;
                at += extent.bytes;
            }
            Err(_) => match frame::resync(&bytes, at + 1) {
                Some(next) => at = next,
                None => break,
            },
        }
    }
    let torn_bytes = (bytes.len() - at) as u64;
    if torn_bytes > 0 {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(at as u64)?;
        file.sync_all()?;
    }
    Ok(Recovered { durable_bytes: at as u64, next_sequence, torn_bytes })
}

/// Makes an empty segment whose name survives power loss when `sync` is set.
pub(super) fn create(dir: &Path, first_sequence: u64, sync: bool) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(path(dir, first_sequence))?;
    if sync {
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
    }
    Ok(file)
}

/// Copies damaged bytes to `corrupt/`, so that a person can look at them; they are never silently cut.
pub(super) fn set_aside(dir: &Path, first_sequence: u64, offset: u64, damaged: &[u8]) -> io::Result<()> {
    let aside = dir.join("corrupt");
    fs::create_dir_all(&aside)?;
    let copy = aside.join(format!("{first_sequence:020}-{offset}.bin"));
    fs::write(&copy, damaged)?;
    error!(segment = first_sequence, offset, bytes = damaged.len(), copy = %copy.display(), "damaged bytes in the spool were set aside");
    Ok(())
}
