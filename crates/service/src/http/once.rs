//! Headers that a request has once at most: with two of them, programs on its way would each read another one.

use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName};

static ONCE: [HeaderName; 9] = [
    HOST,
    AUTHORIZATION,
    CONTENT_TYPE,
    CONTENT_ENCODING,
    ORIGIN,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("x-request-id"),
];
/// All of ours.
const OURS: &str = "ponte-";

/// The first header that is there more than once and must not be.
pub fn repeated(headers: &HeaderMap) -> Option<&HeaderName> {
    // Nearly every request has each of its headers once.
    if headers.len() == headers.keys_len() {
        return None;
    }
    let is_single = |name: &&HeaderName| ONCE.contains(name) || name.as_str().starts_with(OURS);
    headers.keys().filter(is_single).find(|name| headers.get_all(*name).iter().count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_come_once_is_found_where_it_comes_twice() {
        for (names, expected) in [
            (&["host", "accept", "accept"][..], None),
            (&["host", "x-forwarded-for", "x-forwarded-for"], None),
            (&["host", "Host"], Some("host")),
            (&["ponte-producer", "accept", "ponte-producer"], Some("ponte-producer")),
            (&["ponte-of-tomorrow", "ponte-of-tomorrow"], Some("ponte-of-tomorrow")),
            (&["authorization", "authorization"], Some("authorization")),
        ] {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(name.parse::<HeaderName>().unwrap(), "x".parse().unwrap());
            }
            assert_eq!(repeated(&headers).map(HeaderName::as_str), expected, "{names:?}");
        }
    }
}
