//! What the fuzzer (`fuzz/`) calls, and `cargo test` with the inputs that the fuzzer has found.

use dados::Timestamp;
use serde_json::value::RawValue;

use crate::dados::body::Form;
use crate::dados::parse::{ROWS_MAX, parse};

/// The parsers of bodies: the first byte picks the form. They never panic; a fault lies within the body; what is taken
/// as JSON is JSON to serde_json too, and an array and the same rows as lines give the same.
pub fn body(bytes: &[u8]) {
    let Some((form, body)) = bytes.split_first() else { return };
    let form = match form % 3 {
        0 => Form::Json,
        1 => Form::Ndjson,
        _ => Form::Urlencoded,
    };
    let now = Timestamp::from_ms(1_700_000_000_000).expect("a moment of 2023");
    let Ok(parsed) = parse(form, body, now) else { return };
    assert!((1..=ROWS_MAX).contains(&parsed.rows.len()));
    assert!(!parsed.is_single || parsed.rows.len() == 1);
    if form != Form::Json || parsed.is_single {
        return;
    }
    // Raw, since a number that no program can hold is JSON too.
    let items: Vec<&RawValue> = serde_json::from_slice(body).expect("what is taken is JSON");
    assert_eq!(items.len(), parsed.rows.len());
    let lines: String = items.iter().map(|item| item.get().replace(['\n', '\r'], " ") + "\n").collect();
    let again = parse(Form::Ndjson, lines.as_bytes(), now).expect("the same rows as lines").rows;
    for (one, other) in parsed.rows.iter().zip(again) {
        assert_eq!((&one.topico, &one.timestamp, one.qos), (&other.topico, &other.timestamp, other.qos));
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_of_bodies() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/post_body");
        let files: Vec<_> = std::fs::read_dir(dir).expect(dir).map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 10, "{} inputs in {dir}", files.len());
        files.iter().for_each(|file| super::body(&std::fs::read(file).unwrap()));
    }
}
