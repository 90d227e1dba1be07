//! Which other sites' pages may ask: none, unless the operator names them.

use std::fmt;
use std::str::FromStr;

use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;

/// Origins that can be named.
const ORIGINS_MAX: usize = 64;
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT");
/// What a page may send beyond what every page may.
const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "Authorization, Content-Type, Content-Encoding, Idempotency-Key, If-None-Match, Last-Event-ID, X-Request-Id",
);
/// What its script may read of an answer beyond what every script may.
const EXPOSED: HeaderValue = HeaderValue::from_static("ETag, Link, Location, Retry-After, X-Request-Id");
/// Seconds for which a browser need not ask again: a change of the setting is seen soon.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");
const ANY: HeaderValue = HeaderValue::from_static("*");
const VARIES: HeaderValue = HeaderValue::from_static("Origin");

/// Whose pages are let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// Nobody's but ours.
    #[default]
    Closed,
    /// Of these, as browsers write them.
    Of(Vec<String>),
    /// Everybody's: they need a token, which only its user can give them.
    Any,
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let origins: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        match origins[..] {
            [] => Ok(Self::Closed),
            ["*"] => Ok(Self::Any),
            _ if origins.len() > ORIGINS_MAX => Err(format!("expected at most {ORIGINS_MAX} origins")),
            _ => origins.into_iter().map(origin).collect::<Result<_, _>>().map(Self::Of),
        }
    }
}

/// An origin as browsers write it (RFC 6454 §6.2): lower case, no default port, no path.
fn origin(text: &str) -> Result<String, String> {
    let expected = || format!("{text:?}: expected an origin such as https://painel.example or http://10.0.0.5:3000");
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(expected)?;
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return Err(expected()),
    };
    let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let bare = authority.strip_suffix(default_port).unwrap_or(authority);
    if bare.is_empty() || !authority.bytes().all(is_sound) {
        return Err(expected());
    }
    Ok(format!("{scheme}://{bare}"))
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Ok(()),
            Self::Of(origins) => f.write_str(&origins.join(",")),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Origins {
    /// What `Access-Control-Allow-Origin` says to this one; none where it is not let in.
    pub(crate) fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        match self {
            Self::Closed => None,
            Self::Of(origins) => {
                origins.iter().any(|known| known.as_bytes() == origin.as_bytes()).then(|| origin.clone())
            }
            Self::Any => Some(ANY),
        }
    }

    /// The answer to a browser that asks whether it may ask; none to any other request, and to pages that may not.
    /// It comes before the token is looked at: browsers send none with this question.
    pub(crate) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        if *self == Self::Closed
            || method != Method::OPTIONS
            || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            || self.allowed(headers.get(ORIGIN)).is_none()
        {
            return None;
        }
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(answer)
    }

    /// Adds what lets the page read the answer, and what keeps a cache from giving it to another page.
    pub(crate) fn mark(&self, origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
        if *self == Self::Closed {
            return;
        }
        answer.append(VARY, VARIES);
        if let Some(allowed) = self.allowed(origin) {
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(text: &str) -> Origins {
        text.parse().unwrap()
    }

    #[test]
    fn origins_are_exact() {
        let two = origins("https://Painel.example:443, http://10.0.0.5:3000");
        assert_eq!(two.to_string(), "https://painel.example,http://10.0.0.5:3000");
        for (origin, allowed) in [
            ("https://painel.example", true),
            ("http://10.0.0.5:3000", true),
            ("http://painel.example", false),
            ("https://painel.example:8443", false),
            ("https://painel.example.evil.example", false),
            ("https://evil.example/https://painel.example", false),
            ("null", false),
            ("", false),
            ("*", false),
        ] {
            let value: HeaderValue = origin.parse().unwrap();
            assert_eq!(two.allowed(Some(&value)).is_some(), allowed, "{origin}");
            assert_eq!(origins("*").allowed(Some(&value)), Some(ANY));
            assert_eq!(Origins::Closed.allowed(Some(&value)), None);
        }
        for bad in ["painel.example", "null", "https://", "ftp://a", "https://a/", "https://a/b", "https://u@a", "*,*"]
        {
            assert!(bad.parse::<Origins>().is_err(), "{bad}");
        }
        assert_eq!(origins(""), Origins::Closed);
    }

    #[test]
    fn only_a_question_of_a_page_that_may_is_answered() {
        let ask = |method: Method, fields: &[(&'static str, &str)]| {
            let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            let headers: HeaderMap = fields.collect();
            origins("https://a.example").preflight(&method, &headers).map(|answer| answer.status().as_u16())
        };
        let (origin, wants) = (("origin", "https://a.example"), ("access-control-request-method", "POST"));
        assert_eq!(ask(Method::OPTIONS, &[origin, wants]), Some(204));
        assert_eq!(ask(Method::OPTIONS, &[origin]), None);
        assert_eq!(ask(Method::POST, &[origin, wants]), None);
        assert_eq!(ask(Method::OPTIONS, &[("origin", "https://b.example"), wants]), None);
        assert_eq!(ask(Method::OPTIONS, &[wants]), None);
    }
}
