//! Where rows are kept: what the rest of the program may ask of a database, blind to HTTP and to SQL.
//!
//! - [`inspection`]: what `check` sees
//! - [`ledger`]: what is kept of a producer, and what follows from it
//! - [`projection`]: what the projections take up
//! - [`retention`]: what is too old
//! - [`selection`]: which rows to read
//! - [`sender`]: who sends a request
//! - [`sqlite`]: the one database so far

pub(crate) mod inspection;
mod ledger;
pub(crate) mod projection;
pub(crate) mod retention;
mod selection;
mod sender;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;

use dados::{Formato, Timestamp, Topico};
use service::{Exit, Fatal};
use uuid::Uuid;

pub(crate) use ledger::{Kept, Place, ProducerPage, Report, Totals};
pub(crate) use selection::{Filter, LARGE_VALUE_BYTES, LargeValue, Order, Page, Selection, Span};
pub(crate) use sender::{Denial, Sender};
pub(crate) use sqlite::{CarriedTo, Checkpointer, OpenFiles, Reader, STEP_ROWS, Writer, back_up, inspect, log_readers};

/// One message, valid and with its time, ready to be stored. Texts that rows have in common are shared.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) valor: Arc<str>,
    /// In the database's form.
    pub(crate) timestamp: Arc<str>,
    pub(crate) topico: Option<Arc<str>>,
    pub(crate) qos: Option<u8>,
    pub(crate) retido: Option<bool>,
    pub(crate) dup: Option<bool>,
    pub(crate) formato: Option<Formato>,
    /// Whether the time was corrected by who captured it.
    pub(crate) hora_corrigida: Option<bool>,
}

impl Row {
    /// Bytes that a row takes in memory beside its texts.
    pub(crate) const BYTES: usize = 160;

    /// Bytes of its value and topic.
    pub(crate) fn text_bytes(&self) -> usize {
        self.valor.len() + self.topico.as_ref().map_or(0, |topico| topico.len())
    }
}

/// The rows of one request: all are stored or none.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) rows: Vec<Row>,
    pub(crate) origin: Origin,
}

/// How a batch is told from its own repetition.
#[derive(Debug)]
pub(crate) enum Origin {
    /// It is not.
    Unmarked,
    /// By the sequence of each row: the first row has `first_sequence`, from 1, and the last fits an `i64` too.
    Producer { uuid: Uuid, first_sequence: i64, sender: Sender },
    /// By a key of the client's choice; the same key must come with the same content.
    Key(Key),
}

/// A key of the client's choice, which is the sender's own on this route.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) key: String,
    /// Of the content.
    pub(crate) fingerprint: [u8; 32],
    pub(crate) sender: Sender,
    /// Such as `POST /dados`.
    pub(crate) route: &'static str,
}

/// What became of a batch whose transaction was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// `inserted` rows have the ids from `first_id` on; `duplicates` were there before.
    Stored { first_id: i64, inserted: u64, duplicates: u64 },
    /// The key was used before for the same content, which was stored so.
    Replayed { first_id: i64, inserted: u64 },
    /// The key was used before for other content; nothing was stored.
    KeyReused,
    /// It is no batch that this sender may send as this producer; nothing was stored.
    Denied(Denial),
}

impl Outcome {
    /// Whether rows came of it.
    pub(crate) fn has_rows(&self) -> bool {
        matches!(self, Self::Stored { inserted, .. } if *inserted > 0)
    }
}

/// How far the indexes that follow the rows have come. Reading is exact whatever they have not taken up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Indexed {
    /// They have all rows up to this id.
    pub(crate) last_id: i64,
    /// The newest row.
    pub(crate) newest_id: i64,
}

/// How long the write-ahead log is, and how much of it the database has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) pages: u64,
    pub(crate) copied: u64,
}

/// Which topics to read: by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicSelection {
    pub(crate) wanted: Wanted,
    /// Only topics that come after this one; the empty name is that of the messages without a topic.
    pub(crate) after: Option<String>,
    /// At most so many.
    pub(crate) limit: u32,
    /// Text of the topics and their fields; the topic that goes beyond is the last.
    pub(crate) bytes_max: usize,
}

/// Which topics are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// The one of this name.
    Exactly(String),
    /// Those that this MQTT filter takes in.
    Matching(String),
}

/// The selected topics, as far as one page goes.
#[derive(Debug)]
pub(crate) struct TopicPage {
    pub(crate) topics: Vec<Topico>,
    /// The last one's name, where more are selected than the page has.
    pub(crate) next_after: Option<String>,
}

/// Which numbers to read: those of one topic's field, in the order of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeriesSelection {
    /// Empty for the messages without a topic.
    pub(crate) topico: String,
    pub(crate) campo: String,
    pub(crate) rollup: Rollup,
    pub(crate) from: Timestamp,
    /// Before this moment.
    pub(crate) until: Timestamp,
}

/// What numbers are kept by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rollup {
    Minute,
    Hour,
}

/// The numbers of a minute or an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Numbers {
    /// When the minute or the hour begins.
    pub(crate) at: Timestamp,
    pub(crate) count: u64,
    pub(crate) sum: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// Why the database did not do as it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// No space left on the disk.
    #[error("the disk is full")]
    Full(#[source] sqlx::Error),
    /// Another program holds the database, or all readers are at work.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// The disk or the file fails.
    #[error("the database cannot be read or written")]
    Disk(#[source] sqlx::Error),
    /// A file of the database was moved, replaced or removed while it was open.
    #[error("{0}; {remedy}", remedy = .0.remedy())]
    Misplaced(Misplaced),
    /// A trigger, a constraint or a changed table keeps rows from being stored.
    #[error("the database refuses rows: a trigger, a constraint or a changed table")]
    Refused(#[source] sqlx::Error),
    /// A read took longer than it may.
    #[error("the read took too long")]
    Slow,
    /// A row was changed or deleted while it was read in pieces.
    #[error("the row was changed while it was read")]
    Changed,
    /// Anything else: a bug.
    #[error("unexpected database error")]
    Unexpected(#[source] sqlx::Error),
}

/// A file of the database that is not at its path any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misplaced {
    pub(crate) part: FilePart,
    /// None is there; else another one.
    pub(crate) is_gone: bool,
}

impl Misplaced {
    /// What its operator can do.
    pub(crate) fn remedy(self) -> &'static str {
        match (self.part, self.is_gone) {
            (FilePart::Database, true) => {
                "put the file back, and the API goes on by itself; or put a backup there and restart the API"
            }
            (FilePart::Database, false) => {
                "put the former file back, and the API goes on by itself; or restart the API to use the file that is there"
            }
            (FilePart::Log | FilePart::LogIndex, _) => {
                "restart the API; these files belong to the database as long as a program has it open"
            }
        }
    }
}

impl std::fmt::Display for Misplaced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let part = match self.part {
            FilePart::Database => "the database file",
            FilePart::Log => "the database's write-ahead log (-wal)",
            FilePart::LogIndex => "the index of the database's write-ahead log (-shm)",
        };
        let what = if self.is_gone { "removed or renamed" } else { "replaced by another file" };
        write!(f, "{part} was {what} while the API had it open")
    }
}

/// Which file of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilePart {
    Database,
    /// `-wal`.
    Log,
    /// `-shm`, which all programs that have it open share as memory.
    LogIndex,
}

/// [`StoreError`] without its cause, which is logged once though every request of a failed transaction is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Full,
    Busy,
    Disk,
    Misplaced(Misplaced),
    Refused,
    Unexpected,
}

impl Failure {
    /// The names that metrics have for them.
    pub(crate) const NAMES: [&'static str; 6] = ["full", "busy", "disk", "misplaced", "refused", "unexpected"];

    /// The name that metrics have for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Busy => "busy",
            Self::Disk => "disk",
            Self::Misplaced(_) => "misplaced",
            Self::Refused => "refused",
            Self::Unexpected => "unexpected",
        }
    }
}

impl StoreError {
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Full(_) => Failure::Full,
            Self::Busy(_) | Self::Slow | Self::Changed => Failure::Busy,
            Self::Disk(_) => Failure::Disk,
            Self::Misplaced(misplaced) => Failure::Misplaced(*misplaced),
            Self::Refused(_) => Failure::Refused,
            Self::Unexpected(_) => Failure::Unexpected,
        }
    }
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("postgres is not supported yet; expected sqlite:FILE, such as sqlite:dados.db")]
    Postgres,
    #[error("{0}")]
    Url(String),
    #[error("sqlite::memory: is not supported: the writer and the readers would each see a database of their own")]
    Memory,
    #[error("cannot open or make {path}: {source}", path = path.display())]
    Path { path: PathBuf, source: std::io::Error },
    #[error("{} is in use by another ponte-api", .0.display())]
    InUse(PathBuf),
    #[error("{} is locked by another program", .0.display())]
    Locked(PathBuf),
    #[error("{} is not an SQLite database, or is damaged", .0.display())]
    NotADatabase(PathBuf),
    #[error(
        "{log} belongs to another database than {path}, which has taken that one's place, and would damage it: to use the \
         database that is there now, remove {log} and the -shm beside it; to go on with the former one, put it back",
        log = log.display(), path = path.display()
    )]
    StrayLog { path: PathBuf, log: PathBuf },
    #[error("{path} was last used by a newer version of ponte-api (migration {version}); start that version", path = path.display())]
    Newer { path: PathBuf, version: i64 },
    #[error("the table dados in {path} cannot be taken over: {problem}", path = path.display())]
    Foreign { path: PathBuf, problem: String },
    #[error("{why} (SQLite: {source})")]
    Unwritable { why: String, source: sqlx::Error },
    #[error("cannot read or write {path}, the disk may be failing: {source}", path = path.display())]
    Disk { path: PathBuf, source: sqlx::Error },
    #[error(
        "{path} refuses rows, because of a trigger, a constraint or a changed table that is not the API's: {source}",
        path = path.display()
    )]
    Refuses { path: PathBuf, source: sqlx::Error },
    #[error("cannot prepare {path}: {source}", path = path.display())]
    Migration { path: PathBuf, source: sqlx::migrate::MigrateError },
}

impl From<OpenError> for Fatal {
    fn from(error: OpenError) -> Self {
        let exit = match &error {
            OpenError::Postgres | OpenError::Url(_) | OpenError::Memory => {
                return Self::setting("DATABASE_URL", error);
            }
            OpenError::Path { .. } | OpenError::Unwritable { .. } => Exit::CantCreate,
            OpenError::Disk { .. } => Exit::Io,
            OpenError::InUse(_) | OpenError::Locked(_) => Exit::Locked,
            OpenError::NotADatabase(_)
            | OpenError::StrayLog { .. }
            | OpenError::Newer { .. }
            | OpenError::Foreign { .. }
            | OpenError::Refuses { .. }
            | OpenError::Migration { .. } => Exit::Data,
        };
        Self::new(exit, error)
    }
}

/// The database that a URL names, opened by nobody yet.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    /// The file.
    pub(crate) path: PathBuf,
    options: sqlx::sqlite::SqliteConnectOptions,
}

impl Location {
    /// Where it lies, with its log.
    pub(crate) fn directory(&self) -> PathBuf {
        sqlite::directory(&self.path)
    }

    /// The files that belong to it, whether they are there or not.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        sqlite::files(&self.path)
    }
}

/// Reads `DATABASE_URL`; the scheme picks the database.
pub(crate) fn locate(url: &str) -> Result<Location, OpenError> {
    match url.split_once(':') {
        Some(("sqlite", _)) => sqlite::locate(url),
        Some(("postgres" | "postgresql", _)) => Err(OpenError::Postgres),
        // The URL is not repeated: it may hold a password.
        _ => Err(OpenError::Url("expected sqlite:FILE, such as sqlite:dados.db".to_owned())),
    }
}

/// Whether another process has it open to write.
pub(crate) fn is_owned(location: &Location) -> bool {
    sqlite::is_owned(location)
}

/// Opens a database for this process alone: makes, adopts or migrates it.
pub(crate) async fn connect(url: &str, readers: u32) -> Result<(Writer, Reader), OpenError> {
    sqlite::open(locate(url)?, readers).await
}
