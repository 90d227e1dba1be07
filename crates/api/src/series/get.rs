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
use crate::router::App;

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
