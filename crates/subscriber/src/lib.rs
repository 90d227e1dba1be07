//! Captures MQTT messages durably and forwards them to the API over HTTP.
//!
//! The way of a message: [`mqtt`] reads it, [`capture`] makes it durable in the [`spool`] and then lets [`mqtt::Gate`]
//! acknowledge it; [`forward`] takes it out of the spool and posts it. [`session`] is what must be remembered of the
//! broker's session; [`status`] tells how each of them is, and [`metrics`] counts.
//!
//! - [`config`]: the settings; [`retry`]: how long to wait; [`clock`]: times from before the clock was set; [`commands`]: the subcommand `quarantine`; [`doctor`]: `check`

pub mod capture;
mod clock;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod forward;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod metrics;
pub mod mqtt;
pub mod retry;
pub mod session;
pub mod spool;
pub mod status;

use std::net::TcpListener;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use service::http::hosts::Hosts;
use service::http::limit::Limits;
use service::{Exit, Fatal, http, shutdown};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use uuid::Uuid;

use config::Config;
use forward::Forwarder;
use forward::quarantine::{self, Quarantine};
use session::subscriptions::Subscriptions;
use spool::{OpenError, Recovery};
use status::Status;

/// The most time that shutdown takes; Docker's own limit is 10 s by default, compose here allows more.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);

/// The most time that the status endpoint takes after that.
const PARTS_GRACE: Duration = Duration::from_secs(1);
/// Clients of the health endpoint at one time.
const STATUS_CONNECTIONS_MAX: u32 = 64;

/// Runs until `token` is cancelled, then drains within [`SHUTDOWN_GRACE`], and a second for who asks for the status.
///
/// `listener` serves the health endpoint. An error means that the settings or the spool are unfit, or that a part of
/// the program died.
pub async fn run(config: Config, listener: TcpListener, token: CancellationToken) -> Result<(), Fatal> {
    let hosts = listener.local_addr().map(Hosts::at).map_err(|error| Fatal::new(Exit::Unavailable, error))?;
    let (writer, reader, gauge, recovery) = spool::open(config.spool.clone()).map_err(unfit_spool)?;
    let producer = gauge.usage().progress.producer;
    info!(dir = %config.spool.dir.display(), %producer, waiting = recovery.waiting, "spool open");
    say_what_was_found(&recovery);
    let status = Status::new(gauge.clone());
    let quarantine = Quarantine::of_spool(&config.spool.dir);
    let client_id = config.mqtt.client_id.clone().unwrap_or_else(|| default_client_id(gauge.installation()));
    let forwarder = Forwarder::new(reader, gauge.clone(), &config.api, quarantine.clone(), status.clone(), &client_id)?;
    let (inbound, subscriptions) = (writer.inbound().clone(), Subscriptions::open(&config.spool.dir));
    let connection = mqtt::Connection::new(&config.mqtt, &client_id, inbound, subscriptions, status.clone())?;
    let gate = connection.gate();
    let (intake, capture) = capture::start(writer, gate, status.clone(), token.clone())?;
    let finisher = intake.finisher();
    let checking = intake.finisher().check_spool(token.clone());
    let mqtt = connection.start(intake, token.clone())?;

    let tasks = TaskTracker::new();
    // The forwarder goes on while the broker is told goodbye, so that what is delivered need not wait for the next start.
    let forwarding = CancellationToken::new();
    let mut parts = tokio::task::JoinSet::new();
    let watching = quarantine::watch(quarantine, gauge.clone(), status.clone(), forwarding.clone());
    parts.spawn(async {
        watching.await;
        Ok(())
    });
    tasks.spawn(checking);
    let serving = http::serve(
        listener,
        status::router(status, hosts),
        Limits::new(STATUS_CONNECTIONS_MAX),
        None,
        forwarding.clone(),
    );
    parts.spawn(async { serving.await.context("the status endpoint") });
    let forward = forwarder.run(forwarding.clone());
    parts.spawn(async move {
        forward.await;
        Ok(())
    });
    tasks.spawn_blocking(move || join(mqtt, "MQTT"));
    let capture = tasks.spawn_blocking(move || join(capture, "capture"));

    let ended = tokio::select! {
        // First, since the threads end by themselves once it is cancelled: that is no death.
        biased;
        () = token.cancelled() => Ok(()),
        part = parts.join_next() => Err(died(part)),
        _ = capture => Err(Fatal::new(Exit::Software, "the capture thread died")),
    };
    token.cancel();
    if ended.is_ok() {
        finisher.finish().await;
    }
    let drained = shutdown::drain(&tasks, SHUTDOWN_GRACE).await;
    forwarding.cancel();
    // Who still reads our status must not hold up the end; what is left of them is dropped.
    let parting = async { while parts.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(PARTS_GRACE, parting).await;
    if let Err(error) = gauge.sync() {
        warn!(%error, "the spool's cursor could not be synced at the end");
    }
    info!(drained, "stopped");
    ended
}

fn say_what_was_found(recovery: &Recovery) {
    let &Recovery { torn_bytes, missing, .. } = recovery;
    if missing > 0 {
        error!(
            messages = missing,
            "acknowledged messages are missing from the spool: segments were removed or are damaged; the ledger counts them as damaged"
        );
    } else if torn_bytes > 0 {
        warn!(bytes = torn_bytes, "the spool ended in a torn write: cut off; nothing that it knows of was lost");
    }
}

/// The client id of an installation that names none: the session at the broker must outlive restarts.
fn default_client_id(installation: Uuid) -> String {
    let simple = installation.simple().to_string();
    format!("ponte-{}", &simple[..12])
}

fn join(thread: JoinHandle<()>, name: &str) -> Result<(), Fatal> {
    thread.join().map_err(|_| Fatal::new(Exit::Software, format_args!("the {name} thread panicked")))
}

fn died(part: Option<Result<anyhow::Result<()>, tokio::task::JoinError>>) -> Fatal {
    match part {
        Some(Ok(Err(error))) => error.into(),
        Some(Err(error)) => Fatal::new(Exit::Software, error),
        Some(Ok(Ok(()))) | None => Fatal::new(Exit::Software, "a task ended by itself"),
    }
}

/// Which exit code goes with a spool that cannot be opened.
pub fn unfit_spool(error: OpenError) -> Fatal {
    let exit = match &error {
        OpenError::Locked { .. } => Exit::Locked,
        OpenError::Foreign { .. } | OpenError::Version { .. } => Exit::Data,
        OpenError::Io { error, .. } => error.into(),
    };
    Fatal::new(exit, format_args!("SPOOL_DIR: {error}"))
}
