//! Every route, limit and layer of the API, on one screen.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::ORIGIN;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post, put};
use futures_util::FutureExt as _;
use service::metrics::Metrics;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;

use crate::access::headers::{About, protect};
use crate::access::{Asked, Gate};
use crate::dados::export::Exports;
use crate::dados::{get as read, post as write};
use crate::error::Error;
use crate::ingest::Ingest;
use crate::limits::Memory;
use crate::live::{self, Live};
use crate::producers::totals::Ledger;
use crate::producers::{get as ledger, put as report};
use crate::projector::Projection;
use crate::series::get as series;
use crate::store::Reader;
use crate::topics::get as topics;
use crate::{error, health, metrics, observe, reproject};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) ingest: Ingest,
    pub(crate) projection: Projection,
    pub(crate) live: Live,
    pub(crate) reader: Reader,
    pub(crate) exports: Exports,
    pub(crate) ledger: Ledger,
    pub(crate) memory: Memory,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) body_bytes_max: usize,
}

/// The longest path with its query, and the most headers. Beyond 64 KiB of them all, or 100, hyper answers by itself.
const URI_BYTES_MAX: usize = 8 << 10;
const HEADERS_MAX: usize = 64;

pub(crate) fn router(app: App, gate: Gate, tls: bool) -> Router {
    let wire_bytes_max = app.body_bytes_max;
    let metrics = app.metrics.clone();
    Router::new()
        .route("/dados", post(write::create).get(read::list))
        .route("/dados/{id}", get(read::one))
        .route("/dados/ao-vivo", get(live::follow))
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
        .layer(from_fn_with_state(Edge { metrics, gate, tls }, edge))
}

/// What every request passes.
#[derive(Clone)]
struct Edge {
    metrics: Arc<Metrics>,
    gate: Gate,
    tls: bool,
}

/// One layer instead of many, each of which would be a few allocations a request: counted and logged, errors in one
/// form, panics, access, headers.
async fn edge(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let about = About { tls: edge.tls, private: edge.gate.is_private(request.method(), request.uri()) };
    let origin = request.headers().get(ORIGIN).cloned();
    let answer = async |request: Request| match admit(&edge.gate, &request) {
        Ok(None) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(error::panicked),
        Ok(Some(preflight)) => preflight,
        Err(error) => error.into_response(),
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
