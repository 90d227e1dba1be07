//! The API's description of itself, OpenAPI 3.1: made of the routes and of what stands at their handlers.
//!
//! - [`get`]: `GET /openapi.json`; [`page`]: `GET /docs`, which shows it
//! - [`parameters`]: query strings, paths and headers, with the limits that the handlers check
//! - [`bodies`]: what can be sent and what comes back where no one type says it, and examples
//! - [`responses`]: answers that routes share; the examples of errors are made by the code that answers them
//! - [`everywhere`]: what all operations have in common
//!
//! A new route has `#[utoipa::path]` at its handler, and `routes!` in `router` mounts it: there is no other way that the
//! tests let pass. `crates/api/openapi.json` is what comes of it, for reviews and for those who make clients; where it
//! has to change, `PONTE_WRITE_OPENAPI=1 cargo test -p ponte-api openapi` writes it.

pub(crate) mod bodies;
mod everywhere;
pub(crate) mod get;
pub(crate) mod page;
pub(crate) mod parameters;
pub(crate) mod responses;
#[cfg(test)]
mod tests;

use utoipa::OpenApi as _;
use utoipa::openapi::OpenApi;

use crate::router;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(title = "Ponte", description = include_str!("about.md"), license(name = "MIT OR Apache-2.0")),
    servers((url = "/", description = "This API")),
    components(schemas(dados::Problem)),
    tags(
        (name = "dados", description = "What sensors said: rows go in and come out as they are."),
        (name = "leituras", description = "What was made of it, for charts: topics, fields and series. \
            A second or so behind what is stored."),
        (name = "produtores", description = "The ledger: what became of every message that each subscriber received."),
        (name = "operação", description = "How it is, and this description."),
    ),
)]
struct About;

/// The document without any route.
pub(crate) fn about() -> OpenApi {
    About::openapi()
}

/// The whole document, as it is served and kept in `crates/api/openapi.json`.
pub(crate) fn document() -> String {
    let mut document = router::routes().into_openapi();
    everywhere::complete(&mut document);
    let mut text = serde_json::to_string_pretty(&document).expect("the document has only texts for keys");
    text.push('\n');
    text
}
