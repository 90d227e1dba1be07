//! Compressed bodies, and their limit on the wire; any other request passes as it is.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse as _, Response};
use axum::routing::future::RouteFuture;
use futures_util::future::Either;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_layer::Layer as _;
use tower_service::Service;

/// A router whose compressed bodies are limited as they come, then decompressed. What comes of them, and a plain body,
/// `body::collect` limits.
pub(super) struct Unpacked {
    pub(super) router: Router,
    pub(super) wire_bytes_max: usize,
}

type Unpacking = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Unpacked {
    /// The layers are made where there is something for them to do: each would wrap every body and every answer.
    pub(super) fn call(&self, request: Request) -> Either<RouteFuture<Infallible>, Unpacking> {
        // Its clones are one router, which is always ready.
        let mut router = self.router.clone();
        if !request.headers().contains_key(CONTENT_ENCODING) {
            return Either::Left(router.call(request));
        }
        let layers = (RequestBodyLimitLayer::new(self.wire_bytes_max), RequestDecompressionLayer::new());
        let mut unpacking = layers.layer(router);
        Either::Right(Box::pin(async move {
            poll_fn(|cx| Service::<Request>::poll_ready(&mut unpacking, cx)).await?;
            Ok(unpacking.call(request).await?.into_response())
        }))
    }
}
