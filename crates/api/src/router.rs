//! Every route, limit and layer of the API, on one screen.

mod edge;
mod unpacked;

use std::sync::Arc;

use axum::routing::get;
use service::metrics::Metrics;
use service::metrics::templates::Templates;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use self::edge::Edge;
use self::unpacked::Unpacked;
use crate::access::Gate;
use crate::dados::export::Exports;
use crate::dados::{get as read, post as write};
use crate::ingest::Ingest;
use crate::limits::Memory;
use crate::live::{self, Live};
use crate::producers::totals::Ledger;
use crate::producers::vitals::Vitals;
use crate::producers::{get as ledger, put as report};
use crate::projector::Projection;
use crate::retention::Retention;
use crate::series::get as series;
use crate::store::Reader;
use crate::topics::get as topics;
use crate::{health, metrics, openapi, page, reproject, retention};

/// What the handlers share.
pub(crate) struct App {
    pub(crate) gate: Gate,
    pub(crate) ingest: Ingest,
    pub(crate) projection: Projection,
    pub(crate) retention: Retention,
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

/// Those that are for people and their browsers, and described nowhere.
pub(crate) const PAGES: [&str; 4] = ["/", "/assets/{*file}", "/docs", "/docs/{file}"];

/// The routes, each as its handler describes it, but for the pages.
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
        .routes(routes!(retention::apply::start))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(metrics::scrape))
        .routes(routes!(openapi::get::openapi))
        .route("/", get(page::index))
        .route("/assets/{*file}", get(page::file))
        .route("/docs", get(openapi::page::page))
        .route("/docs/{file}", get(openapi::page::part))
}

/// All of it, as it is served.
pub(crate) fn router(app: App, gate: Gate, tls: bool) -> Edge {
    let (wire_bytes_max, metrics) = (app.body_bytes_max, app.metrics.clone());
    let (router, document) = routes().split_for_parts();
    let templates = Templates::new(document.paths.paths.keys().map(String::as_str).chain(PAGES));
    // One counter to raise a request, however much there is in it.
    let app = Arc::new(app);
    let inner = Unpacked { router: router.with_state(app.clone()), app, wire_bytes_max };
    Edge { inner, templates, metrics, gate, tls }
}
