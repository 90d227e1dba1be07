//! Compressed bodies, and their limit on the wire; any other request passes as it is.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::header::CONTENT_ENCODING;
use axum::response::{IntoResponse as _, Response};
use axum::routing::Route;
use axum::routing::future::RouteFuture;
use futures_util::future::Either;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_layer::Layer as _;
use tower_service::Service;

/// A route whose compressed bodies are limited as they come, then decompressed. What comes of them, and a plain body,
/// `body::collect` limits.
#[derive(Clone)]
pub(super) struct Unpacked {
    pub(super) inner: Route,
    pub(super) wire_bytes_max: usize,
}

type Unpacking = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl Service<Request> for Unpacked {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<RouteFuture<Infallible>, Unpacking>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.inner, cx)
    }

    /// The layers are made where there is something for them to do: each would wrap every body and every answer.
    fn call(&mut self, request: Request) -> Self::Future {
        if !request.headers().contains_key(CONTENT_ENCODING) {
            return Either::Left(self.inner.call(request));
        }
        let layers = (RequestBodyLimitLayer::new(self.wire_bytes_max), RequestDecompressionLayer::new());
        let mut unpacking = layers.layer(self.inner.clone());
        Either::Right(Box::pin(async move {
            poll_fn(|cx| Service::<Request>::poll_ready(&mut unpacking, cx)).await?;
            Ok(unpacking.call(request).await?.into_response())
        }))
    }
}
