//! The one layer that every request passes: it is counted and logged, let in or refused, and its answer has one form.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::{ConnectInfo, Request};
use axum::http::header::ORIGIN;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use service::metrics::Metrics;
use tower_service::Service;

use super::{HEADERS_MAX, URI_BYTES_MAX};
use crate::access::headers::{About, protect};
use crate::access::{Asked, Gate};
use crate::error::Error;
use crate::{error, observe};

/// What it needs.
pub(super) struct Edge {
    pub(super) metrics: Arc<Metrics>,
    pub(super) gate: Gate,
    pub(super) tls: bool,
}

/// The edge of what is inside. It is no `from_fn`, whose `Next` would be two more boxes a request.
#[derive(Clone)]
pub(super) struct Edged<S> {
    pub(super) inner: S,
    pub(super) edge: Arc<Edge>,
}

impl<S> Service<Request> for Edged<S>
where
    S: Service<Request, Error = Infallible, Response: IntoResponse, Future: Send> + Clone + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that is ready, and a new one for the next request (tower's `Service`, "Be careful when cloning").
        let clone = self.inner.clone();
        let (mut inner, edge) = (std::mem::replace(&mut self.inner, clone), self.edge.clone());
        let next = async move |request| match inner.call(request).await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        };
        Box::pin(async move { Ok(pass(&edge, request, next).await) })
    }
}

/// One layer instead of many, each of which would be a few allocations a request: counted and logged, errors in one
/// form, panics, access, headers.
async fn pass(edge: &Edge, request: Request, next: impl AsyncFnOnce(Request) -> Response) -> Response {
    let about = About { tls: edge.tls, private: edge.gate.is_private(request.method(), request.uri()) };
    let origin = request.headers().get(ORIGIN).cloned();
    let asked = request.method() == Method::OPTIONS;
    let answer = async |request: Request| {
        let answer = match admit(&edge.gate, &request) {
            Ok(None) => AssertUnwindSafe(next(request)).catch_unwind().await.unwrap_or_else(error::panicked),
            Ok(Some(preflight)) => preflight,
            Err(error) => error.into_response(),
        };
        if asked && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            // axum adds `Allow` further out, to this as to a refusal.
            return StatusCode::NO_CONTENT.into_response();
        }
        answer
    };
    let mut response = observe::request(&edge.metrics, request, answer).await;
    protect(response.headers_mut(), about);
    edge.gate.origins().mark(origin.as_ref(), response.headers_mut());
    response
}

/// Whether a request may pass; some have their answer already.
fn admit(gate: &Gate, request: &Request) -> Result<Option<Response>, Error> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let uri_bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if uri_bytes > URI_BYTES_MAX {
        return Err(Error::uri_too_long(URI_BYTES_MAX));
    }
    if headers.len() > HEADERS_MAX {
        return Err(Error::too_many_headers(HEADERS_MAX));
    }
    if let Some(preflight) = gate.origins().preflight(method, headers) {
        return Ok(Some(preflight));
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
    gate.admit(Asked { method, uri, headers, peer })?;
    Ok(None)
}
