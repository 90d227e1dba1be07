//! The subcommand `backup`: a copy of the database in a file of its own, whether or not the API runs.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use dados::Timestamp;
use service::commands::print;
use service::{Exit, Fatal};

use crate::config::Config;
use crate::store::{self, Failure, StoreError};

/// Copies the database into `target`, which must not be there, or into a file named after the time if it is a folder.
///
/// The file has its name only once it is whole, read back and synced: whatever ends the program before leaves at most a
/// `.part`, which the next backup of that name takes over.
pub async fn backup(config: &Config, target: &Path) -> Result<(), Fatal> {
    let from = store::locate(&config.database_url)?;
    if !from.path.exists() {
        let missing = format_args!("DATABASE_URL: {} is not there", from.path.display());
        return Err(Fatal::new(Exit::Data, missing));
    }
    let target = name(target, Timestamp::now());
    let cannot = |error: io::Error| {
        Fatal::new(Exit::CantCreate, format_args!("cannot write the backup {}: {error}", target.display()))
    };
    if target.try_exists().map_err(cannot)? {
        return Err(cannot(io::ErrorKind::AlreadyExists.into()));
    }
    let part = part(&target);
    let file = File::options().create(true).truncate(false).write(true).open(&part).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).map_err(cannot)?;
            remove_journal(&part);
        }
        Err(TryLockError::WouldBlock) => {
            let held = format_args!("{} is being written by another backup", target.display());
            return Err(Fatal::new(Exit::Locked, held));
        }
        Err(TryLockError::Error(error)) => return Err(cannot(error)),
    }
    let copied = store::back_up(&from, &part).await;
    let finished = copied.map_err(|error| failed(&error, &target)).and_then(|copied| {
        let named = file.sync_all().and_then(|()| fs::rename(&part, &target)).and_then(|()| sync_folder(&target));
        named.map(|()| copied).map_err(cannot)
    });
    if finished.is_err() {
        // What stays, the next one takes over.
        let _ = fs::remove_file(&part);
        remove_journal(&part);
    }
    let (messages, last_id) = finished?;
    let bytes = file.metadata().map_or(0, |metadata| metadata.len());
    print(&format!("{}: {messages} messages up to id {last_id}, {bytes} bytes\n", target.display()));
    Ok(())
}

/// `dados-20261123T032145Z.db` in a folder.
fn name(target: &Path, now: Timestamp) -> PathBuf {
    if !target.is_dir() {
        return target.to_owned();
    }
    let digits: String = now.to_sql().chars().filter(char::is_ascii_digit).collect();
    let (day, time) = digits.split_at("20261123".len());
    target.join(format!("dados-{day}T{}Z.db", &time[.."032145".len()]))
}

/// Beside the target, so that it can be renamed.
fn part(target: &Path) -> PathBuf {
    let mut part = target.as_os_str().to_owned();
    part.push(".part");
    part.into()
}

/// SQLite would take one that is left for this file's own, and undo what was not done.
fn remove_journal(part: &Path) {
    let mut journal = part.as_os_str().to_owned();
    journal.push("-journal");
    let _ = fs::remove_file(journal);
}

fn sync_folder(target: &Path) -> io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn failed(error: &StoreError, target: &Path) -> Fatal {
    let (exit, cause) = match error.failure() {
        Failure::Full => (Exit::CantCreate, "the disk is full".to_owned()),
        Failure::Busy => (Exit::Locked, "the database is locked by another program".to_owned()),
        Failure::Disk | Failure::Unexpected => {
            let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
            (Exit::Io, cause)
        }
    };
    Fatal::new(exit, format_args!("no backup {}: {cause}", target.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gets_a_file_named_after_the_time() {
        let now = "2026-11-23T03:21:45.678Z".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(name(dir.path(), now), dir.path().join("dados-20261123T032145Z.db"));
        assert_eq!(name(&dir.path().join("a.db"), now), dir.path().join("a.db"));
        assert_eq!(part(Path::new("/b/a.db")), Path::new("/b/a.db.part"));
    }
}
