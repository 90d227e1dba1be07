//! What a request needs, and what a token allows.

use std::fmt;
use std::str::FromStr;

use axum::http::Method;

/// What is open to all: whether it works, the page that asks for a token, and what the routes are. No reading is in
/// these, and none of them changes anything.
const OPEN: [&str; 6] = ["/", "/healthz", "/readyz", "/docs", "/openapi.json", "/favicon.ico"];
/// Files of the page and of the documentation.
const OPEN_BELOW: [&str; 2] = ["/assets/", "/docs/"];
/// These are asked by machines that decide whether we live: no limit may refuse them.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];
/// The ledger of one producer.
const PRODUCER: &str = "/produtores/";

/// What a token allows; at least one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// No token.
    Nothing,
    Read,
    Write,
    /// A token with any scope.
    Either,
}

impl Needs {
    /// By method and raw path alone, before anything is looked up: the answer is the same whether the path exists.
    /// Routes are matched by the raw path too, so `/docs/../metrics` is never `/metrics`.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        if !method.is_safe() {
            return Self::Write;
        }
        if OPEN.contains(&path) || OPEN_BELOW.iter().any(|prefix| path.starts_with(prefix)) {
            return Self::Nothing;
        }
        // A producer asks what became of its own messages: a subscriber needs no more than `write`. It names its ledger
        // by a UUID that nobody guesses.
        if path.strip_prefix(PRODUCER).is_some_and(|uuid| !uuid.is_empty()) {
            return Self::Either;
        }
        Self::Read
    }

    /// Its name in `WWW-Authenticate`.
    pub(crate) fn as_str(self) -> &'static str {
        if self == Self::Write { "write" } else { "read" }
    }
}

/// Whether a path is never limited.
pub(crate) fn is_health(path: &str) -> bool {
    HEALTH.contains(&path)
}

impl Scope {
    pub(crate) fn allows(self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing | Needs::Either => true,
            Needs::Read => self.read,
            Needs::Write => self.write,
        }
    }
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "read" => Ok(Self { read: true, write: false }),
            "write" => Ok(Self { read: false, write: true }),
            "read+write" | "write+read" => Ok(Self { read: true, write: true }),
            _ => Err("the scope is read, write or read+write"),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.read, self.write) {
            (true, true) => "read+write",
            (true, false) => "read",
            (false, _) => "write",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_tells_nothing_is_open() {
        for (method, path, needs) in [
            (Method::GET, "/", Needs::Nothing),
            (Method::HEAD, "/healthz", Needs::Nothing),
            (Method::GET, "/readyz", Needs::Nothing),
            (Method::GET, "/docs", Needs::Nothing),
            (Method::GET, "/docs/ui.js", Needs::Nothing),
            (Method::GET, "/assets/app.js", Needs::Nothing),
            (Method::GET, "/openapi.json", Needs::Nothing),
            (Method::POST, "/", Needs::Write),
            (Method::POST, "/healthz", Needs::Write),
            (Method::GET, "/metrics", Needs::Read),
            (Method::HEAD, "/dados", Needs::Read),
            (Method::OPTIONS, "/dados", Needs::Read),
            (Method::GET, "/dados/ao-vivo", Needs::Read),
            (Method::GET, "//", Needs::Read),
            (Method::GET, "//healthz", Needs::Read),
            (Method::GET, "/healthz/", Needs::Read),
            (Method::GET, "/HEALTHZ", Needs::Read),
            (Method::GET, "/%2fhealthz", Needs::Read),
            (Method::GET, "", Needs::Read),
            (Method::GET, "/no/such/path", Needs::Read),
            (Method::POST, "/dados", Needs::Write),
            (Method::DELETE, "/dados", Needs::Write),
            (Method::PUT, "/produtores/0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10", Needs::Write),
            (Method::GET, "/produtores/0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10", Needs::Either),
            (Method::GET, "/produtores", Needs::Read),
            (Method::GET, "/produtores/", Needs::Read),
        ] {
            assert_eq!(Needs::of(&method, path), needs, "{method} {path}");
        }
    }

    #[test]
    fn a_scope_allows_what_it_names() {
        for (scope, read, write) in [("read", true, false), ("write", false, true), ("read+write", true, true)] {
            let parsed: Scope = scope.parse().unwrap();
            assert_eq!((parsed.allows(Needs::Read), parsed.allows(Needs::Write)), (read, write), "{scope}");
            assert!(parsed.allows(Needs::Either) && parsed.allows(Needs::Nothing));
            assert_eq!(parsed.to_string(), scope);
        }
        for bad in ["", "READ", "admin", "read,write", "+"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }
}
