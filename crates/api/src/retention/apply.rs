//! `POST /retencao/aplicar` and the subcommand `retention apply`: an operator confirms that what is too old goes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use clap::Subcommand;
use dados::Timestamp;
use serde::Deserialize;
use service::causes;
use service::commands::print;
use service::{Exit, Fatal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::look::Task;
use super::{Retention, State};
use crate::config::Config;
use crate::error::Error;
use crate::metrics::Commits;
use crate::openapi::responses::{NoRetention, NoneTaken};
use crate::query::NoParameters;
use crate::router::App;
use crate::running::Running;
use crate::{ingest, store};

/// What is done about retention.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum RetentionAction {
    /// Delete now all that is older than RETENTION_… allow by this machine's clock, however much it is: in the running API
    /// or, where none runs, here
    Apply,
}

/// Delete all that is too old
///
/// Confirms what retention would not do by itself: more than 5 % of a table at a time, or by a clock that is far from the
/// data. `GET /readyz` tells when it is done.
#[utoipa::path(
    post,
    path = "/retencao/aplicar",
    operation_id = "applyRetencao",
    tag = "operação",
    responses(
        (status = 202, description = "How much was deleted before, and what is too old", body = State,
         example = json!({"apagadas": 0, "em_espera": 2000, "aplicadas": 0})),
        NoneTaken,
        NoRetention,
    )
)]
pub(crate) async fn start(Shared(app): Shared<Arc<App>>, _: NoParameters) -> Result<(StatusCode, Json<State>), Error> {
    let state = app.retention.state().ok_or_else(Error::no_retention)?;
    app.retention.confirm();
    Ok((StatusCode::ACCEPTED, Json(state)))
}

/// What `/readyz` says of it.
#[derive(Deserialize)]
struct Readiness {
    retencao: State,
}

/// Has the API that owns the database do it and waits until it is done; where none runs, does it here.
pub async fn retention(action: &RetentionAction, config: Config) -> Result<(), Fatal> {
    let RetentionAction::Apply = action;
    if !config.ages().is_any() {
        let problem = "no RETENTION_… is set, so that nothing is too old; expected a time such as 90d";
        return Err(Fatal::setting("RETENTION_DADOS", problem));
    }
    if store::is_owned(&store::locate(&config.database_url)?) { by_the_api(&config).await } else { here(&config).await }
}

async fn by_the_api(config: &Config) -> Result<(), Fatal> {
    let running = Running::new(config);
    let answer = running.order("/retencao/aplicar").await?;
    if answer.status == 409 {
        let problem = format_args!("the API at {} runs without any RETENTION_…", config.api_addr);
        return Err(Fatal::setting("RETENTION_DADOS", problem));
    }
    let before: State = running.accepted(&answer)?;
    loop {
        let Some(Readiness { retencao }) = running.look().await? else { continue };
        if retencao.aplicadas > before.aplicadas {
            tell(retencao.apagadas - before.apagadas);
            return Ok(());
        }
    }
}

async fn here(config: &Config) -> Result<(), Fatal> {
    let (writer, reader) = store::connect(&config.database_url, config.database_readers).await?;
    let closing = CancellationToken::new();
    let (ingest, writing) = ingest::start(writer, Commits::new(), closing.clone());
    let writing = TaskTracker::new().spawn(writing);
    let looked = Task::new(Retention::new(config.ages()), ingest, reader.clone()).look(None, true).await;
    closing.cancel();
    reader.close().await;
    let _ = writing.await;
    let rows =
        looked.map_err(|error| Fatal::new(Exit::Io, format_args!("old rows cannot be deleted: {}", causes(&error))))?;
    tell(rows);
    Ok(())
}

fn tell(rows: u64) {
    print(&format!("{rows} rows deleted; this machine's clock says {}\n", Timestamp::now()));
}
