//! The session's notes: they come back, and they fill nothing.

use super::*;
use crate::session::{Fingerprint, Note};

fn held(pkid: u16) -> Entry<'static> {
    Entry::Note(Note::Held { pkid, fingerprint: Fingerprint(pkid.into()), late: false, dup: false })
}

fn released(pkid: u16) -> Entry<'static> {
    Entry::Note(Note::Released { pkid })
}

/// The ids that are held.
fn unreleased(writer: &Writer) -> Vec<u16> {
    let pkid = |note| match note {
        Note::Held { pkid, .. } => pkid,
        other => panic!("{other:?}"),
    };
    let mut ids: Vec<_> = writer.inbound().unreleased().into_iter().map(pkid).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn the_session_comes_back_though_its_segments_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
    writer.append([held(1), Entry::Message(&message("one"))].into_iter()).unwrap();
    writer.append([held(2), Entry::Message(&message("two"))].into_iter()).unwrap();
    let big = message(&"x".repeat(50_000));
    for _ in 0..100 {
        append(&mut writer, &["x"]);
        writer.append([Entry::Message(&big)].into_iter()).unwrap();
        let last = texts(&mut reader).pop().unwrap().0;
        reader.ack(last).unwrap();
    }
    assert!(segment::list(dir.path()).unwrap()[0].first_sequence > 2, "the first frames are gone");
    writer.append([released(1)].into_iter()).unwrap();
    drop((writer, reader, gauge));
    let (mut writer, reader, gauge, _) = open(settings(dir.path())).unwrap();
    assert_eq!(unreleased(&writer), [2]);
    writer.append([Entry::Note(Note::Lost)].into_iter()).unwrap();
    drop((writer, reader, gauge));
    assert_eq!(unreleased(&open(settings(dir.path())).unwrap().0), [0u16; 0]);
}

#[test]
fn notes_alone_fill_no_spool() {
    let dir = tempfile::tempdir().unwrap();
    let small = Settings { bytes_max: 8 << 10, ..settings(dir.path()) };
    let (mut writer, mut reader, gauge, _) = open(small.clone()).unwrap();
    for round in 0..2_000 {
        writer.append([held(7)].into_iter()).unwrap_or_else(|error| panic!("round {round}: {error}"));
        writer.append([released(7)].into_iter()).unwrap();
    }
    writer.append([held(9), Entry::Message(&message("after"))].into_iter()).unwrap();
    assert_eq!(texts(&mut reader), [(1, "after".into())]);
    drop((writer, reader, gauge));
    let (writer, mut reader, ..) = open(small).unwrap();
    assert_eq!(unreleased(&writer), [9]);
    assert_eq!(texts(&mut reader), [(1, "after".into())]);
}

/// The writer empties a segment of nothing but notes while the reader, who is a little behind, is in it.
#[test]
fn a_segment_that_begins_anew_is_no_damage_to_its_reader() {
    let dir = tempfile::tempdir().unwrap();
    let small = Settings { bytes_max: 2 << 10, ..settings(dir.path()) };
    let (mut writer, mut reader, ..) = open(small).unwrap();
    let ended = std::sync::atomic::AtomicBool::new(false);
    let (faults, read) = std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let (mut faults, mut read) = (Vec::new(), Vec::new());
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                match reader.try_next() {
                    Ok(frame) => read.extend(frame.map(|frame| frame.first_sequence)),
                    Err(fault) => faults.push(fault.to_string()),
                }
            }
            (faults, read)
        });
        for _ in 0..5_000 {
            writer.append([held(7)].into_iter()).unwrap();
            writer.append([released(7)].into_iter()).unwrap();
        }
        ended.store(true, std::sync::atomic::Ordering::Relaxed);
        reading.join().unwrap()
    });
    let aside = std::fs::read_dir(dir.path().join("corrupt")).map_or(0, Iterator::count);
    assert_eq!((faults.first(), faults.len(), aside, read), (None, 0, 0, vec![]), "errors, files in corrupt/, frames");
}
