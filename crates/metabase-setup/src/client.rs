//! One request to Metabase, and what its answer means.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service::{Exit, Fatal, causes};
use tracing::debug;
use url::Url;

use crate::config::Config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request with its answer: adding a database makes Metabase connect to it first, and a small machine is slow.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The most of an answer that is read: tables and fields of a large database are a few megabytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// What is repeated of the reason in an answer.
const REASON_CHARS_MAX: usize = 400;
const SESSION: HeaderName = HeaderName::from_static("x-metabase-session");

/// Metabase's client: nothing here is tried twice, since a repeated POST would make a second card.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    session: Option<HeaderValue>,
    /// What must never show up in a reason.
    secrets: Vec<SecretString>,
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The network or Metabase failed: later it may work.
    #[error("{0}")]
    Passing(String),
    /// Metabase says no.
    #[error("Metabase answers {status} to {request}: {reason}")]
    Refused {
        /// Method and path.
        request: String,
        /// 300 to 499, but for 429.
        status: u16,
        /// What it says, without secrets.
        reason: String,
    },
    /// It is not Metabase that answers, or one that we do not know.
    #[error("{request} is answered with something else than expected ({what}): is another server behind METABASE_URL?")]
    Foreign {
        /// Method and path.
        request: String,
        /// What could not be read.
        what: String,
    },
}

impl Fault {
    /// Whether Metabase answers that there is no such thing.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

impl Client {
    /// A client with its connection pool; no traffic yet.
    pub(crate) fn new(config: &Config) -> Result<Self, Fatal> {
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("metabase-setup/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Fatal::new(Exit::Software, format_args!("the HTTP client: {error}")))?;
        let secrets = [Some(&config.password), config.setup_token.as_ref()].into_iter().flatten().cloned().collect();
        Ok(Self { http, base: config.url.clone(), session: None, secrets })
    }

    /// From here on, this never shows up in a reason.
    pub(crate) fn conceal(&mut self, secret: SecretString) {
        self.secrets.push(secret);
    }

    /// From here on, requests are this session's.
    pub(crate) fn enter(&mut self, session: &str) -> Result<(), Fault> {
        let mut value = HeaderValue::try_from(session)
            .map_err(|error| Fault::Foreign { request: "POST api/session".to_owned(), what: error.to_string() })?;
        value.set_sensitive(true);
        self.session = Some(value);
        Ok(())
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.answer(Method::GET, path, None::<&()>).await
    }

    /// Makes something.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Fault> {
        self.answer(Method::POST, path, Some(body)).await
    }

    /// Makes something happen; the answer says nothing more.
    pub(crate) async fn trigger(&self, path: &str) -> Result<(), Fault> {
        self.call(Method::POST, path, None::<&()>).await.map(drop)
    }

    /// Changes something; the answer says nothing more.
    pub(crate) async fn put(&self, path: &str, body: &impl Serialize) -> Result<(), Fault> {
        self.call(Method::PUT, path, Some(body)).await.map(drop)
    }

    /// Ends the session, if there is one. What stays behind otherwise ends by itself, in two weeks.
    pub(crate) async fn leave(&mut self) {
        if self.session.is_some() {
            let _ = self.call(Method::DELETE, "api/session", None::<&()>).await;
            self.session = None;
        }
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Fault> {
        let request = format!("{method} {path}");
        let bytes = self.call(method, path, body).await?;
        serde_json::from_slice(&bytes).map_err(|error| Fault::Foreign { request, what: error.to_string() })
    }

    async fn call(&self, method: Method, path: &str, body: Option<&impl Serialize>) -> Result<Vec<u8>, Fault> {
        let name = format!("{method} {path}");
        let url = self.base.join(path).expect("a path of ours is a URL's");
        let mut request = self.http.request(method, url);
        if let Some(session) = &self.session {
            request = request.header(SESSION, session.clone());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let passing = |what: String| Fault::Passing(format!("{name}: {what}"));
        let response = request.send().await.map_err(|error| passing(causes(&error)))?;
        let status = response.status();
        debug!(request = name, status = status.as_u16(), "answered");
        let bytes = read(response).await.map_err(passing)?;
        if status.is_success() {
            return Ok(bytes);
        }
        let reason = self.without_secrets(reason(&bytes));
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(passing(format!("{status}: {reason}")));
        }
        Err(Fault::Refused { request: name, status: status.as_u16(), reason })
    }

    fn without_secrets(&self, text: String) -> String {
        self.secrets.iter().map(|secret| secret.expose_secret()).fold(text, |text, secret| text.replace(secret, "…"))
    }
}

async fn read(mut response: Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err(format!("the answer is larger than {ANSWER_BYTES_MAX} bytes"));
        }
    }
    Ok(bytes)
}

/// What an error's body says: Metabase has `message`, `errors` by field (nested), a JSON string, or plain text.
fn reason(body: &[u8]) -> String {
    let mut parts = Vec::new();
    match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(fields)) => {
            let said = ["message", "error", "errors", "specific-errors"].map(|name| (name, fields.get(name)));
            for (name, value) in said.into_iter().filter_map(|(name, value)| Some((name, value?))) {
                gather(value, if name.ends_with("rrors") { name } else { "" }, &mut parts);
            }
        }
        Ok(value) => gather(&value, "", &mut parts),
        Err(_) => parts.push(String::from_utf8_lossy(body).into_owned()),
    }
    let text: String = parts.join("; ").chars().take(REASON_CHARS_MAX).collect();
    text.replace(char::is_control, " ")
}

/// The texts in a value, each with the way that leads to it.
fn gather(value: &Value, path: &str, parts: &mut Vec<String>) {
    match value {
        Value::String(text) if path.is_empty() => parts.push(text.clone()),
        Value::String(text) => parts.push(format!("{path}: {text}")),
        Value::Array(items) => items.iter().for_each(|item| gather(item, path, parts)),
        Value::Object(fields) => {
            for (name, value) in fields {
                gather(value, &format!("{path}.{name}"), parts);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_found_in_every_form_that_metabase_has() {
        for (body, expected) in [
            (r#""Not found.""#, "Not found."),
            ("Unauthenticated", "Unauthenticated"),
            (r#"{"message":"no","cause":"x"}"#, "no"),
            (r#"{"errors":{"user":{"password":"too common"}}}"#, "errors.user.password: too common"),
            (r#"{"message":"Invalid","errors":{"db":["a","b"]}}"#, "Invalid; errors.db: a; errors.db: b"),
            ("{}", ""),
            ("two\nlines", "two lines"),
        ] {
            assert_eq!(reason(body.as_bytes()), expected, "{body}");
        }
        assert_eq!(reason(&[b'a'; 9999]).len(), REASON_CHARS_MAX);
    }
}
