//! One API a database: a lock file beside it, held as long as the database is open.

use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::beside;
use crate::store::OpenError;

/// Held by the process that owns the database; the system releases it however the process ends.
///
/// It is a file of its own, because closing any handle of the database's file would drop SQLite's locks on that.
#[derive(Debug)]
pub(super) struct OwnerLock {
    file: File,
}

impl OwnerLock {
    pub(super) fn acquire(database: &Path) -> Result<Self, OpenError> {
        let path = beside(database, ".lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| OpenError::Path { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(database.to_owned())),
            Err(TryLockError::Error(source)) => Err(OpenError::Path { path, source }),
        }
    }

    /// Writes a text into the lock file, in the place of the one before.
    pub(super) fn note(&self, text: &str) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.write_all_at(text.as_bytes(), 0)
    }

    /// What was last noted; empty where nothing was.
    pub(super) fn noted(database: &Path) -> String {
        std::fs::read_to_string(beside(database, ".lock")).unwrap_or_default()
    }

    /// Whether another process owns the database, without making the lock file.
    pub(super) fn is_held(database: &Path) -> bool {
        File::open(beside(database, ".lock"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}
