//! The subcommand `backup`: a copy of the database in a file of its own, whether or not the API runs.

use std::fs::{self, File, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use dados::Timestamp;
use service::commands::print;
use service::{Exit, Fatal};

use crate::config::Config;
use crate::store::{self, Failure, Location, StoreError};

/// Where a backup goes to standard output: it is made beside the database first.
const STANDARD_OUTPUT: &str = "-";

/// Copies the database into `target`, which must not be there; into a file named after the time where that is a folder;
/// to standard output where it is `-`.
///
/// The file has its name only once it is whole, read back and synced: whatever ends the program before leaves at most a
/// `.part`, which the next backup of that name takes over.
pub async fn backup(config: &Config, target: &Path) -> Result<(), Fatal> {
    let from = store::locate(&config.database_url)?;
    if !from.path.exists() {
        let missing = format_args!("DATABASE_URL: {} is not there", from.path.display());
        return Err(Fatal::new(Exit::Data, missing));
    }
    if target == Path::new(STANDARD_OUTPUT) {
        let mut part = Part::begin(with_suffix(&from.path, ".backup"))?;
        let said = part.copy(&from).await?;
        let sent = part.file.rewind().and_then(|()| io::copy(&mut part.file, &mut io::stdout().lock()));
        sent.map_err(|error| Fatal::new(Exit::Io, format_args!("standard output: {error}")))?;
        let _ = writeln!(io::stderr(), "{said}");
        return Ok(());
    }
    let target = name(target, Timestamp::now());
    if target.try_exists().map_err(|error| cannot(&target, &error))? {
        let there =
            "a file of this name is there already, and a backup replaces none: choose another name, or a folder";
        return Err(Fatal::new(Exit::CantCreate, format_args!("{}: {there}", target.display())));
    }
    let mut part = Part::begin(with_suffix(&target, ".part"))?;
    let said = part.copy(&from).await?;
    part.becomes(&target).map_err(|error| cannot(&target, &error))?;
    print(&format!("{}: {said}\n", target.display()));
    Ok(())
}

/// A backup that is being written, by nobody else; dropping it removes it.
struct Part {
    path: PathBuf,
    file: File,
}

impl Part {
    /// Takes over what an earlier one has left.
    fn begin(path: PathBuf) -> Result<Self, Fatal> {
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = opened.map_err(|error| cannot(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let held = format_args!("{} is being written by another backup", path.display());
                return Err(Fatal::new(Exit::Locked, held));
            }
            Err(TryLockError::Error(error)) => return Err(cannot(&path, &error)),
        }
        // It may have become somebody's backup since it was opened.
        if !is_named(&file, &path) {
            let ended = "another backup of this name has just ended: choose another name";
            return Err(Fatal::new(Exit::CantCreate, format_args!("{}: {ended}", path.display())));
        }
        let part = Self { path, file };
        part.remove_journal();
        part.file.set_len(0).map_err(|error| cannot(&part.path, &error))?;
        Ok(part)
    }

    /// What there is in it then, in words.
    async fn copy(&mut self, from: &Location) -> Result<String, Fatal> {
        let copied = store::back_up(from, &self.path).await;
        let (messages, last_id) = copied.map_err(|error| failed(&error, &self.path))?;
        let bytes = self.file.metadata().map_or(0, |metadata| metadata.len());
        Ok(format!("{messages} messages up to id {last_id}, {bytes} bytes"))
    }

    fn becomes(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }

    /// SQLite would take one that is left for this file's own, and undo what was not done.
    fn remove_journal(&self) {
        let _ = fs::remove_file(with_suffix(&self.path, "-journal"));
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It may have its name by now, and what stays the next one takes over.
        let _ = fs::remove_file(&self.path);
        self.remove_journal();
    }
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

/// Whether the path still leads to this file.
fn is_named(file: &File, path: &Path) -> bool {
    let place = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().ok().map(place) == fs::metadata(path).ok().map(place)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn cannot(path: &Path, error: &io::Error) -> Fatal {
    Fatal::new(Exit::CantCreate, format_args!("cannot write the backup {}: {error}", path.display()))
}

fn failed(error: &StoreError, target: &Path) -> Fatal {
    let (exit, cause) = match error.failure() {
        Failure::Full => (Exit::CantCreate, "the disk is full".to_owned()),
        Failure::Busy => (Exit::Locked, "the database is locked by another program".to_owned()),
        Failure::Disk | Failure::Misplaced(_) | Failure::Refused | Failure::Unexpected => {
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
    fn a_file_that_was_renamed_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let (part, whole) = (dir.path().join("a.db.part"), dir.path().join("a.db"));
        let file = File::create(&part).unwrap();
        assert!(is_named(&file, &part));
        fs::rename(&part, &whole).unwrap();
        assert!(!is_named(&file, &part) && is_named(&file, &whole));
        File::create(&part).unwrap();
        assert!(!is_named(&file, &part));
    }

    #[test]
    fn a_folder_gets_a_file_named_after_the_time() {
        let now = "2026-11-23T03:21:45.678Z".parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(name(dir.path(), now), dir.path().join("dados-20261123T032145Z.db"));
        assert_eq!(name(&dir.path().join("a.db"), now), dir.path().join("a.db"));
    }
}
