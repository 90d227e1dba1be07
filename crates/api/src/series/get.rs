//! `GET /series`.

use std::sync::Arc;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use dados::{Serie, Timestamp};

use super::csv;
use super::query::{self, Query};
use super::step::Fold;
use crate::csv::MEDIA_TYPE;
use crate::error::Error;
use crate::negotiate::{self, Format};
use crate::openapi::bodies;
use crate::openapi::parameters::OneSeries;
use crate::openapi::responses::{BadParameters, BadRange, NotNow};
use crate::router::App;

/// Read one field over time
///
/// How many readings there were in each step, with mean, minimum and maximum. A step without readings is left out; an
/// unknown topic or field has none. The range is widened to whole steps, which begin at the full hour or day, UTC.
#[utoipa::path(
    get,
    path = "/series",
    operation_id = "getSerie",
    tag = "leituras",
    params(OneSeries),
    responses(
        (status = 200, description = "The points, at most 10,000",
            content((Serie = "application/json"), (String = "text/csv", example = json!(bodies::CSV))),
            headers(("Vary" = String, description = "`accept`"),
                ("Content-Disposition" = String, description = "A file's name, with CSV."))),
        BadParameters,
        BadRange,
        NotNow,
    )
)]
pub(crate) async fn series(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    RawQuery(text): RawQuery,
) -> Result<Response, Error> {
    let query = query::parse(text.as_deref().unwrap_or_default(), Timestamp::now())?;
    let mut fold = Fold::new(query.step);
    app.reader.series(&query.selection, |numbers| fold.take(numbers)).await?;
    // Who wants neither form gets the one that is there.
    let wanted = || negotiate::choose(&headers, &[Format::Json, Format::Csv]);
    let format = query.format.or_else(wanted);
    let serie = answer(query, fold);
    if format != Some(Format::Csv) {
        return Ok(([(VARY, "accept")], Json(&serie)).into_response());
    }
    let disposition = csv::disposition(&serie);
    let headers = [(VARY, "accept"), (CONTENT_TYPE, MEDIA_TYPE), (CONTENT_DISPOSITION, disposition.as_str())];
    Ok((headers, csv::body(&serie.pontos)).into_response())
}

fn answer(Query { selection, step, .. }: Query, fold: Fold) -> Serie {
    Serie {
        topico: Some(selection.topico).filter(|topico| !topico.is_empty()),
        campo: selection.campo,
        passo: step.as_str().to_owned(),
        desde: selection.from,
        ate: selection.until,
        pontos: fold.done(),
    }
}
