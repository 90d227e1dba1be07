//! Every route, limit and layer of the API, on one screen.

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{get, post, put};
use service::metrics::Metrics;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::auth::{self, Hosts};
use crate::dados::{get as read, post as write};
use crate::ingest::Ingest;
use crate::limits::Memory;
use crate::producers::totals::Ledger;
use crate::producers::{get as ledger, put as report};
use crate::store::Reader;
use crate::{error, health, metrics, observe};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) ingest: Ingest,
    pub(crate) reader: Reader,
    pub(crate) ledger: Ledger,
    pub(crate) memory: Memory,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) body_bytes_max: usize,
}

pub(crate) fn router(app: App, hosts: Hosts) -> Router {
    let wire_bytes_max = app.body_bytes_max;
    let metrics = app.metrics.clone();
    Router::new()
        .route("/dados", post(write::create).get(read::list))
        .route("/dados/{id}", get(read::one))
        .route("/produtores", get(ledger::list))
        .route("/produtores/{uuid}", put(report::report).get(ledger::one))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(metrics::scrape))
        // One counter to raise a request, however much there is in it.
        .with_state(Arc::new(app))
        // From here on the last layer is the outermost, and of a pair the first. Pairs, since each layer by itself is
        // an allocation more a request. `write::create` limits the bytes after decompression, their sum over all
        // requests, and the time that a body takes.
        .layer(RequestDecompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(wire_bytes_max))
        .layer((CatchPanicLayer::custom(error::panicked), from_fn_with_state(hosts, auth::guard)))
        .layer((from_fn_with_state(metrics, observe::request), map_response(error::uniform)))
}
