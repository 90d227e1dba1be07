//! `GET /dados` and `GET /dados/{id}`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::header::{LINK, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use dados::{Dado, Timestamp};
use tokio::task::spawn_blocking;

use super::query::{self, PAGE_BYTES_MAX, Query};
use super::{answer, export};
use crate::error::Error;
use crate::etag::{self, Tagged};
use crate::negotiate::{self, Format};
use crate::openapi::bodies;
use crate::openapi::parameters::{Kept as IfNoneMatch, ListDados, RowId};
use crate::openapi::responses::{BadParameters, BadSpan, Kept as Unchanged, NoRow, NotAcceptable, NotNow};
use crate::query::NoParameters;
use crate::router::App;
use crate::store::{LARGE_VALUE_BYTES, Page};

/// What rows come as; the first is for those who do not say.
const FORMATS: [Format; 3] = [Format::Json, Format::Csv, Format::Ndjson];
/// A larger page is written on a thread of its own, so that it holds up nobody else's request.
const INLINE_ROWS_MAX: usize = 500;

/// Read rows
///
/// Newest first, a page at a time; or all that are selected, as CSV or NDJSON, in constant memory.
#[utoipa::path(
    get,
    path = "/dados",
    operation_id = "listDados",
    tag = "dados",
    params(ListDados, IfNoneMatch),
    responses(
        (status = 200, description = "A page of rows as JSON, or all of them as CSV or NDJSON",
            content(
                (Vec<Dado> = "application/json", example = json!([bodies::row()])),
                (String = "text/csv", example = json!(bodies::ROWS_CSV)),
                (String = "application/x-ndjson", example = json!(bodies::ROWS_NDJSON)),
            ),
            headers(("Link" = String, description = "The next page of JSON, with `rel=\"next\"`; absent at the last."),
                ("ETag" = String, description = "Names a page's content, with JSON; absent where the last row's value is large."),
                ("Vary" = String, description = "`accept`"),
                ("Content-Disposition" = String, description = "A file's name, with CSV and NDJSON."))),
        Unchanged,
        BadParameters,
        BadSpan,
        NotAcceptable,
        NotNow,
    )
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Result<Response, Error> {
    let query = query::parse(text.as_deref().unwrap_or_default(), Timestamp::now())?;
    let format = query.format.or_else(|| negotiate::choose(&headers, &FORMATS)).ok_or_else(Error::not_acceptable)?;
    let mut response = match format {
        Format::Json => page(&app, &headers, &query).await?,
        Format::Csv => export::start(&app, query, export::Form::Csv).await?,
        Format::Ndjson => export::start(&app, query, export::Form::Ndjson).await?,
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

async fn page(app: &App, headers: &HeaderMap, query: &Query) -> Result<Response, Error> {
    let memory = app.memory.answer(PAGE_BYTES_MAX);
    let Page { mut rows, large, next_after_id } = app.reader.list(&query.page(memory.bytes())?).await?;
    // The same rows with another page behind them are not the same answer.
    let next = next_after_id.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec());
    let mut response = match large {
        Some(value) => {
            if let Some(last) = rows.last_mut() {
                answer::emptied(last);
            }
            answer::streamed(app, &rows, value)?
        }
        None if rows.len() <= INLINE_ROWS_MAX => etag::answer(headers, tagged(&rows, &next)?.held(memory)?),
        None => {
            // It fails only if encoding panics, or at the very end of the program.
            let tagged = spawn_blocking(move || tagged(&rows, &next)).await.map_err(|_| Error::ours())??;
            etag::answer(headers, tagged.held(memory)?)
        }
    };
    if let Some(link) = next_after_id.and_then(|id| query.next_link(id).parse().ok()) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn tagged(rows: &[Dado], next: &[u8]) -> Result<Tagged, Error> {
    Tagged::new(&rows, next).map_err(|_| Error::ours())
}

/// Read one row
#[utoipa::path(
    get,
    path = "/dados/{id}",
    operation_id = "getDado",
    tag = "dados",
    params(RowId, IfNoneMatch),
    responses(
        (status = 200, description = "The row", body = Dado,
            headers(("ETag" = String, description = "Names the row's content; absent where its value is large.")), example = json!(bodies::row())),
        Unchanged,
        NoRow,
        NotNow,
    )
)]
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    _: NoParameters,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id: i64 = id.parse().map_err(|_| Error::bad_id())?;
    let (mut row, large) = app.reader.get(id).await?.ok_or_else(|| Error::no_row(id))?;
    if let Some(value) = large {
        answer::emptied(&mut row);
        return answer::streamed(&app, &row, value);
    }
    let tagged = Tagged::new(&row, &[]).map_err(|_| Error::ours())?;
    let memory = app.memory.answer(LARGE_VALUE_BYTES);
    Ok(etag::answer(&headers, tagged.held(memory)?))
}
