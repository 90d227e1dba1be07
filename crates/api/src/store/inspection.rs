//! What `check` sees of a database that it must not change.

use std::time::Duration;

use dados::Timestamp;

/// A database file that is there.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Inspection {
    /// Readers do not hold up the writer, and the other way round.
    pub(crate) is_wal: bool,
    /// The last migration that was applied; none in a database that is not ours yet.
    pub(crate) version: Option<i64>,
    /// The last migration that this program has.
    pub(crate) version_newest: i64,
    pub(crate) soundness: Soundness,
    /// With the log.
    pub(crate) bytes: u64,
    /// The log alone.
    pub(crate) log_bytes: u64,
    pub(crate) rows: Option<Rows>,
}

/// Whether the file is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Soundness {
    Sound,
    /// The first fault.
    Damaged(String),
    /// No fault in so much time, and not all was looked at.
    Unfinished(Duration),
}

/// The messages in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rows {
    /// By their ids: those that were deleted in between count too.
    pub(crate) count: u64,
    /// The latest time among the last that came.
    pub(crate) newest: Option<Timestamp>,
    /// In the last day, or since the first.
    pub(crate) per_day: Option<f64>,
}

/// Rows a day from `rows` in so many seconds; none where that is too short to tell.
pub(crate) fn per_day(rows: u64, elapsed_s: f64) -> Option<f64> {
    const DAY_S: f64 = 86_400.0;
    const SHORTEST_S: f64 = 600.0;
    (elapsed_s >= SHORTEST_S).then(|| rows as f64 * DAY_S / elapsed_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_by_the_day_once_there_is_enough_to_go_by() {
        for (rows, elapsed_s, expected) in [
            (100, 86_400.0, Some(100.0)),
            (10, 8_640.0, Some(100.0)),
            (0, 86_400.0, Some(0.0)),
            (10, 599.0, None),
            (1, -5.0, None),
        ] {
            assert_eq!(per_day(rows, elapsed_s), expected);
        }
    }
}
