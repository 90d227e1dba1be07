//! Every route, limit and layer of the API, on one screen.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures_util::FutureExt as _;
use service::metrics::Metrics;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::{self, Hosts};
use crate::dados::{get as read, post as write};
use crate::error::Error;
use crate::ingest::Ingest;
use crate::limits::Memory;
use crate::producers::totals::Ledger;
use crate::producers::{get as ledger, put as report};
use crate::projector::Projection;
use crate::series::get as series;
use crate::store::Reader;
use crate::topics::get as topics;
use crate::{error, health, metrics, observe, openapi, reproject};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) ingest: Ingest,
    pub(crate) projection: Projection,
    pub(crate) reader: Reader,
    pub(crate) ledger: Ledger,
    pub(crate) memory: Memory,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) body_bytes_max: usize,
}

/// The routes, each as its handler describes it; what is mounted in another way is for people, and described nowhere.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::about())
        .routes(routes!(write::create, read::list))
        .routes(routes!(read::one))
        .routes(routes!(topics::list))
        .routes(routes!(series::series))
        .routes(routes!(ledger::list))
        .routes(routes!(report::report, ledger::one))
        .routes(routes!(reproject::start))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::scrape))
        .routes(routes!(openapi::get::openapi))
        .route("/docs", get(openapi::page::page))
        .route("/docs/{file}", get(openapi::page::part))
}

pub(crate) fn router(app: App, hosts: Hosts) -> Router {
    let wire_bytes_max = app.body_bytes_max;
    let metrics = app.metrics.clone();
    Router::from(routes())
        // One counter to raise a request, however much there is in it.
        .with_state(Arc::new(app))
        // A body's bytes as they come, then decompressed. `write::create` limits what comes of it, its sum over all
        // requests, and its time.
        .layer((RequestBodyLimitLayer::new(wire_bytes_max), RequestDecompressionLayer::new()))
        .layer(from_fn_with_state(Edge { metrics, hosts }, edge))
}

/// What every request passes.
#[derive(Clone)]
struct Edge {
    metrics: Arc<Metrics>,
    hosts: Hosts,
}

/// One layer instead of four, each of which would be a few allocations a request: counted and logged, errors in one
/// form, panics, other sites.
async fn edge(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let answer = async |request: Request| {
        let asked = request.method() == Method::OPTIONS;
        let answer = match auth::guard(edge.hosts, &request) {
            Ok(()) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(error::panicked),
            Err(denied) => Error::from(denied).into_response(),
        };
        if asked && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            // axum adds `Allow` further out, to this as to a refusal.
            return StatusCode::NO_CONTENT.into_response();
        }
        error::uniform(answer)
    };
    observe::request(&edge.metrics, request, answer).await
}
