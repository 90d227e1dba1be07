//! `GET /healthz`: the process serves. `GET /readyz`: the writer takes data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::error::Error;
use crate::openapi::responses::NotStored;
use crate::projector::Lag;
use crate::retention::State as RetentionState;
use crate::router::App;
use crate::store::Totals;

/// The body of both.
#[derive(Serialize, ToSchema)]
pub(crate) struct Health {
    status: &'static str,
    /// The ledger in short. A difference is for a person to look into; it keeps no data from being taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    produtores: Option<Totals>,
    /// How far readings are behind. It keeps no data from being taken either.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    leituras: Option<Lag>,
    /// What was deleted, and what is too old and waits; absent where nothing is ever deleted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retencao: Option<RetentionState>,
    /// Where the write-ahead log grows. It keeps no data from being taken as long as the disk has room.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    wal: Option<HeldLog>,
}

/// A write-ahead log that a program's read keeps from starting over.
#[derive(Serialize, ToSchema)]
struct HeldLog {
    bytes: u64,
    /// What happens, and where more is said.
    aviso: &'static str,
}

impl HeldLog {
    fn new(bytes: u64) -> Option<Self> {
        let aviso = "a program reads an old state of the database, and the write-ahead log (-wal) grows until that read ends; \
                     ponte-api check names it";
        (bytes > 0).then_some(Self { bytes, aviso })
    }
}

/// Whether it runs
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "healthz",
    tag = "operação",
    responses((status = 200, description = "It does", body = Health, example = json!({"status": "ok"})))
)]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", produtores: None, leituras: None, retencao: None, wal: None })
}

/// Whether it takes data
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "readyz",
    tag = "operação",
    responses(
        (status = 200, description = "It does", body = Health, example = json!({
            "status": "ready",
            "produtores": {"total": 1, "faltando": 0, "com_diferenca": 0},
            "leituras": {"atraso": 0, "refeitas": 0}
        })),
        NotStored,
    )
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Health>, Error> {
    app.ingest.ready().await?;
    let leituras = Some(app.projection.state());
    let (produtores, retencao) = (app.ledger.totals().await, app.retention.state());
    let wal = HeldLog::new(app.ingest.held_log_bytes());
    Ok(Json(Health { status: "ready", produtores, leituras, retencao, wal }))
}
