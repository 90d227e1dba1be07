//! `PUT /produtores/{uuid}`: a producer says what it has received, and learns what the API makes of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Request, State};
use dados::{Produtor, Relato, Timestamp};
use uuid::Uuid;

use super::report;
use crate::dados::body::{self, BodyError, Form};
use crate::dados::fault::{Fault, Kind};
use crate::error::Error;
use crate::ingest::IngestError;
use crate::openapi::parameters::{Encoding, ProducerId};
use crate::openapi::responses::{BadReport, NotStored, NotYours};
use crate::query::NoParameters;
use crate::router::App;
use crate::store::Sender;

/// Report what a producer has received
///
/// A subscriber does so between two batches, and learns what the API makes of it. The last report stands.
/// One that says nothing new is written to the database once a minute.
#[utoipa::path(
    put,
    path = "/produtores/{uuid}",
    operation_id = "reportProdutor",
    tag = "produtores",
    params(ProducerId, Encoding),
    request_body(content = Relato, example = json!({"recebidas": 9, "confirmadas": 9, "quarentena": 0, "danificadas": 0})),
    responses((status = 200, description = "The ledger", body = Produtor), BadReport, NotYours, NotStored)
)]
pub(crate) async fn report(
    State(app): State<Arc<App>>,
    _: NoParameters,
    Path(uuid): Path<String>,
    request: Request,
) -> Result<Json<Produtor>, Error> {
    let uuid = Uuid::parse_str(&uuid).map_err(|_| Error::bad_uuid())?;
    let (mut parts, body) = request.into_parts();
    let sender: Sender = parts.extensions.remove().unwrap_or_default();
    if !matches!(body::form(&parts.headers), Ok(Form::Json)) {
        return Err(BodyError::NotJson.into());
    }
    let mut held = app.memory.reserve();
    let body = body::collect(body, &mut held, report::BYTES_MAX).await.map_err(too_large)?;
    let (report, estado) = report::parse(uuid, &body)?;
    let kept = if app.vitals.is_written(&report) { app.reader.producer(uuid).await? } else { None };
    let ledger = match kept.filter(|kept| sender.owns(kept.token.as_deref())) {
        Some(kept) => {
            app.vitals.heard(uuid, estado, Timestamp::now());
            kept.ledger()
        }
        None => {
            let ledger = match app.ingest.report(report.clone(), sender.clone()).await {
                Err(IngestError::Denied(denial)) => return Err(app.gate.denied(&sender, uuid, denial).into()),
                kept => kept?.ledger(),
            };
            app.vitals.written(report, estado, ledger.visto_em);
            ledger
        }
    };
    Ok(Json(app.vitals.of(ledger)))
}

/// The limit of a report is its own, and no setting.
fn too_large(error: BodyError) -> Error {
    match error {
        BodyError::TooLarge { bytes_max } => {
            Fault::new(Kind::TooMany, format!("a report has at most {bytes_max} bytes")).into()
        }
        other => other.into(),
    }
}
