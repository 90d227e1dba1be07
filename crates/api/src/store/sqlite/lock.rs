//! One API a database: a lock file beside it, held as long as the database is open.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::beside;
use crate::store::OpenError;

/// Held by the process that owns the database; the system releases it however the process ends.
///
/// It is a file of its own, because closing any handle of the database's file would drop SQLite's locks on that.
#[derive(Debug)]
pub(super) struct OwnerLock {
    _file: File,
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
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(database.to_owned())),
            Err(TryLockError::Error(source)) => Err(OpenError::Path { path, source }),
        }
    }

    /// Whether another process owns the database, without making the lock file.
    pub(super) fn is_held(database: &Path) -> bool {
        File::open(beside(database, ".lock"))
            .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }
}
