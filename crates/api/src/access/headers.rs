//! What every answer tells a browser: run nothing of this, frame it nowhere, hand it to no other site.

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_REFERRER: HeaderValue = HeaderValue::from_static("no-referrer");
const DENY: HeaderValue = HeaderValue::from_static("DENY");
const SAME_ORIGIN: HeaderValue = HeaderValue::from_static("same-origin");
/// For data; a page brings its own.
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// A day, and this name alone. HSTS holds for all ports of a name, so a longer time would shut out for long what else
/// this machine serves without TLS: Metabase on port 3000.
const TLS_ONLY: HeaderValue = HeaderValue::from_static("max-age=86400");

/// What an answer's headers depend on, beside what its handler said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) tls: bool,
    /// A token was needed: what it opened is for its holder alone.
    pub(crate) private: bool,
}

/// Adds them; what a handler said itself stays.
pub(crate) fn protect(headers: &mut HeaderMap, about: About) {
    headers.reserve(8);
    headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.insert(REFERRER_POLICY, NO_REFERRER);
    headers.insert(X_FRAME_OPTIONS, DENY);
    headers.insert(RESOURCE_POLICY, SAME_ORIGIN);
    headers.entry(CONTENT_SECURITY_POLICY).or_insert(NOTHING);
    if about.private {
        headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    }
    if about.tls {
        headers.insert(STRICT_TRANSPORT_SECURITY, TLS_ONLY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_said_stays() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        protect(&mut headers, About { tls: true, private: true });
        assert_eq!(headers[CONTENT_SECURITY_POLICY], "default-src 'self'");
        assert_eq!(headers[CACHE_CONTROL], "max-age=60");
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=86400");

        let mut headers = HeaderMap::new();
        protect(&mut headers, About { tls: false, private: false });
        assert_eq!(headers[CONTENT_SECURITY_POLICY], NOTHING);
        assert!(!headers.contains_key(CACHE_CONTROL) && !headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }
}
