//! What a cut leaves of a write, and what is damaged later.

use super::*;

/// Damages one bit of the file's byte there.
fn flip(path: &Path, at: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at as usize] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_torn_tail_is_cut_wherever_it_was_torn() {
    for durability in [Durability::Write, Durability::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { durability, ..settings(dir.path()) };
        let (mut writer, reader, gauge, _) = open(settings.clone()).unwrap();
        append(&mut writer, &["kept"]);
        let kept = gauge.usage().bytes;
        let cursor = std::fs::read(dir.path().join("cursor")).unwrap();
        append(&mut writer, &["torn", "away"]);
        let end = gauge.usage().bytes;
        drop((writer, reader, gauge));
        let path = last_segment(dir.path());
        let whole = std::fs::read(&path).unwrap();
        for len in kept + 1..end {
            let mut torn = whole[..len as usize].to_vec();
            if durability == Durability::Fsync {
                torn.resize(whole.len(), 0);
            }
            std::fs::write(&path, &torn).unwrap();
            // It never came to the end of that append.
            std::fs::write(dir.path().join("cursor"), &cursor).unwrap();
            let (mut writer, mut reader, _, recovery) = open(settings.clone()).unwrap();
            assert_eq!((recovery.torn_bytes, recovery.missing), (written(&torn) - kept, 0));
            assert_eq!(append(&mut writer, &["next"]), 2);
            assert_eq!(texts(&mut reader), [(1, "kept".into()), (2, "next".into())], "torn at {len}");
        }
        assert!(!dir.path().join("corrupt").exists(), "nothing of it was durable");
    }
}

#[test]
fn damage_before_sound_frames_is_set_aside_and_the_rest_flows_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, gauge, _) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one"]);
    let path = last_segment(dir.path());
    let start = std::fs::metadata(&path).unwrap().len();
    append(&mut writer, &["two"]);
    append(&mut writer, &["three"]);
    drop((writer, reader, gauge));
    flip(&path, start + 40);

    let (mut writer, mut reader, _, recovery) = open(settings(dir.path())).unwrap();
    assert_eq!(recovery.torn_bytes, 0);
    assert_eq!(append(&mut writer, &["four"]), 4);
    assert_eq!(texts(&mut reader), [(1, "one".into()), (3, "three".into()), (4, "four".into())]);
    let aside: Vec<_> = std::fs::read_dir(dir.path().join("corrupt")).unwrap().collect();
    assert_eq!(aside.len(), 1, "the damaged frame is kept for a person to look at");
}

/// A payload is anybody's: what a torn frame holds of it is no frame of ours.
#[test]
fn a_torn_frame_whose_payload_looks_like_a_frame_is_cut_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, gauge, _) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["kept"]);
    let cursor = std::fs::read(dir.path().join("cursor")).unwrap();
    let mut forged = bytes::BytesMut::new();
    // What a stranger may know of frames.
    let codec = frame::Codec { magic: *b"PNT1" };
    codec.encode(1 << 62, 0, [Entry::Message(&message("forged"))].into_iter(), &mut forged);
    let carrier = Message { payload: forged.freeze(), ..message("") };
    writer.append([Entry::Message(&carrier), Entry::Message(&message("torn"))].into_iter()).unwrap();
    drop((writer, reader, gauge));
    let file = OpenOptions::new().write(true).open(last_segment(dir.path())).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    std::fs::write(dir.path().join("cursor"), &cursor).unwrap();
    let (mut writer, mut reader, ..) = open(settings(dir.path())).unwrap();
    assert_eq!(texts(&mut reader), [(1, "kept".into())]);
    assert_eq!(append(&mut writer, &["next"]), 2);
}

/// At the end of the spool it looks like a torn write, but it was durable, and acknowledged.
#[test]
fn damage_in_the_last_frame_is_set_aside_before_it_is_cut() {
    for durability in [Durability::Write, Durability::Fsync] {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { durability, ..settings(dir.path()) };
        let (mut writer, reader, gauge, _) = open(settings.clone()).unwrap();
        append(&mut writer, &["one"]);
        append(&mut writer, &["two"]);
        let end = gauge.usage().bytes;
        drop((writer, reader, gauge));
        flip(&last_segment(dir.path()), end - 1);
        let (mut writer, mut reader, gauge, recovery) = open(settings).unwrap();
        let aside = std::fs::read_dir(dir.path().join("corrupt")).map_or(0, Iterator::count);
        assert_eq!((aside, recovery.missing), (1, 1), "\"they are never silently cut\"");
        assert_eq!(texts(&mut reader), [(1, "one".into())]);
        reader.ack(1).unwrap();
        assert_eq!((gauge.usage().progress.damaged, gauge.usage().waiting), (1, 0));
        assert_eq!(append(&mut writer, &["three"]), 3, "no sequence is given twice");
        assert_eq!(texts(&mut reader), [(3, "three".into())]);
        reader.ack(3).unwrap();
        assert_eq!(gauge.usage().progress.damaged, 1);
    }
}

/// Whatever a flipped bit makes it look like: the length, too, is in the frame.
#[test]
fn damage_anywhere_in_the_last_frame_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, gauge, _) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one"]);
    let start = gauge.usage().bytes;
    append(&mut writer, &["two", "three"]);
    let end = gauge.usage().bytes;
    drop((writer, reader, gauge));
    let (path, cursor) = (last_segment(dir.path()), dir.path().join("cursor"));
    let (sound, known) = (std::fs::read(&path).unwrap(), std::fs::read(&cursor).unwrap());
    for at in start..end {
        std::fs::write(&path, &sound).unwrap();
        std::fs::write(&cursor, &known).unwrap();
        flip(&path, at);
        let (_writer, mut reader, gauge, recovery) = open(settings(dir.path())).unwrap();
        assert_eq!((recovery.missing, gauge.usage().next_sequence), (2, 4), "byte {at}");
        assert_eq!(texts(&mut reader).len(), 1);
        reader.ack(1).unwrap();
        assert_eq!((gauge.usage().progress.damaged, gauge.usage().waiting), (2, 0), "byte {at}");
    }
}

#[test]
fn damaged_messages_are_counted_once_the_cursor_has_passed_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader, gauge, _) = open(settings(dir.path())).unwrap();
    append(&mut writer, &["one"]);
    let path = last_segment(dir.path());
    let start = std::fs::metadata(&path).unwrap().len();
    append(&mut writer, &["two", "three"]);
    append(&mut writer, &["four"]);
    drop((writer, reader, gauge));
    flip(&path, start + 40);
    let (_writer, mut reader, gauge, _) = open(settings(dir.path())).unwrap();
    assert_eq!(texts(&mut reader), [(1, "one".into()), (4, "four".into())]);
    reader.ack(1).unwrap();
    assert_eq!(gauge.usage().progress.damaged, 0);
    reader.ack(4).unwrap();
    assert_eq!((gauge.usage().progress.damaged, gauge.usage().waiting), (2, 0));
}
