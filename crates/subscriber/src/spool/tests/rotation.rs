//! Rotations that fail half-way.

use super::*;

/// A rotation that fails half-way: the next segment's file is there, but nothing begins with it; then a smaller message
/// still fits into the segment before. Gives what the spool was opened with.
fn after_a_rotation_that_failed(dir: &Path) -> Settings {
    let fsync = Settings { durability: Durability::Fsync, ..settings(dir) };
    let (mut writer, mut reader, ..) = open(fsync.clone()).unwrap();
    let big = "x".repeat(50_000);
    append(&mut writer, &[&big]);
    append(&mut writer, &[&big]);
    texts(&mut reader);
    reader.ack(2).unwrap();
    disk::recorded::fail_next_sync(ErrorKind::Other);
    writer.append([Entry::Message(&message(&big))].into_iter()).unwrap_err();
    assert_eq!(append(&mut writer, &["three"]), 3);
    fsync
}

#[test]
fn a_rotation_that_failed_loses_nothing_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let settings = after_a_rotation_that_failed(dir.path());
    let (_writer, mut reader, _, recovery) = open(settings).unwrap();
    assert_eq!(
        (recovery.waiting, texts(&mut reader)),
        (1, vec![(3, "three".into())]),
        "it was acknowledged to the broker"
    );
}

#[test]
fn a_rotation_that_failed_gives_no_sequence_twice() {
    let dir = tempfile::tempdir().unwrap();
    let settings = after_a_rotation_that_failed(dir.path());
    let (mut writer, ..) = open(settings).unwrap();
    assert_eq!(append(&mut writer, &["four"]), 4, "the API would take it for a repetition of 3");
}

/// What such a rotation leaves behind is an empty segment between two others.
#[test]
fn an_empty_segment_does_not_hold_up_what_is_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let fsync = Settings { durability: Durability::Fsync, ..settings(dir.path()) };
    let (mut writer, reader, gauge, _) = open(fsync.clone()).unwrap();
    let big = "x".repeat(50_000);
    append(&mut writer, &[&big]);
    append(&mut writer, &[&big]);
    disk::recorded::fail_next_sync(ErrorKind::Other);
    writer.append([Entry::Message(&message(&big))].into_iter()).unwrap_err();
    append(&mut writer, &["three"]);
    append(&mut writer, &[&big]);
    drop((writer, reader, gauge));
    let (_writer, mut reader, ..) = open(fsync).unwrap();
    let sequences: Vec<_> = texts(&mut reader).into_iter().map(|(sequence, _)| sequence).collect();
    assert_eq!(sequences, [1, 2, 3, 4], "the forwarder waits for another message before it goes on");
}
