//! The spool as its users see it: order, restarts, limits, and over any history a queue.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use proptest::prelude::*;

use super::disk::recorded::Change;
use super::*;

mod damage;
mod journal;
mod missing;
mod rotation;
mod zeros;

fn settings(dir: &Path) -> Settings {
    Settings { dir: dir.to_owned(), bytes_max: 1 << 20, durability: Durability::Write }
}

fn message(text: &str) -> Message {
    Message {
        topic: Bytes::from_static(b"a/b"),
        payload: Bytes::copy_from_slice(text.as_bytes()),
        qos: 1,
        retain: false,
        dup: false,
        captured_ms: 1,
        clock: Default::default(),
    }
}

fn texts(reader: &mut Reader) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while let Some(frame) = reader.try_next().unwrap() {
        for (sequence, message) in (frame.first_sequence..).zip(frame.messages) {
            all.push((sequence, String::from_utf8(message.payload.to_vec()).unwrap()));
        }
    }
    all
}

fn append(writer: &mut Writer, texts: &[&str]) -> u64 {
    let messages: Vec<_> = texts.iter().map(|text| message(text)).collect();
    writer.append(messages.iter().map(Entry::Message)).unwrap()
}

fn last_segment(dir: &Path) -> PathBuf {
    segment::path(dir, segment::list(dir).unwrap().back().unwrap().first_sequence)
}

#[test]
fn messages_come_back_in_order_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, gauge, recovery) = open(settings(dir.path())).unwrap();
    assert_eq!(recovery, Recovery::default());
    assert_eq!(append(&mut writer, &["one", "two"]), 1);
    assert_eq!(append(&mut writer, &["three"]), 3);
    assert_eq!(texts(&mut reader).len(), 3);
    reader.ack(1).unwrap();
    let identity = gauge.usage().progress.producer;
    drop((writer, reader, gauge));

    let (mut writer, mut reader, gauge, recovery) = open(settings(dir.path())).unwrap();
    assert_eq!((recovery.waiting, gauge.usage().progress.producer), (2, identity));
    assert_eq!(append(&mut writer, &["four"]), 4);
    assert_eq!(texts(&mut reader), [(2, "two".into()), (3, "three".into()), (4, "four".into())]);
    reader.ack(4).unwrap();
    drop((writer, reader, gauge));

    let (mut writer, mut reader, ..) = open(settings(dir.path())).unwrap();
    assert_eq!(texts(&mut reader), []);
    assert_eq!(append(&mut writer, &["five"]), 5, "sequences go on after everything was delivered");
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(settings(dir.path())).unwrap();
    assert!(matches!(open(settings(dir.path())), Err(OpenError::Locked { .. })));
    drop(held);
    assert!(open(settings(dir.path())).is_ok());
}

/// Bytes before the zeros at the end.
fn written(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

#[test]
fn a_full_spool_refuses_and_goes_on_when_it_is_drained() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
    let big = "x".repeat(50_000);
    let mut stored = 0;
    let refused = loop {
        match writer.append([message(&big)].iter().map(Entry::Message)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Full { .. }), "{refused}");
    assert!(stored >= 18, "{stored} messages of 50 kB in 1 MiB");
    assert!(gauge.usage().bytes <= 1 << 20);
    assert_eq!(texts(&mut reader).len(), stored);
    reader.ack(stored as u64).unwrap();
    assert_eq!(append(&mut writer, &[&big]), stored as u64 + 1);
    assert_eq!(texts(&mut reader).len(), 1);
    assert!(segment::list(dir.path()).unwrap().len() <= 2, "delivered segments are removed");
}

#[test]
fn the_quarantine_shares_the_limit() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader, gauge, _) = open(settings(dir.path())).unwrap();
    gauge.set_quarantine_bytes(1 << 20);
    assert!(matches!(writer.append([message("x")].iter().map(Entry::Message)), Err(AppendError::Full { .. })));
    gauge.set_quarantine_bytes(0);
    assert_eq!(append(&mut writer, &["x"]), 1);
}

#[test]
fn a_lost_cursor_means_a_new_identity_and_nothing_lost() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one", "two"]);
    reader.ack(1).unwrap();
    let identity = gauge.usage().progress.producer;
    drop((writer, reader, gauge));
    std::fs::remove_file(dir.path().join("cursor")).unwrap();
    let (_, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
    assert_ne!(gauge.usage().progress.producer, identity);
    assert_eq!(texts(&mut reader), [(1, "one".into()), (2, "two".into())]);
}

/// After a failed fsync nobody knows what the disk has: the descriptor is given up, and the frame written anew.
#[test]
fn a_failed_sync_stores_nothing_and_the_next_append_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let fsync = Settings { durability: Durability::Fsync, ..settings(dir.path()) };
    let (mut writer, mut reader, gauge, _) = open(fsync.clone()).unwrap();
    append(&mut writer, &["one"]);
    let kept = gauge.usage().bytes;
    for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
        disk::recorded::fail_next_sync(kind);
        let refused = writer.append([Entry::Message(&message("lost"))].into_iter()).unwrap_err();
        assert!(matches!(&refused, AppendError::Io(error) if error.kind() == kind), "{refused}");
        assert_eq!(gauge.usage().next_sequence, 2);
        assert_eq!(texts(&mut reader).iter().filter(|(_, text)| text == "lost").count(), 0);
    }
    disk::recorded::start();
    assert_eq!(append(&mut writer, &["two"]), 2);
    let changes = disk::recorded::finish();
    let cut = |change: &Change| matches!(change, Change::SetLen { len, .. } if *len == kept);
    assert!(matches!(changes[0], Change::Open { .. }), "a new descriptor: {changes:?}");
    assert!(cut(&changes[1]), "cut back to the last durable byte: {changes:?}");
    drop((writer, reader, gauge));
    let (_writer, mut reader, _, recovery) = open(fsync).unwrap();
    assert_eq!((recovery.torn_bytes, texts(&mut reader)), (0, vec![(1, "one".into()), (2, "two".into())]));
}

#[test]
fn what_was_written_without_the_apis_word_is_remembered_until_it_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let reopen = || open(settings(dir.path())).unwrap();
    let (mut writer, mut reader, gauge, _) = reopen();
    assert_eq!(gauge.usage().progress.unverified_from, 1);
    reader.verified().unwrap();
    append(&mut writer, &["one", "two"]);
    drop((writer, reader, gauge));
    let (mut writer, reader, gauge, _) = reopen();
    assert_eq!(gauge.usage().progress.unverified_from, 3);
    append(&mut writer, &["three"]);
    drop((writer, reader, gauge));
    let (_writer, mut reader, gauge, _) = reopen();
    assert_eq!(gauge.usage().progress.unverified_from, 3, "a crash before the API was reached");
    let old = gauge.usage().progress.producer;
    let new = reader.rename(3).unwrap();
    let progress = Progress { producer: new, base: 2, acked: 2, quarantined: 0, damaged: 0, unverified_from: 0 };
    assert_eq!(gauge.usage().progress, progress);
    assert_ne!(old, new);
    assert_eq!(texts(&mut reader), [(3, "three".into())], "what was new is sent under the new name");
    reader.ack_with(3, |progress| progress.quarantined += 1).unwrap();
    drop((_writer, reader, gauge));
    let progress = Progress { acked: 3, quarantined: 1, unverified_from: 4, ..progress };
    assert_eq!(reopen().2.usage().progress, progress);
}

/// What may happen to a spool.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<Message>),
    Deliver,
    Restart,
    TearTail(Vec<u8>),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec(frame::tests::any_message(), 1..8).prop_map(Step::Append),
        2 => Just(Step::Deliver),
        1 => Just(Step::Restart),
        1 => prop::collection::vec(any::<u8>(), 1..60).prop_map(Step::TearTail),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Over any history, what is read is what was appended, in order, once per run and never again after delivery.
    #[test]
    fn the_spool_is_a_queue(steps in prop::collection::vec(any_step(), 1..40), fsync in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let durability = if fsync { Durability::Fsync } else { Durability::Write };
        let small = Settings { bytes_max: 64 << 10, durability, ..settings(dir.path()) };
        let mut spool = Some(open(small.clone()).unwrap());
        let mut model: VecDeque<(u64, Message)> = VecDeque::new();
        let mut next = 1;
        for step in steps {
            match step {
                Step::Append(messages) => {
                    let writer = &mut spool.as_mut().unwrap().0;
                    match writer.append(messages.iter().map(Entry::Message)) {
                        Ok(first) => {
                            prop_assert_eq!(first, next);
                            model.extend((next..).zip(messages));
                            next = model.back().unwrap().0 + 1;
                        }
                        Err(AppendError::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Deliver => {
                    let reader = &mut spool.as_mut().unwrap().1;
                    while let Some(frame) = reader.try_next().unwrap() {
                        for found in (frame.first_sequence..).zip(frame.messages) {
                            prop_assert_eq!(Some(found), model.pop_front());
                        }
                    }
                    prop_assert!(model.is_empty());
                    reader.ack(next - 1).unwrap();
                }
                Step::Restart => {
                    drop(spool.take());
                    spool = Some(open(small.clone()).unwrap());
                }
                Step::TearTail(garbage) => {
                    let end = spool.take().unwrap().2.0.state().segments.back().unwrap().durable_bytes;
                    let file = OpenOptions::new().write(true).open(last_segment(dir.path())).unwrap();
                    file.write_all_at(&garbage, end).unwrap();
                    spool = Some(open(small.clone()).unwrap());
                    prop_assert_eq!(spool.as_ref().unwrap().3.torn_bytes, written(&garbage));
                }
            }
            prop_assert!(spool.as_ref().unwrap().2.usage().bytes <= 64 << 10);
        }
    }
}
