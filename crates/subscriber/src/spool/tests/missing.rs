//! Files that somebody removes or replaces, while the spool is in use or while it is not.

use super::*;

/// Several segments of messages that wait: how many messages, and where the segments are.
fn several(dir: &Path) -> (u64, Vec<PathBuf>) {
    let (mut writer, reader, gauge, _) = open(settings(dir)).unwrap();
    let big = "x".repeat(50_000);
    let count = (1..=5).map(|_| append(&mut writer, &[&big, "small"]) + 1).last().unwrap();
    drop((writer, reader, gauge));
    let segments: Vec<_> =
        segment::list(dir).unwrap().iter().map(|extent| segment::path(dir, extent.first_sequence)).collect();
    assert!(segments.len() >= 3);
    (count, segments)
}

/// Delivers everything: how many messages were read.
fn deliver(reader: &mut Reader) -> u64 {
    let mut read = 0;
    while let Some(frame) = reader.try_next().unwrap() {
        read += frame.messages.len() as u64;
        reader.ack(frame.first_sequence + frame.messages.len() as u64 - 1).unwrap();
    }
    read
}

#[test]
fn segments_removed_while_stopped_are_counted() {
    for (name, removed) in
        [("all", 0..usize::MAX), ("the first", 0..1), ("the second", 1..2), ("all but one", 1..usize::MAX)]
    {
        let dir = tempfile::tempdir().unwrap();
        let (count, segments) = several(dir.path());
        for path in &segments[removed.start..removed.end.min(segments.len())] {
            std::fs::remove_file(path).unwrap();
        }
        let (mut writer, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
        let identity = gauge.usage().progress.producer;
        assert_eq!(gauge.usage().next_sequence, count + 1, "{name}: what was received never falls");
        let read = deliver(&mut reader);
        assert_eq!(append(&mut writer, &["next"]), count + 1, "{name}");
        assert_eq!(deliver(&mut reader), 1);
        let usage = gauge.usage();
        assert_eq!((usage.progress.damaged, usage.waiting), (count - read, 0), "{name}");
        drop((writer, reader, gauge));
        let (_, mut reader, gauge, recovery) = open(settings(dir.path())).unwrap();
        assert_eq!((recovery.missing, deliver(&mut reader)), (0, 0), "{name}: once");
        assert_eq!(gauge.usage().progress.producer, identity);
    }
}

#[test]
fn the_newest_segment_alone_may_be_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (count, segments) = several(dir.path());
    std::fs::remove_file(segments.last().unwrap()).unwrap();
    let (_writer, mut reader, gauge, recovery) = open(settings(dir.path())).unwrap();
    assert!(recovery.missing > 0);
    let read = deliver(&mut reader);
    assert_eq!(read + recovery.missing, count);
    assert_eq!((gauge.usage().progress.damaged, gauge.usage().waiting), (recovery.missing, 0), "nothing need follow");
}

fn refused(writer: &mut Writer) -> String {
    writer.append([Entry::Message(&message("refused"))].into_iter()).unwrap_err().to_string()
}

/// What is acknowledged after a removal must be there at the next start, with all that waited before it.
#[test]
fn what_is_removed_in_use_is_put_back_before_anything_is_acknowledged() {
    type Remove = fn(&Path);
    let cases: [(&str, Remove); 6] = [
        ("rm -r spool", |dir| std::fs::remove_dir_all(dir).unwrap()),
        ("mv spool away", |dir| std::fs::rename(dir, dir.with_extension("away")).unwrap()),
        ("rm spool/*.seg", |dir| std::fs::remove_file(last_segment(dir)).unwrap()),
        ("rm spool/cursor", |dir| std::fs::remove_file(dir.join("cursor")).unwrap()),
        ("rm spool/session", |dir| std::fs::remove_file(dir.join("session")).unwrap()),
        ("rm spool/lock", |dir| std::fs::remove_file(dir.join("lock")).unwrap()),
    ];
    for (durability, (name, remove)) in
        [Durability::Write, Durability::Fsync].into_iter().flat_map(|it| cases.map(|case| (it, case)))
    {
        let outer = tempfile::tempdir().unwrap();
        let dir = outer.path().join("spool");
        let settings = Settings { durability, ..settings(&dir) };
        let (mut writer, mut reader, gauge, _) = open(settings.clone()).unwrap();
        append(&mut writer, &["one", "two"]);
        assert_eq!(texts(&mut reader).len(), 2);
        reader.ack(1).unwrap();
        let identity = gauge.usage().progress.producer;
        remove(&dir);
        let fault = refused(&mut writer);
        assert!(fault.contains("was removed or replaced"), "{name}: {fault}");
        assert_eq!(append(&mut writer, &["three"]), 3, "{name}");
        assert_eq!(texts(&mut reader), [(3, "three".into())], "{name}: the reader goes on where it was");
        assert!(matches!(open(settings.clone()), Err(OpenError::Locked { .. })), "{name}");
        drop((writer, reader, gauge));
        let (_, mut reader, gauge, recovery) = open(settings).unwrap();
        assert_eq!((recovery.missing, gauge.usage().progress.producer), (0, identity), "{name}");
        assert_eq!(texts(&mut reader), [(2, "two".into()), (3, "three".into())], "{name}");
    }
}

#[test]
fn a_check_without_messages_notices_and_mends_too() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader, ..) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one"]);
    writer.check().unwrap();
    std::fs::remove_file(last_segment(dir.path())).unwrap();
    assert!(matches!(writer.check(), Err(AppendError::Misplaced { .. })));
    writer.check().unwrap();
    assert!(last_segment(dir.path()).exists());
}

#[test]
fn a_segment_that_is_cut_short_in_use_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one"]);
    append(&mut writer, &["two"]);
    std::fs::write(last_segment(dir.path()), "").unwrap();
    refused(&mut writer);
    assert_eq!(append(&mut writer, &["three"]), 3);
    assert_eq!(texts(&mut reader), [(3, "three".into())]);
    reader.ack(3).unwrap();
    assert_eq!(gauge.usage().progress.damaged, 2);
}

#[test]
fn older_segments_removed_in_use_are_passed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (count, segments) = several(dir.path());
    let (mut writer, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
    segments.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    refused(&mut writer);
    assert_eq!(append(&mut writer, &["next"]), count + 1);
    let read = deliver(&mut reader);
    assert!(read > 1, "the active segment was put back");
    assert_eq!(gauge.usage().progress.damaged, count + 1 - read);
}

/// Somebody else's cursor: which of the two counts is not ours to say.
#[test]
fn a_cursor_that_was_replaced_stops_the_acknowledgements() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, ..) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one"]);
    let other = std::fs::read(dir.path().join("cursor")).unwrap();
    std::fs::remove_file(dir.path().join("cursor")).unwrap();
    // With the old one open its inode cannot be given again.
    std::fs::write(dir.path().join("cursor"), other).unwrap();
    refused(&mut writer);
    for _ in 0..2 {
        let fault = refused(&mut writer);
        assert!(fault.contains("restart"), "{fault}");
    }
}

#[test]
fn a_file_put_in_a_segments_place_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, ..) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one"]);
    let path = last_segment(dir.path());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "not ours").unwrap();
    refused(&mut writer);
    assert_eq!(append(&mut writer, &["two"]), 2);
    assert_eq!(texts(&mut reader), [(1, "one".into()), (2, "two".into())]);
    let kept: Vec<_> = std::fs::read_dir(dir.path().join("corrupt")).unwrap().collect();
    assert_eq!(std::fs::read(kept[0].as_ref().unwrap().path()).unwrap(), b"not ours");
}
