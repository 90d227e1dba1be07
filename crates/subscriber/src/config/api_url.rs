//! `API_URL`: the base of the API's routes.

use url::Url;

/// The ends of addresses that people copy from a browser or from the README: routes of the API, not its base.
const ROUTES: &[&str] =
    &["dados", "topicos", "series", "produtores", "readyz", "healthz", "metrics", "docs", "openapi.json"];

/// What the address must look like; each suggests what was meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidApiUrl {
    /// Not one of the forms.
    #[error("expected http://host:port or https://host")]
    Form,
    /// It begins with the host.
    #[error("expected http:// or https:// before it; did you mean http://{0}?")]
    NoScheme(String),
    /// A route, to which the others would be added.
    #[error("expected the address without the route /{route}; did you mean {base}?")]
    Route {
        /// The last part of the path.
        route: String,
        /// What is left without it.
        base: Url,
    },
    /// Nothing could be added after it.
    #[error("expected no ? and no # in the address")]
    Query,
    /// Addresses are logged.
    #[error("expected no user or password in the address: set API_TOKEN")]
    Credentials,
}

/// The address with a final slash, so that routes can be joined to it. A path before the routes is a proxy's.
pub fn parse(text: &str) -> Result<Url, InvalidApiUrl> {
    let text = text.trim();
    if !text.contains("://") {
        let is_host = text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[');
        let meant = Url::parse(&format!("http://{text}")).is_ok_and(|url| url.host().is_some());
        let is_plain = is_host && !text.contains(['@', ' ']);
        return Err(if is_plain && meant { InvalidApiUrl::NoScheme(text.to_owned()) } else { InvalidApiUrl::Form });
    }
    let mut url = Url::parse(text).map_err(|_| InvalidApiUrl::Form)?;
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err(InvalidApiUrl::Form);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidApiUrl::Credentials);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidApiUrl::Query);
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let (before, last) = path.rsplit_once('/').unwrap_or(("", &path));
    if ROUTES.contains(&last) {
        let mut base = url.clone();
        base.set_path(before);
        return Err(InvalidApiUrl::Route { route: last.to_owned(), base });
    }
    url.set_path(&format!("{path}/"));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_ends_in_a_slash() {
        for (text, meant) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            (" https://api ", "https://api/"),
            ("http://host/ponte", "http://host/ponte/"),
            ("http://host/ponte//", "http://host/ponte/"),
            ("http://host/meus-dados", "http://host/meus-dados/"),
            ("http://[::1]:8080/", "http://[::1]:8080/"),
        ] {
            assert_eq!(parse(text).map(String::from), Ok(meant.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_says_what_was_meant() {
        for (text, words) in [
            ("here", "did you mean http://here?"),
            ("api:8080", "did you mean http://api:8080?"),
            ("127.0.0.1:8080", "did you mean http://127.0.0.1:8080?"),
            ("[::1]:8080", "did you mean http://[::1]:8080?"),
            ("localhost:8080/", "did you mean http://localhost:8080/?"),
            ("http://api:8080/dados", "did you mean http://api:8080/?"),
            ("http://api:8080/dados/", "without the route /dados"),
            ("https://host/ponte/dados", "did you mean https://host/ponte?"),
            ("http://host/readyz", "without the route /readyz"),
            ("http://host/?x=1", "no ? and no #"),
            ("http://host/#x", "no ? and no #"),
            ("http://u:secret@host", "set API_TOKEN"),
            ("", "expected http://host:port"),
            ("two words", "expected http://host:port"),
            ("/dados", "expected http://host:port"),
            ("ftp://host", "expected http://host:port"),
            ("http://", "expected http://host:port"),
            ("host:port", "expected http://host:port"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
