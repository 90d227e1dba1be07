//! Files that are part of the program: kept by clients, and asked for again only where they have changed.

use std::io::Read as _;

use axum::body::Bytes;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use flate2::read::GzDecoder;
use sha2::{Digest as _, Sha256};

use crate::error::Error;
use crate::store::Failure;
use crate::{etag, negotiate};

/// Bytes of the hash that name a state of a file.
const ETAG_BYTES: usize = 12;
/// A client may keep it, and asks every time whether it is still so: after an update no old part goes with a new one.
const CACHING: &str = "no-cache";

/// One of them.
pub(crate) struct Asset {
    media_type: &'static str,
    body: Bytes,
    hash: String,
    is_gzip: bool,
}

impl Asset {
    pub(crate) fn new(media_type: &'static str, body: Bytes) -> Self {
        let hash = Sha256::digest(&body).iter().take(ETAG_BYTES).map(|byte| format!("{byte:02x}")).collect();
        Self { media_type, body, hash, is_gzip: false }
    }

    /// A file that is in the program as gzip made it.
    pub(crate) fn gzip(media_type: &'static str, packed: &'static [u8]) -> Self {
        Self { is_gzip: true, ..Self::new(media_type, Bytes::from_static(packed)) }
    }

    /// The file, or that it is still what the client has.
    pub(crate) async fn answer(&self, headers: &HeaderMap) -> Response {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let as_gzip = self.is_gzip && text(ACCEPT_ENCODING).is_some_and(takes_gzip);
        let etag = if as_gzip { format!("\"{}-gzip\"", self.hash) } else { format!("\"{}\"", self.hash) };
        let keep = [(ETAG, etag.as_str()), (CACHE_CONTROL, CACHING), (VARY, "accept-encoding")];
        if etag::is_known(headers, &etag) {
            return (StatusCode::NOT_MODIFIED, keep).into_response();
        }
        let kind = [(CONTENT_TYPE, self.media_type)];
        match (as_gzip, self.is_gzip) {
            (true, _) => (keep, kind, [(CONTENT_ENCODING, "gzip")], self.body.clone()).into_response(),
            (false, false) => (keep, kind, self.body.clone()).into_response(),
            (false, true) => {
                let packed = self.body.clone();
                match tokio::task::spawn_blocking(move || unpack(&packed)).await {
                    Ok(Ok(body)) => (keep, kind, body).into_response(),
                    _ => Error::from(Failure::Unexpected).into_response(),
                }
            }
        }
    }
}

fn unpack(packed: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut body)?;
    Ok(body)
}

/// Whether the header `accept-encoding` takes gzip (RFC 9110 §12.5.3).
fn takes_gzip(header: &str) -> bool {
    let weight = |wanted: &str| {
        header.split(',').find_map(|coding| {
            let mut parts = coding.split(';');
            parts.next().is_some_and(|name| name.trim().eq_ignore_ascii_case(wanted)).then(|| negotiate::weight(parts))
        })
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_take_it() {
        for header in ["gzip", "GZIP, br", "br;q=1, gzip;q=0.5", "*", "identity;q=0, *"] {
            assert!(takes_gzip(header), "{header}");
        }
        for header in ["", "br", "gzip;q=0", "identity", "gzip;q=0, *", "gzip;q=x", "xgzip"] {
            assert!(!takes_gzip(header), "{header}");
        }
    }
}
