//! What a client is told when something goes wrong: the only place that knows which error has which HTTP status.

use std::any::Any;

use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use dados::{Problem, problem};
use tracing::{error, warn};
use uuid::Uuid;

use crate::access::scope::Needs;
use crate::access::{Denied, Refused};
use crate::dados::body::BodyError;
use crate::dados::export::TooManyExports;
use crate::dados::fault::{Fault, Kind};
use crate::ingest::IngestError;
use crate::limits::OutOfMemory;
use crate::live::JoinError;
use crate::query::{BadParameter, BadQuery};
use crate::store::{Denial, Failure, StoreError};

/// When to come back: soon for what passes by itself, later for what needs a person.
const RETRY_SOON_S: u32 = 1;
const RETRY_LATER_S: u32 = 30;

/// The answer to a request that failed.
#[derive(Debug)]
pub(crate) struct Error {
    problem: Box<Problem>,
    retry_after_s: Option<u32>,
    /// What `WWW-Authenticate` says (RFC 6750 §3).
    challenge: Option<&'static str>,
}

/// An answer's problem until the request's id is known, which its body tells too.
#[derive(Clone)]
struct Unwritten(Box<Problem>);

impl Error {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or_default().to_owned();
        let problem = Problem { title, status: status.as_u16(), detail: Some(detail.into()), ..Problem::default() };
        Self { problem: Box::new(problem), retry_after_s: None, challenge: None }
    }

    fn retry(mut self, after_s: u32) -> Self {
        self.retry_after_s = Some(after_s);
        self
    }

    fn field(mut self, field: impl Into<String>) -> Self {
        self.problem.field = Some(field.into());
        self
    }

    /// What a client is told.
    pub(crate) fn problem(&self) -> &Problem {
        &self.problem
    }

    /// Whether the client is told when to come back.
    pub(crate) fn says_when(&self) -> bool {
        self.retry_after_s.is_some()
    }

    /// Whether the client is told what token is wanted.
    pub(crate) fn says_how(&self) -> bool {
        self.challenge.is_some()
    }

    /// A header that is malformed or does not go with the rest.
    pub(crate) fn header(name: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail).field(name)
    }

    /// The request's target is longer than any that we have.
    pub(crate) fn uri_too_long(bytes_max: usize) -> Self {
        Self::new(StatusCode::URI_TOO_LONG, format!("a path with its query has at most {bytes_max} bytes"))
    }

    /// There are more headers than any client of ours sends.
    pub(crate) fn too_many_headers(max: usize) -> Self {
        let detail = format!("a request has at most {max} headers");
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
    }

    /// No route has this path.
    pub(crate) fn nothing_here() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing at this path")
    }

    /// No row has this id.
    pub(crate) fn no_row(id: i64) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no row with the id {id}"))
    }

    /// The client wants a form that there is none of.
    pub(crate) fn not_acceptable() -> Self {
        let detail = "accept: expected application/json, text/csv or application/x-ndjson; formato=json, csv or ndjson does as well";
        Self::new(StatusCode::NOT_ACCEPTABLE, detail).field("accept")
    }

    /// The body is compressed in a way that is not taken.
    pub(crate) fn unknown_coding() -> Self {
        let detail = "content-encoding: expected gzip, zstd or none";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail).field("content-encoding")
    }

    /// A bug.
    pub(crate) fn ours() -> Self {
        Failure::Unexpected.into()
    }

    /// The path's last part is no id.
    pub(crate) fn bad_id() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the id of a row is an integer").field("id")
    }

    /// Nothing is ever deleted.
    pub(crate) fn no_retention() -> Self {
        Self::new(StatusCode::CONFLICT, "no RETENTION_… is set, so that nothing is too old")
    }

    /// No producer has this id.
    pub(crate) fn no_producer(uuid: Uuid) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no producer with the id {uuid}"))
    }

    /// The path's last part is no producer's id.
    pub(crate) fn bad_uuid() -> Self {
        Self::new(StatusCode::BAD_REQUEST, "the id of a producer is a UUID").field("uuid")
    }

    /// An idempotency key came with other content than before.
    pub(crate) fn key_reused() -> Self {
        let detail = "this key was used for another request; take a new key for new data";
        Self::new(StatusCode::CONFLICT, detail).field("idempotency-key")
    }

    /// A row that was answered for is not there any more.
    pub(crate) fn replay_gone() -> Self {
        Self::new(StatusCode::CONFLICT, "this request was stored before, and its row has been deleted since")
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(CONTENT_TYPE, problem::MEDIA_TYPE)]).into_response();
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            // What is left of the body is not read, so that the connection ends: a client that is not told so would send
            // its next request into the end.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // `uniform` writes the body: all answers pass there.
        response.extensions_mut().insert(Unwritten(self.problem));
        response
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "the disk is full; nothing was stored").retry(RETRY_LATER_S)
            }
            Failure::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database is busy; try again").retry(RETRY_SOON_S)
            }
            Failure::Disk => {
                let detail = "the database cannot be read or written; the log says why";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY_LATER_S)
            }
            Failure::Misplaced(misplaced) => {
                let detail = format!("{misplaced}, and nothing was stored: {}", misplaced.remedy());
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY_LATER_S)
            }
            Failure::Refused => {
                let detail = "the database refuses rows, because of a trigger, a constraint or a changed table that is not \
                              the API's; nothing was stored; the log says which";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY_LATER_S)
            }
            Failure::Unexpected => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "an error of ours; the log says more"),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        // A write's failure is logged by the writer; a read's ends here.
        warn!(error = &error as &dyn std::error::Error, "read failed");
        error.failure().into()
    }
}

impl From<IngestError> for Error {
    fn from(error: IngestError) -> Self {
        let unavailable = |detail| Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY_SOON_S);
        match error {
            IngestError::QueueFull => unavailable("too many requests wait to be stored; nothing was stored"),
            IngestError::Closed => unavailable("the API is shutting down"),
            IngestError::Store(failure) => failure.into(),
            IngestError::Denied(denial) => denial.into(),
        }
    }
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        let (status, field) = match denial {
            Denial::OtherToken | Denial::TooManyProducers => (StatusCode::FORBIDDEN, PRODUCER),
            Denial::Unreported { .. } => (StatusCode::CONFLICT, FIRST_SEQUENCE),
        };
        Self::new(status, denial.to_string()).field(field)
    }
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::TooManyReaders => {
                let detail = "as many follow new rows as may: see API_LIVE_READERS_MAX";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY_LATER_S)
            }
            JoinError::Store(error) => error.into(),
        }
    }
}

impl From<OutOfMemory> for Error {
    fn from(_: OutOfMemory) -> Self {
        let detail = "too many bytes wait to be stored; nothing was stored";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY_SOON_S)
    }
}

impl From<TooManyExports> for Error {
    fn from(_: TooManyExports) -> Self {
        let detail = "as many files are being sent as may be at the same time; try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY_SOON_S)
    }
}

impl From<BodyError> for Error {
    fn from(error: BodyError) -> Self {
        let status = match &error {
            BodyError::OutOfMemory => return OutOfMemory.into(),
            BodyError::MediaType | BodyError::NotJson | BodyError::Charset | BodyError::LooksLikeJson => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
            BodyError::Broken => StatusCode::BAD_REQUEST,
        };
        let error = Self::new(status, error.to_string());
        if status == StatusCode::UNSUPPORTED_MEDIA_TYPE { error.field("content-type") } else { error }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        let status = match fault.kind {
            Kind::Syntax => StatusCode::BAD_REQUEST,
            Kind::Content => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
        };
        let mut error = Self::new(status, fault.detail);
        error.problem.item = fault.item;
        error.problem.field = fault.field;
        (error.problem.line, error.problem.column) = fault.place.map(|place| (place.line, place.column)).unzip();
        error
    }
}

impl From<BadParameter> for Error {
    fn from(bad: BadParameter) -> Self {
        Self::new(StatusCode::BAD_REQUEST, bad.detail).field(bad.name)
    }
}

impl From<BadQuery> for Error {
    fn from(bad: BadQuery) -> Self {
        match bad {
            BadQuery::Parameter(bad) => bad.into(),
            BadQuery::Together(bad) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, bad.detail).field(bad.name),
        }
    }
}

impl From<Denied> for Error {
    fn from(denied: Denied) -> Self {
        Self::new(StatusCode::FORBIDDEN, denied.to_string()).field(denied.header())
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        let (retry, challenge) = match refused {
            Refused::OtherSite(denied) => return denied.into(),
            Refused::NoToken => (None, Some("Bearer realm=\"ponte\"")),
            Refused::InvalidToken => (None, Some("Bearer realm=\"ponte\", error=\"invalid_token\"")),
            Refused::Scope(Needs::Write) => {
                (None, Some("Bearer realm=\"ponte\", error=\"insufficient_scope\", scope=\"write\""))
            }
            Refused::Scope(_) => (None, Some("Bearer realm=\"ponte\", error=\"insufficient_scope\", scope=\"read\"")),
            Refused::TokenRate(often) | Refused::AddressRate(often) | Refused::WrongTokens(often) => {
                (Some(often.retry_after_s()), None)
            }
        };
        let status = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::FORBIDDEN);
        let field = challenge.map(|_| "authorization".to_owned());
        let mut error = Self::new(status, refused.to_string());
        error.problem.field = field;
        Self { retry_after_s: retry, challenge, ..error }
    }
}

/// The answer to a request whose handler panicked.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    // The panic's own text went to standard error already.
    error!("a handler panicked");
    Error::from(Failure::Unexpected).into_response()
}

/// Gives all errors one form, those too that axum answers by itself, with the id of the request.
pub(crate) fn uniform(mut response: Response, id: &HeaderValue) -> Response {
    let status = response.status();
    if status.as_u16() < 400 {
        return response;
    }
    let mut problem = match response.extensions_mut().remove::<Unwritten>() {
        Some(Unwritten(problem)) => problem,
        None if response.headers().get(CONTENT_TYPE).is_some_and(|value| value == problem::MEDIA_TYPE) => {
            return response;
        }
        None => Error::new(status, detail(status)).problem,
    };
    problem.request_id = id.to_str().ok().map(str::to_owned);
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(problem::MEDIA_TYPE));
    Response::from_parts(parts, serde_json::to_vec(&problem).unwrap_or_default().into())
}

/// What a layer's own answer means.
fn detail(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "there is nothing at this path",
        // axum adds `Allow` further out.
        StatusCode::METHOD_NOT_ALLOWED => "this path does not take this method; see the header allow",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is larger than API_BODY_BYTES_MAX",
        _ => "the request cannot be answered",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_layer_answers_gets_the_form_of_all_others() {
        let plain = (StatusCode::PAYLOAD_TOO_LARGE, [(CONTENT_LENGTH, "21")], "length limit exceeded").into_response();
        let response = uniform(plain, &HeaderValue::from_static("7"));
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(response.headers()[CONTENT_TYPE], problem::MEDIA_TYPE);
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let problem: Problem = serde_json::from_slice(&body).unwrap();
        assert_eq!((problem.status, problem.title.as_str()), (413, "Payload Too Large"));
        assert_eq!(problem.request_id.as_deref(), Some("7"));
    }

    #[test]
    fn a_panic_is_an_error_of_ours_and_tells_nothing() {
        let response = panicked(Box::new("secret"));
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn what_is_full_says_when_to_come_back() {
        for (failure, status) in
            [(Failure::Full, 507), (Failure::Busy, 503), (Failure::Disk, 503), (Failure::Refused, 503)]
        {
            let response = Error::from(failure).into_response();
            assert_eq!(response.status().as_u16(), status);
            assert!(response.headers().contains_key(RETRY_AFTER));
        }
    }
}
