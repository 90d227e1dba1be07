//! What is too old: in which table, by which times, and where deleting goes on.

use dados::Timestamp;

/// The tables whose rows have an age of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aged {
    Messages,
    Readings,
    Minutes,
    Hours,
}

impl Aged {
    pub(crate) const ALL: [Self; 4] = [Self::Messages, Self::Readings, Self::Minutes, Self::Hours];

    /// The table's name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "dados",
            Self::Readings => "leituras",
            Self::Minutes => "leituras_minuto",
            Self::Hours => "leituras_hora",
        }
    }
}

/// Which rows are too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cutoff {
    /// Those of before this moment, if their time is plausible.
    pub(crate) before: Timestamp,
    /// From here on a time is ahead of our clock.
    pub(crate) ahead: Timestamp,
    /// Those of a time that no clock had that was right, if their message arrived before this one. They are judged by what
    /// arrived beside them: a message that was captured in 1970, before NTP, is not older than the others.
    pub(crate) arrived_before: i64,
}

/// After which row deleting goes on: after a message, or at a field of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) dado_id: i64,
    pub(crate) topico: String,
    pub(crate) campo: String,
}

/// What one piece of work deleted, and where the next begins; none where all was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub(crate) rows: u64,
    pub(crate) next: Option<Place>,
}
