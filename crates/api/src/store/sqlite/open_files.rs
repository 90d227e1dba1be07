//! Whether the files that SQLite has open are still those at their paths.
//!
//! SQLite goes on writing into a file that was renamed, replaced or removed, and what is committed there is gone at the
//! next start. Files are told by device and inode; a file that is overwritten in place (`cp`) keeps both.

use std::fmt;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use service::doctor::locks::{self, Holder};

use super::{beside, store_error};
use crate::store::{FilePart, Misplaced, StoreError};

/// What a reader of the log locks of its index (SQLite's `WAL_READ_LOCK`): the state that it reads has one of five marks.
const READERS: RangeInclusive<u64> = 123..=127;

/// The files as they were when the database was opened. A look at them costs some microseconds, beside a commit's sync.
#[derive(Debug, Default)]
pub(crate) struct OpenFiles(Vec<OpenFile>);

#[derive(Debug)]
struct OpenFile {
    part: FilePart,
    path: PathBuf,
    id: FileId,
}

/// What tells a file from another that has or had its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}

impl From<&Metadata> for FileId {
    fn from(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl OpenFiles {
    /// Notes the files of a database that connections hold open until the end: SQLite removes the log with its last one.
    pub(super) fn note(database: &Path) -> Self {
        let files = [
            (FilePart::Database, database.to_owned()),
            (FilePart::Log, beside(database, "-wal")),
            (FilePart::LogIndex, beside(database, "-shm")),
        ];
        let open = files.into_iter().filter_map(|(part, path)| {
            let id = FileId::from(&path.metadata().ok()?);
            Some(OpenFile { part, path, id })
        });
        Self(open.collect())
    }

    /// Which database and which log belong together, for [`stray_log`] to read.
    pub(super) fn record(&self) -> String {
        let pair = self.0.iter().filter(|file| file.part != FilePart::LogIndex);
        pair.map(|file| file.id.to_string()).collect::<Vec<_>>().join(" ")
    }

    /// Who reads a state of it at this moment.
    pub(crate) fn log_readers(&self) -> Vec<Holder> {
        let database = self.0.iter().find(|file| file.part == FilePart::Database);
        database.map_or_else(Vec::new, |file| log_readers(&file.path))
    }

    /// Fails where one of them is not there any more, or another file is.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        for OpenFile { part, path, id } in &self.0 {
            let misplaced = |is_gone| Err(StoreError::Misplaced(Misplaced { part: *part, is_gone }));
            match path.metadata() {
                Ok(metadata) if FileId::from(&metadata) == *id => {}
                Ok(_) => return misplaced(false),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    return misplaced(true);
                }
                Err(error) => return Err(store_error(error.into())),
            }
        }
        Ok(())
    }
}

/// The log of another database, which lies beside this one: after a program was killed, somebody has put a copy in the
/// database's place, and SQLite would write into it what the log has. `record` says which two files belonged together; where
/// both are other ones, as in a copied folder, they still do.
pub(super) fn stray_log(database: &Path, record: &str) -> Option<PathBuf> {
    let (former_database, former_log) = record.trim_end().split_once(' ')?;
    let log = beside(database, "-wal");
    let metadata = log.metadata().ok().filter(|metadata| metadata.len() > 0)?;
    let is_former = FileId::from(&metadata).to_string() == former_log;
    let is_replaced = FileId::from(&database.metadata().ok()?).to_string() != former_database;
    (is_former && is_replaced).then_some(log)
}

/// Who reads a state of the database at this moment, of the programs that this one can see: the log cannot start over before
/// they end.
pub(crate) fn log_readers(database: &Path) -> Vec<Holder> {
    locks::holders(&beside(database, "-shm"), READERS)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_missed_or_told_from_another_and_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("dados.db");
        let paths = [database.clone(), beside(&database, "-wal"), beside(&database, "-shm")];
        paths.iter().for_each(|path| fs::write(path, "x").unwrap());
        let files = OpenFiles::note(&database);
        let found = || match files.check() {
            Ok(()) => None,
            Err(StoreError::Misplaced(misplaced)) => Some(misplaced),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(found(), None);
        for (path, part) in paths.iter().zip([FilePart::Database, FilePart::Log, FilePart::LogIndex]) {
            let kept = dir.path().join("kept");
            fs::rename(path, &kept).unwrap();
            assert_eq!(found(), Some(Misplaced { part, is_gone: true }));
            fs::write(path, "x").unwrap();
            assert_eq!(found(), Some(Misplaced { part, is_gone: false }));
            fs::rename(&kept, path).unwrap();
            assert_eq!(found(), None, "it is back");
        }
    }

    #[test]
    fn what_was_not_there_is_not_missed() {
        let dir = tempfile::tempdir().unwrap();
        let files = OpenFiles::note(&dir.path().join("dados.db"));
        files.check().unwrap();
    }
}
