//! Every route, limit and layer of the API, on one screen.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use futures_util::FutureExt as _;
use service::metrics::Metrics;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::auth::{self, Hosts};
use crate::dados::{get as read, post as write};
use crate::error::Error;
use crate::ingest::Ingest;
use crate::limits::Memory;
use crate::producers::totals::Ledger;
use crate::producers::vitals::Vitals;
use crate::producers::{get as ledger, put as report};
use crate::projector::Projection;
use crate::series::get as series;
use crate::store::Reader;
use crate::topics::get as topics;
use crate::{error, health, metrics, observe, page, reproject};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) ingest: Ingest,
    pub(crate) projection: Projection,
    pub(crate) reader: Reader,
    pub(crate) ledger: Ledger,
    pub(crate) vitals: Vitals,
    pub(crate) memory: Memory,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) body_bytes_max: usize,
    pub(crate) page: page::Page,
}

pub(crate) fn router(app: App, hosts: Hosts) -> Router {
    let wire_bytes_max = app.body_bytes_max;
    let metrics = app.metrics.clone();
    Router::new()
        .route("/", get(page::index))
        .route("/assets/{*file}", get(page::file))
        .route("/dados", post(write::create).get(read::list))
        .route("/dados/{id}", get(read::one))
        .route("/topicos", get(topics::list))
        .route("/series", get(series::series))
        .route("/produtores", get(ledger::list))
        .route("/produtores/{uuid}", put(report::report).get(ledger::one))
        .route("/leituras/refazer", post(reproject::start))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::scrape))
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
    let answer = async |request| {
        let answer = match auth::guard(edge.hosts, &request) {
            Ok(()) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(error::panicked),
            Err(denied) => Error::from(denied).into_response(),
        };
        error::uniform(answer)
    };
    observe::request(&edge.metrics, request, answer).await
}
