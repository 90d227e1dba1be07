//! Every route, limit and layer of the API, on one screen.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::ORIGIN;
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

use crate::access::headers::{About, protect};
use crate::access::{Asked, Gate};
use crate::dados::export::Exports;
use crate::dados::{get as read, post as write};
use crate::error::Error;
use crate::ingest::Ingest;
use crate::limits::Memory;
use crate::live::{self, Live};
use crate::producers::totals::Ledger;
use crate::producers::vitals::Vitals;
use crate::producers::{get as ledger, put as report};
use crate::projector::Projection;
use crate::series::get as series;
use crate::store::Reader;
use crate::topics::get as topics;
use crate::{error, health, metrics, observe, openapi, page, reproject};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) ingest: Ingest,
    pub(crate) projection: Projection,
    pub(crate) live: Live,
    pub(crate) reader: Reader,
    pub(crate) exports: Exports,
    pub(crate) ledger: Ledger,
    pub(crate) vitals: Vitals,
    pub(crate) memory: Memory,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) body_bytes_max: usize,
    pub(crate) page: page::Page,
}

/// The longest path with its query, and the most headers. Beyond 64 KiB of them all, or 100, hyper answers by itself.
pub(crate) const URI_BYTES_MAX: usize = 8 << 10;
pub(crate) const HEADERS_MAX: usize = 64;

/// The routes, each as its handler describes it; what is mounted in another way is for people, and described nowhere.
pub(crate) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::about())
        .routes(routes!(write::create, read::list))
        .routes(routes!(read::one))
        .routes(routes!(live::follow))
        .routes(routes!(topics::list))
        .routes(routes!(series::series))
        .routes(routes!(ledger::list))
        .routes(routes!(report::report, ledger::one))
        .routes(routes!(reproject::start))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::scrape))
        .routes(routes!(openapi::get::openapi))
        .route("/", get(page::index))
        .route("/assets/{*file}", get(page::file))
        .route("/docs", get(openapi::page::page))
        .route("/docs/{file}", get(openapi::page::part))
}

pub(crate) fn router(app: App, gate: Gate, tls: bool) -> Router {
    let wire_bytes_max = app.body_bytes_max;
    let metrics = app.metrics.clone();
    Router::from(routes())
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
    let asked = request.method() == Method::OPTIONS;
    let answer = async |request: Request| {
        let answer = match admit(&edge.gate, &request) {
            Ok(None) => AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(error::panicked),
            Ok(Some(preflight)) => preflight,
            Err(error) => error.into_response(),
        };
        if asked && answer.status() == StatusCode::METHOD_NOT_ALLOWED {
            // axum adds `Allow` further out, to this as to a refusal.
            return StatusCode::NO_CONTENT.into_response();
        }
        answer
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
