//! For how long the disk has room for what comes.

use service::Exit;
use service::doctor::Finding;
use service::doctor::words::{grouped, size, span};

use crate::store::inspection::Inspection;

const SUBJECT: &str = "disk space";
/// With less, a commit does not fit any more, and the log cannot grow.
const FREE_MIN: u64 = 16 << 20;
/// A disk that is full sooner is a matter for this week.
const FULL_SOON_DAYS: f64 = 14.0;
/// Of fewer rows the size of one cannot be told: an empty database has some pages.
const ROWS_MIN: u64 = 1_000;
const DAY_S: f64 = 86_400.0;

/// What is left, and for how long at the rate of the last day.
pub(super) fn finding(inspection: Option<&Inspection>, free: u64, keeps_all: bool) -> Finding {
    let left = size(free as f64);
    if free < FREE_MIN {
        return Finding::fail(Exit::CantCreate, SUBJECT, format!("the disk is full, but for {left}: nothing can be stored"))
            .note("make room (df -h); senders wait meanwhile, and a RETENTION_DADOS such as 90d frees space inside the database");
    }
    let rows = inspection.and_then(|seen| Some((seen.rows?, seen.bytes)));
    let Some((rows, bytes)) = rows.filter(|(rows, _)| rows.count >= ROWS_MIN) else {
        return Finding::ok(SUBJECT, format!("{left} free; too little is stored yet to tell for how long"));
    };
    let row_bytes = bytes as f64 / rows.count as f64;
    let Some(per_day) = rows.per_day.filter(|rows| *rows >= 1.0) else {
        return Finding::ok(SUBJECT, format!("{left} free; nothing came in the last day"));
    };
    let days = free as f64 / (per_day * row_bytes);
    let what = format!(
        "{left} free: at {} messages a day of {} with all that is derived of them, it is full in {}",
        grouped(per_day),
        size(row_bytes),
        span(days * DAY_S)
    );
    match (days < FULL_SOON_DAYS, keeps_all) {
        (true, true) => Finding::warn(SUBJECT, what).note("set RETENTION_DADOS, such as 90d, or make room: a larger disk, fewer messages"),
        (true, false) => Finding::warn(SUBJECT, what)
            .note("RETENTION_DADOS gives space back inside the database: if it has not begun to delete yet, this may come first; make room"),
        (false, _) => Finding::ok(SUBJECT, what),
    }
}

#[cfg(test)]
mod tests {
    use service::doctor::Level;

    use super::*;
    use crate::store::inspection::{Rows, Soundness};

    const GIB: u64 = 1 << 30;

    fn seen(count: u64, per_day: Option<f64>) -> Inspection {
        Inspection {
            is_wal: true,
            version: Some(1),
            version_newest: 1,
            soundness: Soundness::Sound,
            bytes: count * 256,
            log_bytes: 0,
            rows: Some(Rows { count, newest: None, per_day }),
        }
    }

    #[test]
    fn what_is_left_is_told_in_days() {
        let million = Some(1_048_576.0);
        for (inspection, free, keeps_all, level, words) in [
            (None, GIB, true, Level::Ok, "too little is stored"),
            (Some(seen(999, million)), GIB, true, Level::Ok, "too little is stored"),
            (Some(seen(5_000, Some(0.0))), GIB, true, Level::Ok, "nothing came"),
            (Some(seen(5_000, None)), GIB, true, Level::Ok, "nothing came"),
            (Some(seen(5_000, million)), 100 * GIB, true, Level::Ok, "full in 400 days"),
            (
                Some(seen(5_000, million)),
                GIB,
                true,
                Level::Warn,
                "of 256 bytes with all that is derived of them, it is full in 4 days",
            ),
            (Some(seen(5_000, million)), GIB, false, Level::Warn, "full in 4 days"),
            (Some(seen(5_000, million)), FREE_MIN - 1, true, Level::Fail(Exit::CantCreate), "nothing can be stored"),
        ] {
            let finding = finding(inspection.as_ref(), free, keeps_all);
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.what.contains(words), "{finding:?}");
            assert_eq!(finding.notes.is_empty(), level == Level::Ok);
        }
    }
}
