//! REST in front of SQL: takes readings over HTTP, stores them durably, reads them back.
//!
//! A request goes down this list and its answer comes up again:
//!
//! - [`server`]: where it listens; `service::http`: connections, their number and their end
//! - `router`: every route, limit and layer; `observe` logs, `access` asks for tokens, `error` speaks HTTP
//! - `dados`: `POST` and `GET /dados`; `topics`: `/topicos`; `series`: `/series`; `producers`: `/produtores`;
//!   `page`: `/`, the live page; `health`: `/healthz`, `/readyz`; `metrics`: `/metrics`; `query`: what all query strings have in common;
//!   `negotiate`: in which form an answer is wanted; `csv`: what answers as CSV have in common;
//!   `etag`: whether a client has it already; `openapi`: `/openapi.json`, `/docs`, with `asset`: files in the program
//! - `live`: `GET /dados/ao-vivo`, new rows as they come
//! - `limits`: the memory that all bodies share
//! - `ingest`: group commit, the one task that writes
//! - `projector`: readings, lists and roll-ups from what is stored; `retention`: what is too old goes
//! - `store`: the database, and all SQL
//!
//! Beside it: [`config`], the settings, and [`backup`], [`check`], [`reproject`] and [`retention::apply`], the subcommands of these names; `doctor`:
//! what check finds. [`running`]: orders to the API that owns the database.

mod access;
mod asset;
pub mod backup;
pub mod check;
pub mod config;
mod csv;
mod dados;
mod doctor;
mod error;
mod etag;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod health;
mod ingest;
mod limits;
mod live;
mod metrics;
mod negotiate;
mod observe;
mod openapi;
mod page;
mod producers;
pub mod projector;
mod query;
pub mod reproject;
pub mod retention;
mod router;
mod running;
mod series;
pub mod server;
mod store;
mod topics;

pub use access::new_token as token;

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use service::{Exit, Fatal, http};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::access::{Gate, bind, token_file};
use crate::config::Config;
use crate::dados::export::Exports;
use crate::limits::{Budget, Memory};
use crate::live::Live;
use crate::metrics::{Commits, Deliveries, Levels, Projections};
use crate::page::Page;
use crate::producers::totals::Ledger;
use crate::producers::vitals::Vitals;
use crate::retention::Retention;
use crate::router::App;

/// How long the writer may take to store what it was handed, once no request can come any more.
const WRITER_GRACE: Duration = Duration::from_secs(10);

/// Runs the API on a bound listener until the token is cancelled, then ends in order: no new connections, requests
/// under way, the writer's queue, the database. The only line that it logs at the start is `listening`.
///
/// Fails with one line and its exit code if the database cannot be opened, or if the writer dies.
pub async fn run(config: Config, listener: TcpListener, token: CancellationToken) -> Result<(), Fatal> {
    let unavailable = |error| Fatal::new(Exit::Unavailable, format_args!("cannot serve: {error}"));
    let addr = listener.local_addr().map_err(unavailable)?;
    let access = &config.access;
    let hosts = bind::check_bind(addr, access.needs_tokens(), config.api_allow_anonymous)?;
    access.check()?;
    let (gate, tls) = (Gate::new(access, access.all_tokens()?, hosts), access.tls()?);
    // Opening it may write it.
    let file_time = retention::file_time(&store::locate(&config.database_url)?);
    let (writer, reader) = store::connect(&config.database_url, config.database_readers).await?;

    let tasks = TaskTracker::new();
    let closing = CancellationToken::new();
    let commits = Commits::new();
    let (ingest, writing) = ingest::start(writer, commits.clone(), closing.clone());
    let mut writing = tasks.spawn(writing);
    let connections = config.connection_limits();
    let budget = Budget::new(config.api_body_bytes_max, limits::memory_max());
    if budget.body < config.api_body_bytes_max {
        warn!(
            body_bytes_max = budget.body,
            "little memory is allowed here: bodies are limited below API_BODY_BYTES_MAX"
        );
    }
    let memory = Memory::new(budget);
    let ledger = Ledger::new(ingest.clone(), reader.clone());
    let (projections, retention) = (Projections::default(), Retention::new(config.ages()));
    let live_limits = config.live_limits(budget.live);
    let (projection, projecting) =
        projector::start(ingest.clone(), reader.clone(), config.timestamp_field, projections.clone(), closing.clone());
    let mut projecting = tasks.spawn(projecting);
    let retiring = retention.clone().run(file_time, ingest.clone(), reader.clone(), closing.clone());
    let retiring = tasks.spawn(retiring);
    let deliveries = Deliveries::default();
    let live = Live::new(&ingest, reader.clone(), live_limits, deliveries.clone(), token.clone());
    let mut following = tasks.spawn(live.follow(closing.clone()));
    let levels = Levels {
        ingest: ingest.clone(),
        projection: projection.clone(),
        live: live.clone(),
        memory: memory.clone(),
        reader: reader.clone(),
        ledger: ledger.clone(),
    };
    let metrics = Arc::new(metrics::metrics(&commits, &projections, &deliveries, levels));
    let body_bytes_max = budget.body;
    let app = App {
        gate: gate.clone(),
        ingest,
        projection,
        retention,
        live,
        reader: reader.clone(),
        exports: Exports::new(),
        ledger,
        vitals: Vitals::default(),
        memory,
        metrics,
        body_bytes_max,
        page: Page::new(config.metabase_link.as_deref()),
    };
    let router = router::router(app, gate.clone(), tls.is_some());
    let mut watching =
        tasks.spawn(token_file::watch(access.api_tokens_file.clone(), access.tokens()?, gate, closing.clone()));

    info!(%addr, "listening");
    let dead = || Fatal::new(Exit::Software, "the writer died; the lines above say why");
    tokio::select! {
        served = http::serve(listener, router, connections, tls, token) => served.map_err(unavailable)?,
        _ = &mut writing => return Err(dead()),
        _ = &mut projecting => return Err(Fatal::new(Exit::Software, "the projector died; the lines above say why")),
        _ = &mut following => return Err(Fatal::new(Exit::Software, "the live feed died; the lines above say why")),
        _ = &mut watching => return Err(Fatal::new(Exit::Software, "nobody reads API_TOKENS_FILE any more")),
    }
    closing.cancel();
    let _ = tokio::join!(projecting, retiring, following, watching);
    reader.close().await;
    match tokio::time::timeout(WRITER_GRACE, writing).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(dead()),
    }
}
