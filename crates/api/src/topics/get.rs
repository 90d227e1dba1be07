//! `GET /topicos`.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::header::{CONTENT_TYPE, LINK};
use axum::response::{IntoResponse, Response};
use dados::Topico;

use super::query;
use crate::error::Error;
use crate::openapi::parameters::ListTopicos;
use crate::openapi::responses::{BadParameters, NotNow};
use crate::router::App;

/// List topics by name
///
/// Each with its newest message and the newest reading of each of its fields, the first 64 by name.
#[utoipa::path(
    get,
    path = "/topicos",
    operation_id = "listTopicos",
    tag = "leituras",
    params(ListTopicos),
    responses(
        (status = 200, description = "A page of topics", body = Vec<Topico>,
            headers(("Link" = String, description = "The next page, with `rel=\"next\"`; absent at the last."))),
        BadParameters,
        NotNow,
    )
)]
pub(crate) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Result<Response, Error> {
    let mut selection = query::parse(text.as_deref().unwrap_or_default())?;
    let memory = app.memory.answer(selection.bytes_max);
    selection.bytes_max = memory.bytes();
    let page = app.reader.topics(&selection).await?;
    let json = serde_json::to_vec(&page.topics).map_err(|_| Error::ours())?;
    let mut response = ([(CONTENT_TYPE, "application/json")], memory.hold(json.into())?).into_response();
    if let Some(link) = page.next_after.and_then(|last| query::next_link(&selection, &last).parse().ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}
