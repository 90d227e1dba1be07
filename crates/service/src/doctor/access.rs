//! Why a directory or file cannot be written, and who could mend it.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::Finding;

/// This directory, or the nearest above it that is there.
pub fn existing(dir: &Path) -> PathBuf {
    let named = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    named.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new(".")).to_owned()
}

/// Those of these files that are there and that this user may not write.
pub fn unwritable(files: &[PathBuf]) -> impl Iterator<Item = &PathBuf> {
    files.iter().filter(|path| path.exists() && access(path.as_path(), Access::WRITE_OK).is_err())
}

/// Why a file or directory that is there cannot be written, in words; none where it can.
pub fn refusal(path: &Path) -> Option<String> {
    let error = io::Error::from(access(path, Access::WRITE_OK).err()?);
    (error.kind() != ErrorKind::NotFound).then(|| failed("", path, &error).what)
}

/// What a write to `path` that failed means.
pub fn failed(subject: &str, path: &Path, error: &io::Error) -> Finding {
    let place = path.display();
    let finding = |what: String| Finding::fail(error.into(), subject, what);
    match error.kind() {
        ErrorKind::PermissionDenied => finding(format!("{place} cannot be written: {}", who(path))).note(format!(
            "give it to that user (sudo chown -R {} {place}), or run the program as its owner",
            user().map_or_else(|| "USER".to_owned(), |user| user.to_string())
        )),
        ErrorKind::ReadOnlyFilesystem => finding(format!("{place} lies on a disk that is mounted read-only"))
            .note("mount it to write (in Docker: without :ro); a failing disk goes read-only by itself: see dmesg"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            finding(format!("the disk is full: nothing more can be written to {place}"))
                .note("make room: df -h shows how much there is")
        }
        ErrorKind::NotADirectory => finding(format!("{place} cannot be a directory: a file is in the way"))
            .note("move that file away, or name another directory"),
        ErrorKind::NotFound => finding(format!("{place} is not there")).note("make it, or name another place"),
        _ => finding(format!("{place} cannot be written: {error}")).note("the disk may be failing: see dmesg"),
    }
}

/// Who owns a path, who we are, and what the owner allows.
pub fn who(path: &Path) -> String {
    match (std::fs::metadata(path), user()) {
        (Ok(it), Some(user)) => {
            format!("it belongs to user {} with mode {:03o}, and this is user {user}", it.uid(), it.mode() & 0o777)
        }
        _ => "this user may not".to_owned(),
    }
}

/// Our user id, as Linux shows it.
fn user() -> Option<u32> {
    std::fs::metadata("/proc/self").ok().map(|it| it.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Exit;
    use crate::doctor::Level;

    #[test]
    fn every_failure_says_what_to_do() {
        for (kind, exit, words) in [
            (ErrorKind::PermissionDenied, Exit::CantCreate, "belongs to user"),
            (ErrorKind::ReadOnlyFilesystem, Exit::CantCreate, "read-only"),
            (ErrorKind::StorageFull, Exit::CantCreate, "full"),
            (ErrorKind::QuotaExceeded, Exit::Io, "full"),
            (ErrorKind::NotADirectory, Exit::CantCreate, "in the way"),
            (ErrorKind::NotFound, Exit::CantCreate, "not there"),
            (ErrorKind::Other, Exit::Io, "cannot be written"),
        ] {
            let finding = failed("SPOOL_DIR", Path::new("/"), &kind.into());
            assert_eq!(finding.level, Level::Fail(exit), "{kind}");
            assert!(finding.what.contains(words) && finding.notes.len() == 1, "{finding:?}");
        }
    }

    #[test]
    fn the_nearest_directory_is_found() {
        assert_eq!(existing(Path::new("/missing/spool")), Path::new("/"));
        assert_eq!(existing(Path::new("missing/spool")), Path::new("."));
        assert_eq!(existing(Path::new("")), Path::new("."));
    }
}
