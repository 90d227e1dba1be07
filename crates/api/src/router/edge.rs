//! The one layer that every request passes: it is counted and logged, let in or refused, and its answer has one form.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::{ALLOW, ORIGIN};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use futures_util::future::Either;
use service::http::{Answer, once};
use service::metrics::Metrics;
use service::metrics::templates::Templates;
use tracing::Instrument as _;

use super::unpacked::Unpacked;
use super::{HEADERS_MAX, URI_BYTES_MAX};
use crate::access::headers::{About, protect};
use crate::access::{Asked, Gate};
use crate::error::{self, Error};
use crate::observe::Observed;

/// The edge of what is inside. It lies around the router and not within, where axum would box and clone each request's
/// way once more.
pub(crate) struct Edge {
    pub(super) inner: Unpacked,
    pub(super) templates: Templates,
    pub(super) metrics: Arc<Metrics>,
    pub(super) gate: Gate,
    pub(super) tls: bool,
}

impl Answer for Edge {
    /// All that needs the request itself is done before there is a future, which would have to hold it.
    fn answer(
        &self,
        mut request: Request,
        peer: SocketAddr,
    ) -> impl Future<Output = Result<Response, Infallible>> + Send {
        let about = About { tls: self.tls, private: self.gate.is_private(request.method(), request.uri()) };
        let origin = request.headers().get(ORIGIN).cloned();
        let asked = request.method() == Method::OPTIONS;
        let observed = Observed::begin(&request, self.templates.of(request.uri().path()));
        let admitted = observed.span().in_scope(|| match admit(&self.gate, &mut request, peer) {
            Ok(None) => match std::panic::catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) {
                Ok(answering) => Either::Left(answering),
                Err(panic) => Either::Right(error::panicked(panic)),
            },
            Ok(Some(preflight)) => Either::Right(preflight),
            Err(error) => Either::Right(error.into_response()),
        });
        async move {
            let answer = match admitted {
                Either::Left(answering) => {
                    let answering = AssertUnwindSafe(answering).catch_unwind();
                    let answering =
                        answering.map(|answered| answered.map_or_else(error::panicked, |Ok(response)| response));
                    answering.instrument(observed.span().clone()).await
                }
                Either::Right(answer) => answer,
            };
            let answer = match answer.status() {
                StatusCode::METHOD_NOT_ALLOWED if asked => allowed(answer),
                _ => answer,
            };
            let mut response = observed.end(&self.metrics, answer);
            protect(response.headers_mut(), about);
            self.gate.origins().mark(origin.as_ref(), response.headers_mut());
            Ok(response)
        }
    }
}

/// The answer to who asks for a path's methods, made of the answer to one that the path does not take.
fn allowed(refusal: Response) -> Response {
    let mut answer = StatusCode::NO_CONTENT.into_response();
    if let Some(methods) = refusal.headers().get(ALLOW) {
        answer.headers_mut().insert(ALLOW, methods.clone());
    }
    answer
}

/// Whether a request may pass; some have their answer already.
fn admit(gate: &Gate, request: &mut Request, peer: SocketAddr) -> Result<Option<Response>, Error> {
    let (method, uri, headers) = (request.method(), request.uri(), request.headers());
    let uri_bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if uri_bytes > URI_BYTES_MAX {
        return Err(Error::uri_too_long(URI_BYTES_MAX));
    }
    if headers.len() > HEADERS_MAX {
        return Err(Error::too_many_headers(HEADERS_MAX));
    }
    if let Some(name) = once::repeated(headers) {
        return Err(Error::header(name.as_str(), "this header may come once"));
    }
    if let Some(preflight) = gate.origins().preflight(method, headers) {
        return Ok(Some(preflight));
    }
    let sender = gate.admit(Asked { method, uri, headers, peer })?;
    if sender.name().is_some() {
        request.extensions_mut().insert(sender);
    }
    Ok(None)
}
