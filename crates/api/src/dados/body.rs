//! From a request to the bytes of its body: which form it has, how large it may be, how long it may take.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError};
use tokio::time::timeout;

use crate::limits::Reservation;

/// How long a whole body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What is allocated on a client's word alone.
const TRUSTED_BYTES: usize = 64 << 10;

/// The forms that `POST /dados` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// An object or an array of them.
    Json,
    /// An object a line.
    Ndjson,
    /// What `curl -d valor=23.5` sends.
    Urlencoded,
}

/// Why there is no body to parse; the texts are meant for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("expected application/json, application/x-ndjson or application/x-www-form-urlencoded")]
    MediaType,
    #[error("expected application/json")]
    NotJson,
    #[error("expected charset utf-8 or none")]
    Charset,
    #[error("the body looks like JSON but is sent as a form; send -H 'content-type: application/json'")]
    LooksLikeJson,
    #[error("the body is larger than API_BODY_BYTES_MAX, {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    #[error("the body did not arrive within {} seconds", BODY_TIMEOUT.as_secs())]
    Timeout,
    #[error("too many bytes wait to be stored")]
    OutOfMemory,
    #[error("the body ended early, or its compression is damaged")]
    Broken,
}

/// Reads the media type: parameters other than `charset` do not matter.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, BodyError> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).ok_or(BodyError::MediaType)?;
    let mut parts = value.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let is = |form: &str| name.eq_ignore_ascii_case(form);
    let form = if is("application/json") || is_json_of_some_kind(name) {
        Form::Json
    } else if is("application/x-ndjson") {
        Form::Ndjson
    } else if is("application/x-www-form-urlencoded") {
        Form::Urlencoded
    } else {
        return Err(BodyError::MediaType);
    };
    let is_utf8 = |charset: &str| ["utf-8", "utf8"].iter().any(|name| charset.eq_ignore_ascii_case(name));
    let mut parameters = parts.filter_map(|part| part.split_once('='));
    if parameters.any(|(name, value)| name.eq_ignore_ascii_case("charset") && !is_utf8(value.trim_matches('"'))) {
        return Err(BodyError::Charset);
    }
    Ok(form)
}

/// RFC 6839 §3.1.
fn is_json_of_some_kind(name: &str) -> bool {
    let name = name.as_bytes();
    let starts = name.get(..12).is_some_and(|start| start.eq_ignore_ascii_case(b"application/"));
    starts && name[12..].last_chunk().is_some_and(|end: &[u8; 5]| end.eq_ignore_ascii_case(b"+json"))
}

/// Reads the whole body, decompressed by now. What it takes is reserved as it arrives, so that a slow or dishonest
/// client holds only what it has sent.
pub(crate) async fn collect(body: Body, held: &mut Reservation, bytes_max: usize) -> Result<Bytes, BodyError> {
    let mut reading = pin!(read(body, held, bytes_max));
    // A small body came with its head. Then no clock is needed, whose size each request's memory would have otherwise.
    if let Some(whole) = reading.as_mut().now_or_never() {
        return whole;
    }
    Box::pin(timeout(BODY_TIMEOUT, reading)).await.unwrap_or(Err(BodyError::Timeout))
}

async fn read(mut body: Body, held: &mut Reservation, bytes_max: usize) -> Result<Bytes, BodyError> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(BodyError::TooLarge { bytes_max });
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error, bytes_max))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bytes_max - whole.len() {
            return Err(BodyError::TooLarge { bytes_max });
        }
        held.grow(data.len()).map_err(|_| BodyError::OutOfMemory)?;
        if whole.is_empty() {
            // A small one comes in one piece, and is taken as it is.
            if body.is_end_stream() {
                return Ok(data);
            }
            whole.reserve(announced.min(TRUSTED_BYTES).max(data.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// The limit on the bytes as sent shows through the decoder's error.
fn broken(error: &axum::Error, bytes_max: usize) -> BodyError {
    if is_too_long(error) { BodyError::TooLarge { bytes_max } } else { BodyError::Broken }
}

fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    // The source of an `io::Error` is that of the error within, not that error itself.
    let within = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<LengthLimitError>()
        || within.is_some_and(|error| is_too_long(error))
        || error.source().is_some_and(is_too_long)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_picks_the_form() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            form(&headers)
        };
        for (value, expected) in [
            ("application/json", Ok(Form::Json)),
            ("Application/JSON; Charset=UTF-8", Ok(Form::Json)),
            ("application/senml+json", Ok(Form::Json)),
            ("application/json; charset=\"utf-8\"; v=1", Ok(Form::Json)),
            ("application/x-ndjson", Ok(Form::Ndjson)),
            ("application/x-www-form-urlencoded", Ok(Form::Urlencoded)),
            ("application/json; charset=latin1", Err(BodyError::Charset)),
            ("text/plain", Err(BodyError::MediaType)),
            ("text/x+json", Err(BodyError::MediaType)),
            ("", Err(BodyError::MediaType)),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
        assert_eq!(form(&HeaderMap::new()), Err(BodyError::MediaType));
    }
}
