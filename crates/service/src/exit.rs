//! Which exit code says what: the codes of BSD's sysexits.h.

use std::fmt;
use std::io::{self, ErrorKind};

/// Why a program ends with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// `EX_USAGE`: a flag or setting is unknown, missing or malformed.
    Usage = 64,
    /// `EX_DATAERR`: a file is not ours, damaged, or from a newer version.
    Data = 65,
    /// `EX_UNAVAILABLE`: a port is in use, or `check` found a service that does not answer.
    Unavailable = 69,
    /// `EX_SOFTWARE`: a task died; this is a bug.
    Software = 70,
    /// `EX_CANTCREAT`: a directory or file cannot be made or written.
    CantCreate = 73,
    /// `EX_IOERR`: a disk error that retrying cannot mend.
    Io = 74,
    /// `EX_TEMPFAIL`: another process holds the spool or the database.
    Locked = 75,
}

impl From<&io::Error> for Exit {
    /// For a directory or file of ours: a person can mend where it lies, or the disk fails.
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotFound
            | ErrorKind::NotADirectory
            | ErrorKind::AlreadyExists
            | ErrorKind::StorageFull => Self::CantCreate,
            _ => Self::Io,
        }
    }
}

/// One line for the operator and the exit code that goes with it.
#[derive(Debug)]
pub struct Fatal {
    /// The code.
    pub exit: Exit,
    /// What happened, readable alone.
    pub message: String,
}

impl Fatal {
    /// An end with this code and line.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// A malformed setting: `variable` is its name in the environment.
    pub fn setting(variable: &str, problem: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, format_args!("{variable}: {problem}"))
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fatal {}

impl From<anyhow::Error> for Fatal {
    /// What nobody classified is a bug of ours.
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Software, format_args!("{error:#}"))
    }
}
