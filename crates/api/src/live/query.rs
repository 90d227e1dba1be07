//! What the query string of `GET /dados/ao-vivo` may say, and the header that a reconnecting client sends.

use axum::http::HeaderMap;

use super::chunk::Topics;
use crate::error::Error;
use crate::query::{BadParameter, pairs};

/// The header by which an event source says how far it has come.
const LAST_EVENT_ID: &str = "last-event-id";
const EXPECTED_ID: &str = "expected the id of a row: an integer from 0";

/// What a reader wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) topics: Topics,
    /// All rows after this one; without it what is new.
    pub(super) after: Option<i64>,
}

/// Reads the query string.
pub(super) fn parse(query: &str) -> Result<Wanted, BadParameter> {
    let (mut topics, mut after) = (None, None);
    for pair in pairs(query) {
        let pair = pair?;
        match pair.name {
            "topico" => pair.keep(&mut topics, pair.topics()?.into())?,
            "apos" => pair.keep(&mut after, id(&pair.value).ok_or_else(|| pair.bad(EXPECTED_ID))?)?,
            _ => return Err(pair.bad("unknown parameter; there are topico and apos")),
        }
    }
    Ok(Wanted { topics: topics.unwrap_or(Topics::All), after })
}

/// How far the client has come, if it says so. An event source that has not heard of an id sends none.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<i64>, Error> {
    let mut values = headers.get_all(LAST_EVENT_ID).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if value.is_empty() => Ok(None),
        (Some(value), None) => match value.to_str().ok().and_then(id) {
            Some(id) => Ok(Some(id)),
            None => Err(Error::header(LAST_EVENT_ID, EXPECTED_ID)),
        },
        (Some(_), Some(_)) => Err(Error::header(LAST_EVENT_ID, "this header is given twice")),
    }
}

fn id(text: &str) -> Option<i64> {
    // A number may have a sign in Rust.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_all_that_is_new() {
        assert_eq!(parse("").unwrap(), Wanted { topics: Topics::All, after: None });
    }

    #[test]
    fn a_topic_is_a_name_or_a_filter() {
        for (query, topics, after) in [
            ("topico=casa/sala&apos=0", Topics::Exactly("casa/sala".into()), Some(0)),
            ("apos=9223372036854775807&topico=casa/+/x", Topics::Matching("casa/+/x".into()), Some(i64::MAX)),
            ("topico=%23", Topics::Matching("#".into()), None),
        ] {
            assert_eq!(parse(query).unwrap(), Wanted { topics, after }, "{query}");
        }
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (query, name) in [
            ("topico=", "topico"),
            ("topico=a%23", "topico"),
            ("topico=a&topico=a", "topico"),
            ("topico=$share/g/+", "topico"),
            ("topico=%00", "topico"),
            ("apos=", "apos"),
            ("apos=-1", "apos"),
            ("apos=+1", "apos"),
            ("apos=1.0", "apos"),
            ("apos=9223372036854775808", "apos"),
            ("apos=1&apos=1", "apos"),
            ("limite=1", "limite"),
        ] {
            assert_eq!(parse(query).unwrap_err().name, name, "{query}");
        }
    }

    #[test]
    fn the_header_is_an_id_or_nothing() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(LAST_EVENT_ID, value.parse().unwrap());
            }
            last_event_id(&headers)
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[""]).unwrap(), None);
        assert_eq!(read(&["42"]).unwrap(), Some(42));
        for bad in [&["x"][..], &["-1"], &["4 2"], &["99999999999999999999"], &["1", "1"]] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
