//! `GET /topicos`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::header::LINK;
use axum::response::{IntoResponse, Response};

use super::query;
use crate::error::Error;
use crate::router::App;

pub(crate) async fn list(State(app): State<Arc<App>>, RawQuery(text): RawQuery) -> Result<Response, Error> {
    let selection = query::parse(text.as_deref().unwrap_or_default())?;
    let page = app.reader.topics(&selection).await?;
    match &page.next_after {
        Some(last) => Ok(([(LINK, query::next_link(&selection, last))], Json(&page.topics)).into_response()),
        None => Ok(Json(&page.topics).into_response()),
    }
}
