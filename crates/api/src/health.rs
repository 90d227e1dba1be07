//! `GET /healthz`: the process serves. `GET /readyz`: the writer takes data.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::error::Error;
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
    leituras: Option<Lag>,
}

/// How far readings, lists and charts are behind. It keeps no data from being taken either.
#[derive(Serialize)]
pub(crate) struct Lag {
    /// Messages that are stored and not in them yet.
    atraso: u64,
    /// Messages that `reproject` has still to go through.
    #[serde(skip_serializing_if = "Option::is_none")]
    refazendo: Option<u64>,
}

pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", produtores: None, leituras: None })
}

pub(crate) async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Health>, Error> {
    app.ingest.ready().await?;
    let leituras = Lag { atraso: app.projection.lag(), refazendo: app.projection.rebuild_lag() };
    Ok(Json(Health { status: "ready", produtores: app.ledger.totals().await, leituras: Some(leituras) }))
}
