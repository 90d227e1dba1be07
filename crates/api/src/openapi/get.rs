//! `GET /openapi.json`.

use std::sync::LazyLock;

use axum::http::HeaderMap;
use axum::response::Response;

use super::document;
use super::parameters::Kept;
use super::responses::Kept as Unchanged;
use crate::asset::Asset;
use crate::query::NoParameters;

static DOCUMENT: LazyLock<Asset> = LazyLock::new(|| Asset::new("application/json", document().into()));

/// This description
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "openapi",
    tag = "operação",
    params(Kept),
    responses(
        (status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object,
            headers(("ETag" = String, description = "Names this state of it."))),
        Unchanged,
        crate::openapi::responses::NoneTaken,
    )
)]
pub(crate) async fn openapi(_: NoParameters, headers: HeaderMap) -> Response {
    DOCUMENT.answer(&headers).await
}
