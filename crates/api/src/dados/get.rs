//! `GET /dados` and `GET /dados/{id}`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};
use dados::Dado;

use super::query;
use crate::error::Error;
use crate::openapi::bodies;
use crate::openapi::parameters::{ListDados, RowId};
use crate::openapi::responses::{BadParameters, NoRow, NotNow};
use crate::query::NoParameters;
use crate::router::App;

/// Read rows, newest first
#[utoipa::path(
    get,
    path = "/dados",
    operation_id = "listDados",
    tag = "dados",
    params(ListDados),
    responses(
        (status = 200, description = "A page of rows", body = Vec<Dado>,
            headers(("Link" = String, description = "The next page, with `rel=\"next\"`; absent at the last.")),
            example = json!([bodies::row()])),
        BadParameters,
        NotNow,
    )
)]
pub(crate) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Result<Response, Error> {
    let selection = query::parse(text.as_deref().unwrap_or_default())?;
    let page = app.reader.list(&selection).await?;
    match page.rows.last().filter(|_| page.has_more) {
        Some(last) => Ok(([(LINK, query::next_link(&selection, last.id))], Json(&page.rows)).into_response()),
        None => Ok(Json(&page.rows).into_response()),
    }
}

/// Read one row
#[utoipa::path(
    get,
    path = "/dados/{id}",
    operation_id = "getDado",
    tag = "dados",
    params(RowId),
    responses(
        (status = 200, description = "The row", body = Dado, example = json!(bodies::row())),
        NoRow,
        NotNow,
    )
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    _: NoParameters,
    Path(id): Path<String>,
) -> Result<Json<Dado>, Error> {
    let id: i64 = id.parse().map_err(|_| Error::bad_id())?;
    app.reader.get(id).await?.map(Json).ok_or_else(|| Error::no_row(id))
}
