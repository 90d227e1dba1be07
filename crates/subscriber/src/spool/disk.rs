//! The changes to files that durability rests on: in one place, so that the test of power loss can replay them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

/// Opens a file that is there, to read and write.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    #[cfg(test)]
    recorded::note(Change::Open { path: path.to_owned(), file: id(&file) });
    Ok(file)
}

/// The same, where it may be missing: it is made then, and its name is durable after [`sync_dir`].
pub(super) fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    #[cfg(test)]
    recorded::note(Change::Open { path: path.to_owned(), file: id(&file) });
    Ok(file)
}

/// Whether `path` still names this open file: it may have been removed or replaced since.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let (ours, there) = (file.metadata()?, fs::metadata(path));
    match there {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes all of `bytes`; durable after [`sync`].
pub(super) fn write(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)?;
    #[cfg(test)]
    recorded::note(Change::Write { file: id(file), offset, bytes: bytes.to_vec() });
    Ok(())
}

/// Sets the length; durable after [`sync`].
pub(super) fn set_len(file: &File, len: u64) -> io::Result<()> {
    file.set_len(len)?;
    #[cfg(test)]
    recorded::note(Change::SetLen { file: id(file), len });
    Ok(())
}

/// Makes the file's content durable, with what is needed to read it again (fdatasync(2)).
pub(super) fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    recorded::fault(file)?;
    file.sync_data()?;
    #[cfg(test)]
    recorded::note(Change::Sync { file: id(file) });
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()?;
    #[cfg(test)]
    recorded::note(Change::SyncDir);
    Ok(())
}

/// Gives a file another name, in place of the file that has it; durable after [`sync_dir`].
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(test)]
    recorded::note(Change::Rename { from: from.to_owned(), to: to.to_owned() });
    Ok(())
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    #[cfg(test)]
    recorded::note(Change::Remove { path: path.to_owned() });
    Ok(())
}

#[cfg(test)]
use recorded::{Change, id};

#[cfg(test)]
pub(super) mod recorded {
    //! What was done to files by this thread, in order, while it is recorded.

    use std::cell::{Cell, RefCell};
    use std::fs::File;
    use std::io::{self, ErrorKind};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    /// A file is known by its inode's number, which another may have after it is removed and closed.
    #[derive(Clone, Debug)]
    pub(in crate::spool) enum Change {
        Open {
            path: PathBuf,
            file: u64,
        },
        Write {
            file: u64,
            offset: u64,
            bytes: Vec<u8>,
        },
        SetLen {
            file: u64,
            len: u64,
        },
        Sync {
            file: u64,
        },
        /// What was written since the last one may be anywhere, and no later sync brings it to the disk.
        FailedSync {
            file: u64,
        },
        SyncDir,
        Rename {
            from: PathBuf,
            to: PathBuf,
        },
        Remove {
            path: PathBuf,
        },
    }

    thread_local! {
        static FAULT: Cell<Option<ErrorKind>> = const { Cell::new(None) };
        static CHANGES: RefCell<Option<Vec<Change>>> = const { RefCell::new(None) };
    }

    pub(super) fn id(file: &File) -> u64 {
        file.metadata().expect("an open file").ino()
    }

    pub(super) fn note(change: Change) {
        CHANGES.with_borrow_mut(|changes| changes.iter_mut().for_each(|changes| changes.push(change.clone())));
    }

    /// The next sync of this thread fails.
    pub(in crate::spool) fn fail_next_sync(kind: ErrorKind) {
        FAULT.set(Some(kind));
    }

    pub(super) fn fault(file: &File) -> io::Result<()> {
        let Some(kind) = FAULT.take() else { return Ok(()) };
        note(Change::FailedSync { file: id(file) });
        Err(kind.into())
    }

    pub(in crate::spool) fn start() {
        CHANGES.set(Some(Vec::new()));
    }

    /// How many changes there were.
    pub(in crate::spool) fn count() -> usize {
        CHANGES.with_borrow(|changes| changes.as_ref().map_or(0, Vec::len))
    }

    pub(in crate::spool) fn finish() -> Vec<Change> {
        FAULT.set(None);
        CHANGES.take().unwrap_or_default()
    }
}
