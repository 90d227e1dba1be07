//! What lies within the edge: the router, the short way to it, and compressed bodies with their limit on the wire.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use futures_util::future::Either;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_layer::Layer as _;
use tower_service::Service;

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

type Unpacking = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Unpacked {
    /// The layers are made where there is something for them to do: each would wrap every body and every answer.
    pub(super) fn call(&self, request: Request) -> impl Future<Output = Result<Response, Infallible>> + Send + use<> {
        let is_plain = !request.headers().contains_key(CONTENT_ENCODING);
        if is_plain && is_readings(&request) {
            let stored = post::create(State(self.app.clone()), NoParameters, request);
            return Either::Left(stored.map(|stored| Ok(stored.into_response())));
        }
        // Its clones are one router, which is always ready.
        let mut router = self.router.clone();
        if is_plain {
            return Either::Right(Either::Left(router.call(request)));
        }
        let layers = (RequestBodyLimitLayer::new(self.wire_bytes_max), RequestDecompressionLayer::new());
        let mut unpacking = layers.layer(router);
        let unpacked: Unpacking = Box::pin(async move {
            poll_fn(|cx| Service::<Request>::poll_ready(&mut unpacking, cx)).await?;
            Ok(unpacking.call(request).await?.into_response())
        });
        Either::Right(Either::Right(unpacked))
    }
}

/// Whether the router would find no parameters, and hand it to [`post::create`]: it is what nearly all requests are, and
/// an eighth of their instructions would be the way through the router, which boxes, clones and looks up what it needs for
/// others.
fn is_readings(request: &Request) -> bool {
    request.method() == Method::POST && request.uri().path() == post::PATH && request.uri().query().is_none()
}
