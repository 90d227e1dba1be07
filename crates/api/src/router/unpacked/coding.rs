//! Compressed request bodies: gzip and zstd (RFC 9110 §8.4, RFC 9659), all members and frames of them.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use futures_util::TryStreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use crate::dados::body::BodyError;
use crate::error::Error;

/// The base-2 logarithm of the largest zstd window: 8 MiB, which RFC 9659 §3 demands of senders. A decoder keeps a whole
/// window in memory.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Bytes that a decoder gives at once.
const CHUNK_BYTES: usize = 16 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Identity,
    Gzip,
    Zstd,
}

/// The request with its body decompressed as it is read. More than `wire_bytes_max` bytes as sent are an error.
///
/// A body may have several gzip members or zstd frames, and what they hold is one text (RFC 1952 §2.2, RFC 8878 §3.1).
/// Bytes that belong to none are an error, so that no part of a body is dropped in silence.
pub(super) fn decoded(request: Request, wire_bytes_max: usize) -> Result<Request, Error> {
    let coding = coding(request.headers()).ok_or_else(Error::unknown_coding)?;
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(CONTENT_ENCODING);
    if coding == Coding::Identity {
        return Ok(Request::from_parts(parts, body));
    }
    if body.size_hint().lower() > wire_bytes_max as u64 {
        return Err(BodyError::TooLarge { bytes_max: wire_bytes_max }.into());
    }
    // It is that of the compressed body.
    parts.headers.remove(CONTENT_LENGTH);
    let wire = Limited::new(body, wire_bytes_max).into_data_stream().map_err(io::Error::other);
    let wire = StreamReader::new(wire);
    let body = if coding == Coding::Gzip {
        let mut decoder = GzipDecoder::new(wire);
        decoder.multiple_members(true);
        body_of(decoder)
    } else {
        let mut decoder = ZstdDecoder::with_params(wire, &[DParameter::window_log_max(ZSTD_WINDOW_LOG_MAX)]);
        decoder.multiple_members(true);
        body_of(decoder)
    };
    Ok(Request::from_parts(parts, body))
}

fn body_of(decoder: impl AsyncRead + Send + 'static) -> Body {
    Body::from_stream(ReaderStream::with_capacity(decoder, CHUNK_BYTES))
}

/// What the headers say; none where that is another coding, or several of them.
fn coding(headers: &HeaderMap) -> Option<Coding> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let name = values.next()?.to_str().ok()?.trim();
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let coding = if is("gzip") || is("x-gzip") {
        Coding::Gzip
    } else if is("zstd") {
        Coding::Zstd
    } else if is("identity") {
        Coding::Identity
    } else {
        return None;
    };
    values.next().is_none().then_some(coding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_known_coding_is_taken() {
        let read = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CONTENT_ENCODING, value.parse().unwrap());
            }
            coding(&headers)
        };
        assert_eq!(read(&["gzip"]), Some(Coding::Gzip));
        assert_eq!(read(&["X-GZIP"]), Some(Coding::Gzip));
        assert_eq!(read(&["Zstd"]), Some(Coding::Zstd));
        assert_eq!(read(&["identity"]), Some(Coding::Identity));
        for values in [&["br"][..], &[""], &["gzip, gzip"], &["gzip", "zstd"], &["identity", "gzip"]] {
            assert_eq!(read(values), None, "{values:?}");
        }
    }
}
