//! `GET /healthz`: the process serves. `GET /readyz`: the writer takes data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::error::Error;
use crate::projector::Lag;
use crate::router::App;
use crate::store::Totals;

/// The body of both.
#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    /// The ledger in short. A difference is for a person to look into; it keeps no data from being taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    produtores: Option<Totals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// It keeps no data from being taken either.
    leituras: Option<Lag>,
}

pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", produtores: None, leituras: None })
}

pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Health>, Error> {
    app.ingest.ready().await?;
    let leituras = Some(app.projection.state());
    Ok(Json(Health { status: "ready", produtores: app.ledger.totals().await, leituras }))
}
