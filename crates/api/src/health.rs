//! `GET /healthz`: the process serves. `GET /readyz`: the writer takes data.

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::error::Error;
use crate::router::App;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
}

pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok" })
}

pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Health>, Error> {
    app.ingest.ready().await?;
    Ok(Json(Health { status: "ready" }))
}
