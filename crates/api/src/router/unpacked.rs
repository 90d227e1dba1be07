//! What lies within the edge: the router, the short way to it, and compressed bodies with their limit on the wire.

mod coding;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::Either;
use tower_service::Service as _;

use super::App;
use crate::dados::post;
use crate::query::NoParameters;

/// A router whose compressed bodies are limited as they come, then decompressed. What comes of them, and a plain body,
/// `body::collect` limits.
pub(super) struct Unpacked {
    pub(super) router: Router,
    /// What the router's handlers share.
    pub(super) app: Arc<App>,
    pub(super) wire_bytes_max: usize,
}

impl Unpacked {
    /// A body is wrapped only where there is something to decompress.
    pub(super) fn call(&self, request: Request) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let is_plain = !request.headers().contains_key(CONTENT_ENCODING);
        if is_plain && is_readings(&request) {
            let stored = post::create(State(self.app.clone()), NoParameters, request);
            return Either::Left(stored.map(|stored| Ok(stored.into_response())));
        }
        // Its clones are one router, which is always ready.
        let mut router = self.router.clone();
        let request = if is_plain { Ok(request) } else { coding::decoded(request, self.wire_bytes_max) };
        Either::Right(match request {
            Ok(request) => Either::Left(router.call(request)),
            Err(error) => Either::Right(std::future::ready(Ok(error.into_response()))),
        })
    }
}

/// Whether the router would find no parameters, and hand it to [`post::create`]: it is what nearly all requests are, and
/// an eighth of their instructions would be the way through the router, which boxes, clones and looks up what it needs for
/// others.
fn is_readings(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == post::PATH && request.uri().query().is_none()
}
