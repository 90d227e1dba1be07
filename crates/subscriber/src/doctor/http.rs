//! One question over HTTP, and its answer in full.

use std::error::Error;
use std::time::Duration;

use dados::Timestamp;
use reqwest::RequestBuilder;
use reqwest::header::{DATE, LINK};
use service::shown;

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The most that is read of one: a page of the API ends soon after 16 MiB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What a server said, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The server's clock.
    pub(super) date: Option<String>,
    /// Whether there is another page.
    pub(super) has_more: bool,
    pub(super) body: String,
    /// Our clock when it was asked and when it had answered, in milliseconds since the Unix epoch.
    pub(super) before_ms: i64,
    pub(super) after_ms: i64,
}

/// Sends it; else the fault in words.
pub(super) async fn ask(request: RequestBuilder) -> Result<Answer, String> {
    let before_ms = Timestamp::now().as_ms();
    let mut response = request.timeout(ANSWER_TIMEOUT).send().await.map_err(|error| fault(&error))?;
    let after_ms = Timestamp::now().as_ms();
    let date = response.headers().get(DATE).and_then(|value| Some(value.to_str().ok()?.to_owned()));
    let (status, has_more) = (response.status().as_u16(), response.headers().contains_key(LINK));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(format!("it answers more than {} MiB", ANSWER_BYTES_MAX >> 20));
        }
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status, date, has_more, body, before_ms, after_ms })
}

/// The innermost cause says it best.
fn fault(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", ANSWER_TIMEOUT.as_secs());
    }
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.is_connect() { format!("nobody answers there ({})", shown(cause)) } else { shown(cause) }
}
