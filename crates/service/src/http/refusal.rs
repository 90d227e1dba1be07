//! Answers of this server itself, in the form of all others (RFC 9457): to heads that cannot be read, and where it is full.
//!
//! hyper answers such a head by a status and nothing else, before any code of ours sees the request. What it writes then is
//! recognised, and replaced.

use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

/// What the answer is.
const MEDIA_TYPE: &str = "application/problem+json";
/// Headers that hyper reads of a head at most.
const HEADERS_MAX: usize = 100;
/// When to come back to a full server.
const RETRY_AFTER_S: u16 = 5;

/// What was read of the head that is being refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) bytes: usize,
    pub(super) lines: usize,
}

/// The answer in place of `written`, if that is one of hyper's own to a head that it cannot read.
pub(super) fn replaced(written: &[u8], head: Head, head_bytes_max: usize) -> Option<Vec<u8>> {
    let text = str::from_utf8(written).ok()?;
    let status = text.strip_prefix("HTTP/1.1 ").or_else(|| text.strip_prefix("HTTP/1.0 "))?.get(..3)?;
    let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
    if !status.is_client_error() || !text.contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    let is_long = head.bytes >= head_bytes_max || head.lines > HEADERS_MAX;
    let (status, detail) = match status {
        // A length that no body can have is answered so too.
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE if !is_long => {
            (StatusCode::PAYLOAD_TOO_LARGE, "content-length: larger than any body may be".to_owned())
        }
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            (status, format!("a request's head has at most {head_bytes_max} bytes and {HEADERS_MAX} headers"))
        }
        StatusCode::URI_TOO_LONG => (status, "the path with its query is too long".to_owned()),
        _ => {
            let detail =
                "the request's head is malformed: its first line, a header, content-length or transfer-encoding";
            (status, detail.to_owned())
        }
    };
    let json = json(status, &detail);
    let head = format!(
        "HTTP/1.1 {} {}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\nconnection: close\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\n\r\n",
        status.as_str(),
        title(status),
        json.len()
    );
    Some([head, json].concat().into_bytes())
}

/// The answer on a connection that is for health probes alone, to anything else.
pub(super) fn full() -> Response {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let mut response =
        Response::new(Body::from(json(status, "too many connections, in all or of this address; try again later")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(RETRY_AFTER, RETRY_AFTER_S.into());
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn title(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}

/// Its texts have nothing that JSON escapes.
fn json(status: StatusCode, detail: &str) -> String {
    format!(r#"{{"type":"about:blank","title":"{}","status":{},"detail":"{detail}"}}"#, title(status), status.as_u16())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD_BYTES_MAX: usize = 1_000;

    fn status(written: &str, bytes: usize, lines: usize) -> Option<String> {
        let replaced = replaced(written.as_bytes(), Head { bytes, lines }, HEAD_BYTES_MAX)?;
        let text = String::from_utf8(replaced).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{text}");
        let status = head.lines().next().unwrap().to_owned();
        assert!(body.contains(&format!("\"status\":{}", &status[9..12])), "{text}");
        Some(status)
    }

    #[test]
    fn an_answer_without_a_body_gets_one() {
        let hyper =
            |status: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\ndate: x\r\n\r\n");
        let too_large = hyper("431 Request Header Fields Too Large");
        assert_eq!(status(&hyper("400 Bad Request"), 20, 2).as_deref(), Some("HTTP/1.1 400 Bad Request"));
        assert_eq!(status(&hyper("414 URI Too Long"), 20, 2).as_deref(), Some("HTTP/1.1 414 URI Too Long"));
        assert_eq!(status(&too_large, 20, 3).as_deref(), Some("HTTP/1.1 413 Payload Too Large"));
        for (bytes, lines) in [(HEAD_BYTES_MAX, 3), (20, HEADERS_MAX + 1)] {
            let expected = Some("HTTP/1.1 431 Request Header Fields Too Large");
            assert_eq!(status(&too_large, bytes, lines).as_deref(), expected);
        }
    }

    #[test]
    fn other_answers_stay() {
        for written in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 10\r\n\r\n{\"a\": 123}",
            "HTTP/1.1 4",
            "{\"content-length: 0\":1}",
            "",
        ] {
            assert_eq!(status(written, 0, 0), None, "{written}");
        }
    }
}
