//! `POST /leituras/refazer` and the subcommand `reproject`: readings, lists and charts anew from all stored messages.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use service::commands::print;
use service::{Exit, Fatal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::metrics::{Commits, Projections};
use crate::openapi::responses::NoneTaken;
use crate::projector::{self, Lag};
use crate::query::NoParameters;
use crate::router::App;
use crate::running::{LOOK_EVERY, Running};
use crate::{ingest, store};

/// Make all readings anew
///
/// It begins, or goes on where it had begun; `GET /readyz` tells how far it has come.
#[utoipa::path(
    post,
    path = "/leituras/refazer",
    operation_id = "rebuildLeituras",
    tag = "leituras",
    responses((status = 202, description = "How far it is behind", body = Lag, example = json!({"atraso": 0, "refeitas": 0})), NoneTaken)
)]
pub(crate) async fn start(State(app): State<Arc<App>>, _: NoParameters) -> (StatusCode, Json<Lag>) {
    let lag = app.projection.state();
    app.projection.rebuild();
    (StatusCode::ACCEPTED, Json(lag))
}

/// What `/readyz` says of it.
#[derive(Deserialize)]
struct Readiness {
    leituras: Lag,
}

/// Has the API that owns the database do it, and prints how far it has come until it is done. Where none runs, does it
/// here. What was begun goes on after any end.
pub async fn reproject(config: Config) -> Result<(), Fatal> {
    if store::is_owned(&store::locate(&config.database_url)?) { by_the_api(&config).await } else { here(config).await }
}

async fn by_the_api(config: &Config) -> Result<(), Fatal> {
    let running = Running::new(config);
    let before: Lag = running.accepted(&running.order("/leituras/refazer").await?)?;
    loop {
        let Some(Readiness { leituras }) = running.look().await? else { continue };
        if leituras.refeitas > before.refeitas {
            print("done\n");
            return Ok(());
        }
        tell(leituras);
    }
}

async fn here(config: Config) -> Result<(), Fatal> {
    let (writer, reader) = store::connect(&config.database_url, config.database_readers).await?;
    let closing = CancellationToken::new();
    let (ingest, writing) = ingest::start(writer, Commits::new(), closing.clone());
    let rules = config.timestamp_field;
    let (projection, projecting) =
        projector::start(ingest, reader.clone(), rules, Projections::default(), closing.clone());
    let tasks = TaskTracker::new();
    let (writing, projecting) = (tasks.spawn(writing), tasks.spawn(projecting));
    projection.rebuild();
    while projection.state().refeitas == 0 {
        if writing.is_finished() || projecting.is_finished() {
            return Err(Fatal::new(Exit::Software, "it ended before its time; the lines above say why"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
        tell(projection.state());
    }
    closing.cancel();
    let _ = projecting.await;
    reader.close().await;
    let _ = writing.await;
    print("done\n");
    Ok(())
}

fn tell(Lag { refazendo, .. }: Lag) {
    if let Some(rows) = refazendo {
        print(&format!("{rows} messages to go\n"));
    }
}
