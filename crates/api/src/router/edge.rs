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
use futures_util::future::Either;
use service::metrics::Metrics;
use tower_service::Service;
use tracing::Instrument as _;

use super::unpacked::Unpacked;
use super::{HEADERS_MAX, URI_BYTES_MAX};
use crate::access::headers::{About, protect};
use crate::access::{Asked, Gate};
use crate::error::{self, Error};
use crate::observe::Observed;

/// What it needs.
pub(super) struct Edge {
    pub(super) metrics: Arc<Metrics>,
    pub(super) gate: Gate,
    pub(super) tls: bool,
}

/// The edge of what is inside. It is no `from_fn`, whose `Next` would be two more boxes a request.
#[derive(Clone)]
pub(super) struct Edged {
    pub(super) inner: Unpacked,
    pub(super) edge: Arc<Edge>,
}

impl Service<Request> for Edged {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    /// All that needs the request itself is done before there is a future, which would have to hold it.
    fn call(&mut self, request: Request) -> Self::Future {
        let edge = self.edge.clone();
        let about = About { tls: edge.tls, private: edge.gate.is_private(request.method(), request.uri()) };
        let origin = request.headers().get(ORIGIN).cloned();
        let asked = request.method() == Method::OPTIONS;
        let observed = Observed::begin(&request);
        let admitted = observed.span().in_scope(|| match admit(&edge.gate, &request) {
            Ok(None) => match std::panic::catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
                Ok(answering) => Either::Left(answering),
                Err(panic) => Either::Right(error::panicked(panic)),
            },
            Ok(Some(preflight)) => Either::Right(preflight),
            Err(error) => Either::Right(error.into_response()),
        });
        Box::pin(async move {
            let answer = match admitted {
                Either::Left(answering) => {
                    let answering = AssertUnwindSafe(answering).catch_unwind();
                    let answering =
                        answering.map(|answered| answered.map_or_else(error::panicked, |Ok(response)| response));
                    answering.instrument(observed.span().clone()).await
                }
                Either::Right(answer) => answer,
            };
            // axum adds `Allow` further out, to this as to a refusal.
            let answer = match answer.status() {
                StatusCode::METHOD_NOT_ALLOWED if asked => StatusCode::NO_CONTENT.into_response(),
                _ => answer,
            };
            let mut response = observed.end(&edge.metrics, answer);
            protect(response.headers_mut(), about);
            edge.gate.origins().mark(origin.as_ref(), response.headers_mut());
            Ok(response)
        })
    }
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
