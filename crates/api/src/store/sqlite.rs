//! SQLite: how a file is located, opened for one process, made or brought up to date, and what its errors mean.
//!
//! - [`mod@write`]: the one connection that writes
//! - [`insert`]: rows into multi-row statements
//! - [`sequence`]: a producer's batches, told from their own repetition
//! - [`read`]: the pool of read-only connections
//! - [`selection`]: a page of the selected rows: [`scan`] looks at them one by one, [`merge`] goes by the index
//! - [`follow`]: the indexes that follow the rows: [`by_topic`], [`by_time`]
//! - [`topics`]: the topics with their fields
//! - [`series`]: one field over time
//! - [`checkpoint`]: the log's way into the database
//! - [`mod@lengthen`]: the log's length
//! - [`projection`]: readings, lists and roll-ups, by [`step`]s; [`rebuild`]: all of it anew
//! - [`retention`]: what is too old goes
//! - [`mod@unsynced`]: transactions of what can be made anew; [`text`]: several statements in one round trip
//! - [`producers`]: the ledger
//! - [`probe`]: whether a write would be taken; [`room`]: whether the disk has any
//! - [`backup`]: a copy of all of it
//! - [`open_files`]: whether they are still at their paths
//! - [`adopt`]: a database that the seed's script made becomes ours
//! - [`lock`]: one API a database
//! - [`mod@inspect`]: what `check` sees of it

mod adopt;
mod backup;
mod by_time;
mod by_topic;
mod checkpoint;
mod claim;
mod follow;
mod insert;
mod inspect;
mod key;
mod lengthen;
mod lock;
mod merge;
mod open_files;
mod probe;
mod producers;
mod projection;
mod read;
mod rebuild;
mod retention;
mod room;
mod scan;
mod selection;
mod sequence;
mod series;
mod step;
mod text;
mod topics;
mod unsynced;
mod write;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use service::doctor::access;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use self::adopt::AdoptError;
pub(crate) use self::backup::back_up;
pub(crate) use self::checkpoint::Checkpointer;
pub(crate) use self::follow::STEP_ROWS;
pub(crate) use self::inspect::inspect;
use self::lock::OwnerLock;
pub(crate) use self::open_files::{OpenFiles, log_readers};
pub(crate) use self::read::Reader;
pub(crate) use self::rebuild::CarriedTo;
pub(crate) use self::write::Writer;
use super::{Location, OpenError, StoreError};

/// How long a statement waits for a lock that another program holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The writer's page cache: a step of the topics' index and the rows that it reads fit, so that none is read back.
const WRITE_CACHE_KIB: u32 = 8 << 10;
/// What the write-ahead log shrinks to after a long read held it up.
const WAL_BYTES_KEPT: u64 = 64 << 20;

/// Reads `sqlite:FILE`, `sqlite://FILE`, and `?mode=rw` or `?mode=rwc`, which change nothing.
pub(super) fn locate(url: &str) -> Result<Location, OpenError> {
    let (file, parameters) = url.split_once('?').unwrap_or((url, ""));
    if file.ends_with(":memory:") || parameters.contains("mode=memory") {
        return Err(OpenError::Memory);
    }
    if !matches!(parameters, "" | "mode=rw" | "mode=rwc") {
        return Err(OpenError::Url("sqlite: takes no parameter but mode=rwc".to_owned()));
    }
    let options = SqliteConnectOptions::from_str(file).map_err(|error| OpenError::Url(error.to_string()))?;
    let path = options.get_filename().to_owned();
    if path.as_os_str().is_empty() {
        return Err(OpenError::Url("expected sqlite:FILE, such as sqlite:dados.db".to_owned()));
    }
    Ok(Location { path, options: options.busy_timeout(BUSY_TIMEOUT).disable_statement_logging() })
}

/// Opens the file for this process alone; makes it, adopts it or migrates it.
pub(super) async fn open(Location { path, options }: Location, readers: u32) -> Result<(Writer, Reader), OpenError> {
    if path.is_dir() {
        return Err(OpenError::Path { path, source: ErrorKind::IsADirectory.into() });
    }
    let lock = OwnerLock::acquire(&path)?;
    check_log(&path)?;
    if std::fs::metadata(&path).map_or(true, |metadata| metadata.len() == 0) {
        make(&options).await.map_err(|error| open_error(&path, error))?;
    }
    let write = options
        .clone()
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .statement_cache_capacity(insert::TEXTS_MAX)
        .pragma("cache_size", format!("-{WRITE_CACHE_KIB}"))
        // `checkpoint` does it.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", WAL_BYTES_KEPT.to_string());
    let mut conn = write.connect().await.map_err(|error| open_error(&path, error))?;
    adopt::adopt(&mut conn).await.map_err(|error| adopt_error(&path, error))?;
    adopt::migrate(&mut conn).await.map_err(|error| migrate_error(&path, error))?;
    let files = Arc::new(OpenFiles::note(&path));
    let noted = lock.note(&files.record());
    if let Err(source) = noted
        && !is_full(&source)
    {
        return Err(OpenError::Path { path: beside(&path, ".lock"), source });
    }
    let reader = Reader::open(options, readers, files.clone()).await.map_err(|error| open_error(&path, error))?;
    // From now on a database that is not there was removed.
    let mut writer = Writer::new(write.create_if_missing(false), conn, files, lock);
    check_writable(&path, &mut writer).await?;
    Ok((writer, reader))
}

/// Before SQLite sees both.
fn check_log(path: &Path) -> Result<(), OpenError> {
    match open_files::stray_log(path, &OwnerLock::noted(path)) {
        Some(log) => Err(OpenError::StrayLog { path: path.to_owned(), log }),
        None => Ok(()),
    }
}

/// A database that takes no rows is not served: SQLite opens a file that it must not write to read it, and every request
/// would be refused. What passes by itself, a full disk and a lock, is waited for.
async fn check_writable(path: &Path, writer: &mut Writer) -> Result<(), OpenError> {
    if let Err(source) = room::make_and_remove(path)
        && !is_full(&source)
    {
        return Err(OpenError::Path { path: beside(path, room::PROBE), source });
    }
    match writer.probe().await {
        Ok(()) | Err(StoreError::Full(_) | StoreError::Busy(_) | StoreError::Slow | StoreError::Changed) => Ok(()),
        Err(StoreError::Disk(source) | StoreError::Unexpected(source)) => Err(open_error(path, source)),
        Err(StoreError::Refused(source)) => Err(OpenError::Refuses { path: path.to_owned(), source }),
        Err(StoreError::Misplaced(_)) => {
            Err(OpenError::Path { path: path.to_owned(), source: ErrorKind::NotFound.into() })
        }
    }
}

/// A new file can give space back: that is settled by its first page, and journal mode makes it.
async fn make(options: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let mut conn = options.clone().create_if_missing(true).connect().await?;
    sqlx::raw_sql("pragma auto_vacuum = incremental; pragma journal_mode = wal").execute(&mut conn).await?;
    conn.close().await
}

/// The database, its log and what goes with them.
pub(super) fn files(path: &Path) -> Vec<PathBuf> {
    ["", "-wal", "-shm", ".lock"].iter().map(|ending| beside(path, ending)).collect()
}

/// `dados.db` → `dados.db-wal`, beside the file that a symbolic link leads to.
fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut path = database.canonicalize().unwrap_or_else(|_| database.to_owned()).into_os_string();
    path.push(ending);
    path.into()
}

/// Where it lies, with its log.
pub(super) fn directory(path: &Path) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.map_or_else(|| PathBuf::from("."), PathBuf::from)
}

pub(super) fn is_owned(Location { path, .. }: &Location) -> bool {
    OwnerLock::is_held(path)
}

/// SQLite's primary result codes, of which sqlx shows the extended ones.
mod code {
    pub(super) const ERROR: i32 = 1;
    pub(super) const PERM: i32 = 3;
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const INTERRUPT: i32 = 9;
    pub(super) const IOERR: i32 = 10;
    pub(super) const CORRUPT: i32 = 11;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    pub(super) const CONSTRAINT: i32 = 19;
    pub(super) const NOTADB: i32 = 26;
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// What an error means to whoever reads or writes.
fn store_error(error: sqlx::Error) -> StoreError {
    match (primary_code(&error), &error) {
        (Some(code::FULL), _) => StoreError::Full(error),
        (_, sqlx::Error::Io(io)) if is_full(io) => StoreError::Full(error),
        (Some(code::BUSY | code::LOCKED), _) | (_, sqlx::Error::PoolTimedOut) => StoreError::Busy(error),
        (Some(code::PERM | code::READONLY | code::IOERR | code::CORRUPT | code::CANTOPEN | code::NOTADB), _)
        | (_, sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed) => StoreError::Disk(error),
        _ => StoreError::Unexpected(error),
    }
}

/// What an error means to whoever stores rows: those that other errors leave open are of somebody's trigger or change of
/// the tables.
fn write_error(error: StoreError) -> StoreError {
    let StoreError::Unexpected(cause) = error else { return error };
    let is_changed = |message: &str| {
        ["no such table", "no such column", "has no column"].iter().any(|words| message.contains(words))
    };
    let is_refused = match (primary_code(&cause), &cause) {
        (Some(code::CONSTRAINT), _) | (None, sqlx::Error::Protocol(_)) => true,
        (Some(code::ERROR), sqlx::Error::Database(database)) => is_changed(database.message()),
        _ => false,
    };
    if is_refused { StoreError::Refused(cause) } else { StoreError::Unexpected(cause) }
}

/// What an error means to whoever starts the program.
fn open_error(path: &Path, error: sqlx::Error) -> OpenError {
    let code = primary_code(&error);
    match code {
        Some(code::BUSY | code::LOCKED) => return OpenError::Locked(path.to_owned()),
        Some(code::NOTADB | code::CORRUPT) => return OpenError::NotADatabase(path.to_owned()),
        _ => {}
    }
    let files = files(path);
    let in_the_way = files.iter().find(|file| file.is_dir());
    let in_the_way = in_the_way.map(|file| format!("{} is a directory, and a file belongs there", file.display()));
    let unwritable = || files.iter().chain([&directory(path)]).find_map(|file| access::refusal(file));
    match in_the_way.or_else(unwritable) {
        Some(why) => OpenError::Unwritable { why, source: error },
        None if code == Some(code::IOERR) => OpenError::Disk { path: path.to_owned(), source: error },
        None => OpenError::Unwritable { why: format!("cannot write {}", path.display()), source: error },
    }
}

fn adopt_error(path: &Path, error: AdoptError) -> OpenError {
    match error {
        AdoptError::Foreign(problem) => OpenError::Foreign { path: path.to_owned(), problem },
        AdoptError::Sql(error) => open_error(path, error),
        AdoptError::Migration(error) => migrate_error(path, error),
    }
}

fn migrate_error(path: &Path, error: MigrateError) -> OpenError {
    match error {
        MigrateError::VersionMissing(version) => OpenError::Newer { path: path.to_owned(), version },
        MigrateError::Execute(error) => open_error(path, error),
        MigrateError::ExecuteMigration(error, _) if primary_code(&error) != Some(1) => open_error(path, error),
        source => OpenError::Migration { path: path.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// fdatasync itself leaves no trace to ask for; the flags that came with it do.
    #[tokio::test]
    async fn the_bundled_sqlite_is_compiled_as_the_workspace_says() {
        let mut conn = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
        let options: Vec<String> = sqlx::query_scalar("pragma compile_options").fetch_all(&mut conn).await.unwrap();
        assert!(options.iter().any(|option| option == "DEFAULT_MEMSTATUS=0"), "{options:?}");
        assert!(!options.iter().any(|option| option == "ENABLE_MEMORY_MANAGEMENT"), "{options:?}");
    }

    #[test]
    fn a_url_names_a_file_or_says_what_is_wrong() {
        for (url, path) in [
            ("sqlite:dados.db", "dados.db"),
            ("sqlite://dados.db", "dados.db"),
            ("sqlite:///data/dados.db?mode=rwc", "/data/dados.db"),
            ("sqlite:um%20nome.db", "um nome.db"),
        ] {
            assert_eq!(locate(url).unwrap().path, Path::new(path), "{url}");
        }
        for url in
            ["sqlite::memory:", "sqlite://:memory:", "sqlite://?mode=memory", "sqlite:x?mode=memory&cache=shared"]
        {
            assert!(matches!(locate(url), Err(OpenError::Memory)), "{url} was taken");
        }
        for url in ["sqlite:", "sqlite://", "sqlite:a.db?mode=ro", "sqlite:a.db?immutable=1"] {
            assert!(matches!(locate(url), Err(OpenError::Url(_))), "{url} was taken");
        }
    }
}
