//! What is to be said of the database's file, and of what it holds.

use std::path::Path;

use service::doctor::Finding;
use service::doctor::locks::Holder;
use service::doctor::mounts::{Kind, Mount};
use service::doctor::words::{grouped, size, span};
use service::{Exit, Fatal};

use crate::ingest::log::HELD_BYTES;
use crate::retention::APART_MAX;
use crate::store::inspection::{Inspection, Soundness};

/// A row this far ahead of our clock is no matter of rounding.
const AHEAD_MAX_MS: i64 = 60_000;

/// The file, and what `serve` will do with it.
pub(super) fn found(subject: String, path: &Path, inspection: Option<&Inspection>) -> Finding {
    let Some(seen) = inspection else {
        return Finding::ok(subject, format!("{} is not there yet; serve makes it", path.display()));
    };
    let held = match seen.rows {
        Some(rows) => format!("about {} messages in {}", grouped(rows.count as f64), size(seen.bytes as f64)),
        None => format!("no table of ours yet, {}", size(seen.bytes as f64)),
    };
    let schema = match seen.version {
        None => "serve adds the tables that it lacks".to_owned(),
        Some(version) if version < seen.version_newest => {
            format!("its tables are of version {version}, and serve brings them to {}", seen.version_newest)
        }
        Some(version) => format!("its tables are up to date (version {version})"),
    };
    let finding = Finding::ok(subject, format!("can be read and written; {held}; {schema}"));
    match seen.version {
        Some(version) if version == seen.version_newest => finding,
        _ => finding.note("make a copy of it before the first start"),
    }
}

/// Why it cannot be opened.
pub(super) fn refused(subject: String, fatal: Fatal) -> Finding {
    let note = match fatal.exit {
        Exit::Locked => "stop the program that holds it",
        Exit::Data => "put a backup back, or name another file",
        _ => "see the README about the codes that a program ends with",
    };
    Finding::from((subject, Err(fatal))).note(note)
}

/// What a file system does to SQLite's log, which all who have the database open share as memory.
pub(super) fn lies_on(mount: &Mount) -> Option<Finding> {
    let (what, note) = match mount.kind() {
        Kind::Local => return None,
        Kind::Memory => ("is memory: a restart of this machine loses all of it", "put the database on a disk"),
        Kind::Container => (
            "is the container's own layer: the database is gone when the container is removed",
            "put it on a volume (docker-compose.yml has one)",
        ),
        Kind::Network => (
            "is another machine's disk: SQLite's log (WAL) is not safe there, and can damage the database",
            "put it on a disk of this machine, and copy backups to the other one",
        ),
        Kind::Shared => (
            "is a shared folder: SQLite's log (WAL) is not safe there, and can damage the database",
            "use a Docker volume instead of a folder of the host, or a disk of this machine",
        ),
    };
    Some(Finding::warn("file system", format!("the file system of the database ({}) {what}", mount.name)).note(note))
}

/// What it holds.
pub(super) fn inside(seen: &Inspection, now_ms: i64) -> Vec<Finding> {
    let journal = if seen.is_wal {
        Finding::ok("journal", "a write-ahead log (WAL), as it should be: charts do not hold up what comes in")
    } else {
        Finding::ok("journal", "no write-ahead log (WAL) yet; serve switches it on")
    };
    let mut findings = vec![journal, soundness(&seen.soundness)];
    findings.extend(seen.rows.and_then(|rows| Some(newest(rows.newest?.as_ms(), now_ms))));
    findings
}

/// A log that grows, and who is in its way.
pub(super) fn held_log(bytes: u64, readers: &[Holder]) -> Option<Finding> {
    if bytes < HELD_BYTES {
        return None;
    }
    let length = size(bytes as f64);
    let finding = |what: String| Finding::warn("write-ahead log", what);
    if readers.is_empty() {
        let what = format!(
            "it has {length}: a long read of the database has kept it from starting over; no program that this one can see \
             reads now"
        );
        return Some(
            finding(what)
                .note("if it goes on growing, a program in another container reads (Metabase?); else it shrinks with the next messages"),
        );
    }
    let names = readers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let what = format!("it has {length} and cannot start over while the database is read; now reading: {names}");
    Some(finding(what).note(
        "end that program or its transaction: an open `begin` in sqlite3, a cursor that was not closed, a long query",
    ))
}

fn soundness(soundness: &Soundness) -> Finding {
    let subject = "integrity";
    match soundness {
        Soundness::Sound => Finding::ok(subject, "no damage in the whole file (pragma quick_check)"),
        Soundness::Unfinished(limit) => Finding::ok(
            subject,
            format!("no damage as far as {} of looking went (pragma quick_check)", span(limit.as_secs_f64())),
        )
        .note("the file is large; to look at all of it: sqlite3 dados.db 'pragma quick_check'"),
        Soundness::Damaged(fault) => {
            let fault = fault.replace('\n', " ");
            Finding::fail(Exit::Data, subject, format!("the file is damaged: {fault}"))
                .note("stop the API, keep a copy of the file as it is, and put a backup back; or save what can be read: sqlite3 dados.db .recover")
                .note("a failing disk or card does this: see dmesg")
        }
    }
}

fn newest(newest_ms: i64, now_ms: i64) -> Finding {
    let subject = "newest message";
    let apart = |ms: i64| span(ms as f64 / 1e3);
    if newest_ms > now_ms + AHEAD_MAX_MS {
        return Finding::warn(subject, format!("it is {} in the future, by this machine's clock", apart(newest_ms - now_ms)))
            .note("one of the clocks is or was wrong, here or where messages are captured: switch NTP on in both (timedatectl set-ntp true)");
    }
    let ago = format!("it was captured {} ago", apart((now_ms - newest_ms).max(0)));
    if now_ms - newest_ms > APART_MAX.as_millis() as i64 {
        return Finding::warn(subject, format!("{ago}, by this machine's clock: nothing has come since, or the clock is wrong"))
            .note("is the clock right? (timedatectl) switch NTP on: timedatectl set-ntp true")
            .note("retention deletes nothing by a clock that is so far from the data at a start, until it has run steadily for 24 h with new messages, or you confirm it: ponte-api retention apply");
    }
    Finding::ok(subject, ago)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use service::doctor::Level;

    use super::*;
    use crate::store::inspection::Rows;

    fn seen() -> Inspection {
        Inspection {
            is_wal: true,
            version: Some(6),
            version_newest: 6,
            soundness: Soundness::Sound,
            bytes: 1 << 20,
            log_bytes: 0,
            rows: Some(Rows { count: 4_096, newest: None, per_day: None }),
        }
    }

    #[test]
    fn what_serve_will_do_is_said_before() {
        for (inspection, words, notes) in [
            (None, "not there yet; serve makes it", 0),
            (Some(seen()), "about 4,096 messages in 1 MiB; its tables are up to date (version 6)", 0),
            (Some(Inspection { version: Some(2), ..seen() }), "of version 2, and serve brings them to 6", 1),
            (Some(Inspection { version: None, rows: None, ..seen() }), "serve adds the tables", 1),
        ] {
            let finding = found("x".into(), Path::new("dados.db"), inspection.as_ref());
            assert!(finding.what.contains(words), "{finding:?}");
            assert_eq!((finding.level, finding.notes.len()), (Level::Ok, notes));
        }
    }

    #[test]
    fn damage_is_a_failure_and_a_limit_of_time_is_none() {
        for (found, level, words) in [
            (Soundness::Sound, Level::Ok, "whole file"),
            (Soundness::Unfinished(Duration::from_secs(5)), Level::Ok, "as far as 5 s"),
            (Soundness::Damaged("row\nmissing".into()), Level::Fail(Exit::Data), "damaged: row missing"),
        ] {
            let finding = soundness(&found);
            assert_eq!(finding.level, level);
            assert!(finding.what.contains(words), "{finding:?}");
        }
        assert!(inside(&Inspection { is_wal: false, ..seen() }, 0)[0].what.contains("serve switches it on"));
    }

    #[test]
    fn a_long_log_is_told_with_its_readers() {
        let reader = Holder { pid: 7, name: "sqlite3".to_owned() };
        assert!(held_log(HELD_BYTES - 1, std::slice::from_ref(&reader)).is_none());
        for (readers, words) in [
            (
                &[reader][..],
                "has 128 MiB and cannot start over while the database is read; now reading: sqlite3 (pid 7)",
            ),
            (&[], "no program"),
        ] {
            let finding = held_log(HELD_BYTES, readers).unwrap();
            assert_eq!((finding.level, finding.notes.len()), (Level::Warn, 1));
            assert!(finding.what.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn a_message_of_the_future_is_noticed() {
        assert_eq!(newest(60_000, 0).level, Level::Ok);
        assert_eq!(newest(0, 3_600_000).what, "it was captured 60 min ago");
        let finding = newest(0, 27 * 3_600_000);
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.what.contains("27 h ago, by this machine's clock"), "{finding:?}");
        let finding = newest(200_000, 0);
        assert_eq!(finding.level, Level::Warn);
        assert!(finding.what.contains("3 min in the future"), "{finding:?}");
    }
}
