//! One log line a request, with an id that the client can quote, and the count of its answer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, Method};
use axum::response::Response;
use service::metrics::Metrics;
use service::shown;
use tracing::{Span, debug, debug_span, warn};
use uuid::Uuid;

use crate::error;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a client, in bytes.
const ID_BYTES_MAX: usize = 64;

/// What is remembered of a request until it has its answer.
pub(crate) struct Observed {
    started: Instant,
    method: Method,
    /// The template of its route.
    route: Option<Arc<str>>,
    /// A copy, where it is another text than the template's: a part of the request would hold all that was read with it,
    /// 8 KiB, while its row is written.
    path: Option<Box<str>>,
    id: HeaderValue,
    span: Span,
}

impl Observed {
    pub(crate) fn begin(request: &Request, route: Option<Arc<str>>) -> Self {
        let started = Instant::now();
        let (method, path) = (request.method().clone(), request.uri().path());
        let path = (route.as_deref() != Some(path)).then(|| path.into());
        let id = request.headers().get(REQUEST_ID).filter(|id| is_sound(id)).cloned().unwrap_or_else(new_id);
        let span = debug_span!("request", id = id.to_str().unwrap_or_default());
        Self { started, method, path, route, id, span }
    }

    /// In which the request is worked at.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// Counts and logs the answer, and gives it the id. The path is logged without its query, which may hold a user's data.
    pub(crate) fn end(self, metrics: &Metrics, answer: Response) -> Response {
        let Self { started, method, route, path, id, span } = self;
        let mut response = error::uniform(answer, &id);
        let elapsed = started.elapsed();
        let (status, elapsed_us) = (response.status().as_u16(), elapsed.as_micros());
        let path = path.as_deref().or(route.as_deref()).unwrap_or_default();
        span.in_scope(|| match status {
            500.. => {
                let (method, path) = (shown(&method), shown(path));
                warn!(method, path, status, elapsed_us, request_id = ?id, "request failed");
            }
            // Every argument is made only where the level is on.
            _ => debug!(method = shown(&method), path = shown(path), status, elapsed_us, "request"),
        });
        metrics.observe(&method, route, response.status(), elapsed);
        response.headers_mut().insert(REQUEST_ID, id);
        response
    }
}

fn is_sound(id: &HeaderValue) -> bool {
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

/// A number that tells runs of the program apart, and one that counts: nothing to be asked of the kernel each time.
fn new_id() -> HeaderValue {
    static RUN: LazyLock<u64> = LazyLock::new(|| Uuid::new_v4().as_u64_pair().0);
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = Uuid::from_u64_pair(*RUN, NEXT.fetch_add(1, Ordering::Relaxed)).simple();
    HeaderValue::from_str(id.encode_lower(&mut Uuid::encode_buffer())).unwrap_or(HeaderValue::from_static("none"))
}
