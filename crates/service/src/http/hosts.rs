//! For servers that need no token: no page of another site, by its own origin or by a name that it pointed at us.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, Uri};

/// What a browser says of where a request comes from (W3C Fetch Metadata §2.3).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Names that no public site can have: RFC 6761, RFC 6762 and RFC 8375, and what ICANN keeps for private networks. Kubernetes'
/// services and Docker Desktop's host are among them.
const PRIVATE_ENDINGS: [&str; 4] = [".localhost", ".local", ".internal", ".home.arpa"];

/// Which names of ours a request may have asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Only this machine's own.
    Loopback,
    /// Those of a private network too: addresses and names without a dot, which no public site has.
    Private,
}

impl Hosts {
    /// Those of a server that listens there and lets everybody in.
    pub fn at(addr: SocketAddr) -> Self {
        if addr.ip().to_canonical().is_loopback() { Self::Loopback } else { Self::Private }
    }
}

/// Why a request is refused, for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error(
        "this server answers to localhost and to addresses only: another name may be another site's (DNS rebinding)"
    )]
    /// `Host` is not a name of ours.
    Host,
    #[error("a page of another site may not write here")]
    /// By `Origin`.
    Origin,
    #[error("a page of another site may not write here")]
    /// By `Sec-Fetch-Site`.
    FetchSite,
}

impl Denied {
    /// The header that says so.
    pub fn header(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::FetchSite => "sec-fetch-site",
        }
    }
}

/// Whether a request is one that a page of another site cannot send, or one of a site that is let in.
///
/// Where tokens are needed none of this is asked: a page of another site has no token unless its user gave it one, a
/// browser adds none by itself as it does with cookies, and no page may send `Authorization` to another site unless
/// CORS lets it. A name that was pointed at us (DNS rebinding) is another origin, with nothing in its storage.
pub fn decide(hosts: Hosts, method: &Method, uri: &Uri, headers: &HeaderMap, is_let_in: bool) -> Result<(), Denied> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // A request with an absolute URI counts as sent to that (RFC 9112 §3.2.2). No browser leaves both out.
    let host = uri.authority().map(|authority| authority.as_str()).or_else(|| text(&HOST));
    if host.is_some_and(|host| !is_ours(hosts, host)) {
        return Err(Denied::Host);
    }
    if method.is_safe() || is_let_in {
        return Ok(());
    }
    if matches!(text(&SEC_FETCH_SITE), Some("cross-site" | "same-site")) {
        return Err(Denied::FetchSite);
    }
    match text(&ORIGIN) {
        Some(origin) if !is_same(origin, host.unwrap_or_default()) => Err(Denied::Origin),
        _ => Ok(()),
    }
}

/// Whether a `Host` names us and cannot name anyone else.
fn is_ours(hosts: Hosts, host: &str) -> bool {
    let name = without_port(host);
    let literal = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = literal.parse::<IpAddr>() {
        return hosts == Hosts::Private || ip.to_canonical().is_loopback();
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    name.eq_ignore_ascii_case("localhost")
        || hosts == Hosts::Private
            && (!name.is_empty() && !name.contains('.') || PRIVATE_ENDINGS.iter().any(|ending| lower.ends_with(ending)))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if port.bytes().all(|byte| byte.is_ascii_digit()) && (!name.contains(':') || name.ends_with(']')) =>
        {
            name
        }
        _ => host,
    }
}

/// Whether an `Origin` is this `Host`'s own; `null`, the origin of sandboxed pages, is nobody's.
fn is_same(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |text: &str| text.strip_suffix(default_port).unwrap_or(text).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_nobody_elses_are_ours() {
        for (host, loopback, private) in [
            ("localhost", true, true),
            ("LocalHost:8080", true, true),
            ("localhost.", true, true),
            ("127.0.0.1:8080", true, true),
            ("[::1]:8080", true, true),
            ("[::1]", true, true),
            ("192.168.0.7:8080", false, true),
            ("[fe80::1]:80", false, true),
            ("api:8080", false, true),
            ("host.docker.internal:8080", false, true),
            ("subscriber.ponte.svc.cluster.Local:8081", false, true),
            ("plant.home.arpa", false, true),
            ("internal.example", false, false),
            ("evilinternal", false, true),
            ("x.evilinternal", false, false),
            ("evil.example", false, false),
            ("evil.example:8080", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("localhost.evil.example", false, false),
            ("", false, false),
            (":80", false, false),
        ] {
            assert_eq!(is_ours(Hosts::Loopback, host), loopback, "{host} on loopback");
            assert_eq!(is_ours(Hosts::Private, host), private, "{host} on a private network");
        }
    }

    fn decided(method: &Method, headers: &[(&'static str, &str)]) -> Result<(), Denied> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let is_let_in = map.get(ORIGIN).is_some_and(|origin| origin == "https://ours.example");
        decide(Hosts::Loopback, method, &Uri::from_static("/dados"), &map, is_let_in)
    }

    #[test]
    fn a_page_of_another_site_writes_nothing() {
        let host = ("host", "localhost:8080");
        let post = |header| decided(&Method::POST, &[host, header]);
        for own in [
            ("origin", "http://localhost:8080"),
            ("origin", "http://LOCALHOST:8080"),
            ("origin", "https://ours.example"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
            ("user-agent", "curl"),
        ] {
            assert_eq!(post(own), Ok(()), "{own:?}");
        }
        for origin in
            ["null", "http://evil.example", "http://localhost:8081", "http://localhost", "file://localhost:8080"]
        {
            assert_eq!(post(("origin", origin)), Err(Denied::Origin), "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(post(("sec-fetch-site", site)), Err(Denied::FetchSite));
        }
        assert_eq!(decided(&Method::GET, &[host, ("origin", "http://evil.example")]), Ok(()));
        assert_eq!(decided(&Method::POST, &[("host", "localhost"), ("origin", "http://localhost:80")]), Ok(()));
        assert_eq!(decided(&Method::GET, &[("host", "evil.example")]), Err(Denied::Host));
        assert_eq!(decided(&Method::GET, &[]), Ok(()));
    }
}
