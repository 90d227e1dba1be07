//! One request to the API, and what its answer means.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use dados::problem::MEDIA_TYPE;
use dados::{Inseridos, Problem, Produtor, Relato};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Certificate, Response, StatusCode};
use secrecy::ExposeSecret;
use service::{Exit, Fatal, causes, shown};
use url::Url;
use uuid::Uuid;

use crate::config::Api;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A request with its answer; the API commits a full batch in far less.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// Shorter than the API keeps an idle connection, so that a request never meets one that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest file of certificates: that of all public authorities has a quarter of it.
const CA_FILE_BYTES_MAX: u64 = 1 << 20;
/// The most of an answer that is read: a confirmation or a problem is far shorter.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The API's client.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    dados: Url,
}

/// Why the API will not take what it was sent, however often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 413 or 422.
    pub status: u16,
    /// What it says.
    pub reason: String,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every row is stored, now or before.
    Taken {
        /// So many of the first rows were stored before.
        duplicates: u64,
    },
    /// The content is at fault.
    Refused(Refusal),
    /// Nothing is stored: the API must first be told what became of the messages before.
    Unreported {
        /// For the operator.
        fault: String,
    },
    /// The network, the API or a setting is at fault: the same request may succeed later.
    Again {
        /// For the operator.
        fault: String,
        /// What Retry-After asks for.
        after: Option<Duration>,
        /// The API may have stored it all the same: its answer is what was lost.
        doubtful: bool,
    },
}

impl Outcome {
    /// As metrics label it.
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "taken",
            Self::Refused(_) => "refused",
            Self::Unreported { .. } | Self::Again { .. } => "failed",
        }
    }
}

impl Client {
    /// A client with its connection pool; no traffic yet.
    pub fn new(api: &Api) -> Result<Self, Fatal> {
        let dados = api.url.join("dados").map_err(|error| Fatal::setting("API_URL", error))?;
        Ok(Self { http: http(api)?, base: api.url.clone(), dados })
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Where `/dados` is.
    pub(super) fn dados(&self) -> &Url {
        &self.dados
    }

    /// Posts `rows` lines of NDJSON as this producer's rows from `first_sequence` on.
    pub(super) async fn post(&self, producer: Uuid, first_sequence: u64, rows: usize, body: Bytes) -> Outcome {
        let request = self
            .http
            .post(self.dados.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header(PRODUCER, producer.to_string())
            .header(FIRST_SEQUENCE, first_sequence)
            .body(body);
        self.send(request, rows as u64).await
    }

    /// Posts one line of NDJSON under a key that makes its repetition harmless.
    pub async fn post_once(&self, key: &str, body: Bytes) -> Outcome {
        let request = self
            .http
            .post(self.dados.clone())
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header("idempotency-key", key)
            .body(body);
        self.send(request, 1).await
    }

    /// The API's ledger of a producer, if it knows it; else the fault.
    pub(super) async fn ledger(&self, producer: Uuid) -> Result<Option<Produtor>, String> {
        let response = self.http.get(self.of_producer(producer)).send().await.map_err(|error| causes(&error))?;
        match response.status() {
            StatusCode::NOT_FOUND if is_ours(&response) => Ok(None),
            _ => ledger(response, producer).await.map(Some),
        }
    }

    /// Tells the API what a producer knows of itself, and gives its ledger; else the fault.
    pub(super) async fn report(&self, producer: Uuid, relato: &Relato) -> Result<Produtor, String> {
        let put = async |relato: &Relato| self.http.put(self.of_producer(producer)).json(relato).send().await;
        let mut answer = put(relato).await;
        // An API from before there was `estado` refuses what it does not know.
        if relato.estado.is_some() && answer.as_ref().is_ok_and(|it| it.status() == StatusCode::UNPROCESSABLE_ENTITY) {
            answer = put(&Relato { estado: None, ..relato.clone() }).await;
        }
        ledger(answer.map_err(|error| causes(&error))?, producer).await
    }

    fn of_producer(&self, producer: Uuid) -> Url {
        self.base.join(&format!("produtores/{producer}")).expect("a UUID is a path's segment")
    }

    async fn send(&self, request: reqwest::RequestBuilder, rows: u64) -> Outcome {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => {
                return Outcome::Again { fault: causes(&error), after: None, doubtful: !error.is_connect() };
            }
        };
        let status = response.status();
        if status.is_success() {
            return confirmed(response, rows).await;
        }
        let after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let ours = is_ours(&response);
        let hint = token_hint(&response);
        let (reason, field) = problem(response).await;
        if concerns_content(status, ours) {
            return Outcome::Refused(Refusal { status: status.as_u16(), reason });
        }
        if ours && status == StatusCode::CONFLICT && field.as_deref() == Some(FIRST_SEQUENCE) {
            return Outcome::Unreported { fault: format!("the API answers {status}: {reason}") };
        }
        // The API itself says so only of what it has not stored; a gateway before it may speak for an API that is slow.
        Outcome::Again { fault: format!("the API answers {status}: {reason}{hint}"), after, doubtful: !ours }
    }
}

fn authorities(path: &Path) -> Result<Vec<Certificate>, Fatal> {
    let bad = |problem: &dyn std::fmt::Display| {
        Fatal::setting("API_CA_FILE", format_args!("{}: {problem}; expected certificates in PEM", path.display()))
    };
    let text = service::file::read(path, CA_FILE_BYTES_MAX).map_err(|error| bad(&error))?;
    match Certificate::from_pem_bundle(&text) {
        Ok(found) if found.is_empty() => Err(bad(&"no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(&causes(&error))),
    }
}

/// Which setting to look at, where the API says that it is about the token.
pub(super) fn token_hint(response: &Response) -> &'static str {
    if response.headers().contains_key(WWW_AUTHENTICATE) {
        "; look at API_TOKEN, which needs the scope write"
    } else {
        ""
    }
}

/// A connection pool that sends the token, if there is one; no traffic yet.
pub(crate) fn http(api: &Api) -> Result<reqwest::Client, Fatal> {
    let mut headers = HeaderMap::new();
    if let Some(token) = &api.token {
        let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| Fatal::setting("API_TOKEN", "expected visible ASCII characters"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    let mut builder = reqwest::Client::builder();
    if let Some(path) = &api.ca_file {
        builder = builder.tls_certs_only(authorities(path)?);
    }
    builder
        .default_headers(headers)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("ponte-subscriber/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| Fatal::new(Exit::Software, format_args!("the HTTP client: {error}")))
}

/// Whether an error has the API's own form.
fn is_ours(response: &Response) -> bool {
    response.headers().get(CONTENT_TYPE).is_some_and(|value| value == MEDIA_TYPE)
}

async fn ledger(response: Response, producer: Uuid) -> Result<Produtor, String> {
    let status = response.status();
    if !status.is_success() {
        let hint = token_hint(&response);
        return Err(format!("the API answers {status}: {}{hint}", problem(response).await.0));
    }
    match serde_json::from_str::<Produtor>(&body(response).await) {
        Ok(ledger) if ledger.produtor == producer => Ok(ledger),
        _ => Err(format!("{status} without the producer's ledger: is another server behind API_URL?")),
    }
}

/// Whether an answer says that the content is at fault. A 400 or 422 counts only in the API's own form: another server
/// behind a mistyped API_URL must not send everything into quarantine.
fn concerns_content(status: StatusCode, ours: bool) -> bool {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => true,
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => ours,
        _ => false,
    }
}

/// A success counts only when it accounts for every row: a captive portal answers 200 to anything.
async fn confirmed(response: Response, rows: u64) -> Outcome {
    let status = response.status();
    let text = body(response).await;
    match serde_json::from_str::<Inseridos>(&text) {
        Ok(answer) if answer.inseridos.checked_add(answer.duplicados) == Some(rows) => {
            Outcome::Taken { duplicates: answer.duplicados }
        }
        Ok(Inseridos { inseridos, duplicados, .. }) => Outcome::Again {
            fault: format!("the API accounts for {inseridos} and {duplicados} of {rows} rows"),
            after: None,
            doubtful: true,
        },
        Err(_) => Outcome::Again {
            fault: format!("{status} without the API's confirmation: is another server behind API_URL?"),
            after: None,
            doubtful: true,
        },
    }
}

/// What the answer says is wrong, and with which field, from problem+json where it is that.
async fn problem(response: Response) -> (String, Option<String>) {
    let text = body(response).await;
    match serde_json::from_str::<Problem>(&text) {
        Ok(problem) => (shown(problem.detail.unwrap_or(problem.title)), problem.field),
        Err(_) => (shown(text.trim_end()), None),
    }
}

/// The answer's text; none where it has more bytes.
pub(super) async fn body_within(mut response: Response, bytes_max: usize) -> Result<Option<String>, String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| causes(&error))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > bytes_max {
            return Ok(None);
        }
    }
    String::from_utf8(bytes).map(Some).map_err(|_| "the API's answer is not UTF-8".to_owned())
}

async fn body(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_apis_own_word_sends_a_message_into_quarantine() {
        for (status, ours, expected) in [
            (400, true, true),
            (422, true, true),
            (413, true, true),
            (413, false, true),
            (400, false, false),
            (422, false, false),
            (401, true, false),
            (403, true, false),
            (404, true, false),
            (408, true, false),
            (409, true, false),
            (415, true, false),
            (429, true, false),
            (500, true, false),
            (503, true, false),
            (507, true, false),
            (302, false, false),
        ] {
            assert_eq!(concerns_content(StatusCode::from_u16(status).unwrap(), ours), expected, "{status} {ours}");
        }
    }
}
