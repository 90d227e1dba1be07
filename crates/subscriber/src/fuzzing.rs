//! What the fuzzer (`fuzz/`) calls, and `cargo test` with the inputs that the fuzzer has found.

use crate::config::Topics;
use crate::spool;

/// The decoder of frames: never panics, and what it takes it would write the same.
pub fn frame(bytes: &[u8]) {
    spool::fuzz_frame(bytes);
}

/// The decoder of the cursor: never panics, and what it takes holds together.
pub fn cursor(bytes: &[u8]) {
    spool::fuzz_cursor(bytes);
}

/// `MQTT_TOPICS`: never panics; each filter that is taken is one by MQTT's rules, and stands in the text.
pub fn topics(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(topics) = text.parse::<Topics>() else { return };
    for subscription in topics.iter() {
        assert!(text.contains(&subscription.filter) && subscription.qos <= 2);
        let filter = subscription.filter.strip_prefix("$share/").map_or(&*subscription.filter, |shared| {
            let (group, filter) = shared.split_once('/').expect("a group has a filter");
            assert!(!group.is_empty() && !group.contains(['+', '#']));
            filter
        });
        assert!(!filter.is_empty() && filter.len() <= 65_535 && !filter.contains('\0'));
        let levels: Vec<_> = filter.split('/').collect();
        for (index, level) in levels.iter().enumerate() {
            assert!(!level.contains('+') || *level == "+");
            assert!(!level.contains('#') || (*level == "#" && index + 1 == levels.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    /// Runs all inputs of one target; there must be some.
    fn corpus(target: &str, run: fn(&[u8])) {
        let dir = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let files: Vec<_> = std::fs::read_dir(&dir).expect(&dir).map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 10, "{} inputs in {dir}", files.len());
        files.iter().for_each(|file| run(&std::fs::read(file).unwrap()));
    }

    #[test]
    fn the_corpus_of_frames() {
        corpus("spool_frame", super::frame);
    }

    #[test]
    fn the_corpus_of_cursors() {
        corpus("spool_cursor", super::cursor);
    }

    #[test]
    fn the_corpus_of_topics() {
        corpus("topic_filter", super::topics);
    }
}
