//! The zeros that frames are written over.

use super::*;

/// Of all segments' files.
fn lengths(dir: &Path) -> u64 {
    segment::list(dir).unwrap().iter().map(|segment| segment.durable_bytes).sum()
}

/// A file that grows has its length and its place on the disk synced too, with each frame.
#[test]
fn frames_are_written_over_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let fsync = Settings { durability: Durability::Fsync, ..settings(dir.path()) };
    let (mut writer, mut reader, gauge, _) = open(fsync.clone()).unwrap();
    append(&mut writer, &["one"]);
    let path = last_segment(dir.path());
    let prepared = std::fs::metadata(&path).unwrap().len();
    assert_eq!(prepared, 128 << 10, "all of a small segment");
    disk::recorded::start();
    for _ in 0..100 {
        append(&mut writer, &["more"]);
    }
    let changes = disk::recorded::finish();
    let plain = |change: &Change| matches!(change, Change::Write { .. } | Change::Sync { .. });
    assert!(changes.iter().all(plain), "nothing but writes and syncs");
    let syncs = changes.iter().filter(|change| matches!(change, Change::Sync { .. })).count();
    assert_eq!((changes.len(), syncs), (300, 100), "frame, sync and the cursor's note of it, each time");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), prepared);
    let big = "x".repeat(50_000);
    append(&mut writer, &[&big]);
    append(&mut writer, &[&big]);
    append(&mut writer, &[&big]);
    assert_ne!(last_segment(dir.path()), path);
    let all = texts(&mut reader).len();
    let used = gauge.usage().bytes;
    drop((writer, reader, gauge));
    let (_writer, mut reader, gauge, recovery) = open(fsync).unwrap();
    assert_eq!((recovery.torn_bytes, texts(&mut reader).len(), gauge.usage().bytes), (0, all, used));
    assert_eq!(lengths(dir.path()), used, "no segment keeps the zeros that it does not need");
}

/// What is prepared is as bounded as what is used, and what there is no room for is not asked for again at once.
#[test]
fn where_there_is_no_room_for_zeros_there_may_be_for_a_frame() {
    let dir = tempfile::tempdir().unwrap();
    let fsync = Settings { durability: Durability::Fsync, ..settings(dir.path()) };
    let (mut writer, mut reader, gauge, _) = open(fsync).unwrap();
    disk::recorded::fail_next_sync(ErrorKind::StorageFull);
    assert_eq!(append(&mut writer, &["one"]), 1);
    assert_eq!(append(&mut writer, &["two"]), 2);
    assert_eq!(lengths(dir.path()), gauge.usage().bytes);
    assert_eq!(texts(&mut reader).len(), 2);
    let big = "x".repeat(30_000);
    while writer.append([message(&big)].iter().map(Entry::Message)).is_ok() {
        assert!(lengths(dir.path()) <= 1 << 20, "{}", lengths(dir.path()));
    }
    assert!(gauge.usage().bytes > 1 << 19 && lengths(dir.path()) > gauge.usage().bytes);
}
