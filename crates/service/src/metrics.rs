//! `GET /metrics`: what both products count alike, and the answer, in the text form of OpenMetrics.
//!
//! - [`mod@http`]: answers by method, route and status, and routes that count their own
//! - [`templates`]: which route a path is of
//! - [`process`]: memory, descriptors and processor time of this process

pub mod http;
mod process;
pub mod templates;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tracing::error;

use self::http::Http;
use self::process::Process;

/// The media type of the answer.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that one program counts. It is filled first, then shared.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    http: Http,
}

impl Metrics {
    /// What every program counts: its build, its process, its HTTP responses.
    pub fn new(product: &'static str, version: &'static str) -> Self {
        let mut registry = Registry::default();
        let build = [("product", product), ("version", version)].map(|(name, value)| (name.into(), value.into()));
        registry.sub_registry_with_labels(build.into_iter()).register(
            "ponte_build_info",
            "What is running; always 1",
            ConstGauge::new(1u64),
        );
        registry.register_collector(Box::new(Process::new()));
        let http = Http::default();
        registry.register_collector(Box::new(http.clone()));
        Self { registry, http }
    }

    /// Where the product adds what it alone counts.
    pub fn registry(&mut self) -> &mut Registry {
        &mut self.registry
    }

    /// The answer to `GET /metrics`. Collectors are asked now, so they must not wait for anything.
    pub fn answer(&self) -> Response {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
            Err(error) => {
                error!(%error, "metrics cannot be written");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}
