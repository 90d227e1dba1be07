//! Conditional requests (RFC 9110 §13): whether the client has the answer already.

use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::limits::{AnswerMemory, OutOfMemory};

/// Bytes of the hash that are shown: nobody finds two answers with the same.
const TAG_BYTES: usize = 16;

/// JSON with its name.
pub(crate) struct Tagged {
    json: Bytes,
    tag: String,
}

impl Tagged {
    /// `beside` is what else makes the answer, as its link to the next.
    pub(crate) fn new(value: &impl Serialize, beside: &[u8]) -> Result<Self, serde_json::Error> {
        let json = serde_json::to_vec(value)?;
        let tag = tag(&json, beside);
        Ok(Self { json: json.into(), tag })
    }

    /// The same, with the memory that it takes held until the client has it.
    pub(crate) fn held(self, memory: AnswerMemory) -> Result<Self, OutOfMemory> {
        Ok(Self { json: memory.hold(self.json)?, tag: self.tag })
    }
}

/// The JSON, or only that it is what the client has.
pub(crate) fn answer(headers: &HeaderMap, Tagged { json, tag }: Tagged) -> Response {
    if is_known(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response();
    }
    ([(ETAG, tag.as_str()), (CONTENT_TYPE, "application/json")], json).into_response()
}

/// A strong one: it stands for these very bytes.
fn tag(json: &[u8], beside: &[u8]) -> String {
    let hash = Sha256::new().chain_update(json.len().to_be_bytes()).chain_update(json).chain_update(beside).finalize();
    let hex: String = hash.iter().take(TAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Whether the client has the answer of this tag.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lists = headers.get_all(IF_NONE_MATCH).iter();
    lists.filter_map(|list| list.to_str().ok()).any(|list| has(list, tag))
}

/// Whether a list has the tag, weak or strong (§13.1.2). A tag may have commas in it. What is malformed ends the list.
fn has(list: &str, tag: &str) -> bool {
    let mut rest = list.trim_matches([' ', '\t', ',']);
    if rest == "*" {
        return true;
    }
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let quoted = rest.strip_prefix("W/").unwrap_or(rest);
        let Some(end) = quoted.strip_prefix('"').and_then(|opaque| opaque.find('"')) else { return false };
        let (first, others) = quoted.split_at(end + 2);
        if first == tag {
            return true;
        }
        rest = others;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_the_tag_however_it_says_it() {
        for list in [
            "\"a\"",
            "W/\"a\"",
            "*",
            " * ",
            "\"b\", \"a\"",
            "\"b\",W/\"a\"",
            "\"b,\" , \"\",\"a\"",
            ", \"a\",,",
            "\"a\"\t",
        ] {
            assert!(has(list, "\"a\""), "{list}");
        }
        for list in [
            "",
            "\"b\"",
            "a",
            "\"A\"",
            "\"b,\"a\"",
            "\"a",
            "w/\"a\"",
            "\"b\", *",
            "W/",
            "W/W/\"a\"",
            "\"\"",
            "\"b\" x \"a\"",
        ] {
            assert!(!has(list, "\"a\""), "{list}");
        }
    }

    #[test]
    fn another_answer_has_another_tag() {
        let tags = [tag(b"[]", b""), tag(b"[]", b"1"), tag(b"[1]", b""), tag(b"", b"[]")];
        for (at, one) in tags.iter().enumerate() {
            assert!(tags[..at].iter().all(|other| other != one) && one.len() == 2 * TAG_BYTES + 2);
        }
        assert_eq!(tag(b"[]", b"1"), tags[1]);
    }

    #[test]
    fn who_has_the_answer_is_only_told_so() {
        let object = || Tagged::new(&serde_json::json!({}), b"").unwrap();
        let mut headers = HeaderMap::new();
        let first = answer(&headers, object());
        assert_eq!((first.status(), first.headers().contains_key(CONTENT_TYPE)), (StatusCode::OK, true));
        headers.append(IF_NONE_MATCH, "\"x\"".parse().unwrap());
        assert_eq!(answer(&headers, object()).status(), StatusCode::OK);
        headers.append(IF_NONE_MATCH, first.headers()[ETAG].clone());
        let again = answer(&headers, object());
        assert_eq!((again.status(), &again.headers()[ETAG]), (StatusCode::NOT_MODIFIED, &first.headers()[ETAG]));
        assert_eq!(answer(&headers, Tagged::new(&[0; 0], b"").unwrap()).status(), StatusCode::OK);
    }
}
