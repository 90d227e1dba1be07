//! `ponte-subscriber`: settings, logs, run, exit code.

use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use ponte_subscriber::config::{Cli, Command, Settings};
use ponte_subscriber::{commands, doctor, run};
use service::commands::health;
use service::launch::{block_on, launch};
use service::settings::Parsed;
use service::{Exit, Fatal, shutdown, telemetry};
use tokio_util::task::TaskTracker;

fn main() -> ExitCode {
    launch(start)
}

fn start(Parsed { cli, sources }: Parsed<Cli>) -> Result<(), Fatal> {
    telemetry::init(&cli.log)?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("a second TLS provider"))?;
    block_on(async {
        match cli.command.unwrap_or(Command::Run) {
            Command::Run => serve(cli.settings).await,
            Command::Check { rate } => doctor::check(cli.settings, rate, &sources).await,
            Command::Health => health(cli.settings.status_addr.into()).await,
            Command::Quarantine { action } => commands::quarantine(&cli.settings, action).await,
        }
    })
}

async fn serve(settings: Settings) -> Result<(), Fatal> {
    let status_addr = settings.status_addr;
    let config = settings.resolve()?;
    let listener = TcpListener::bind(status_addr)
        .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("STATUS_ADDR: {status_addr}: {error}")))?;
    let tasks = TaskTracker::new();
    let token = shutdown::on_signal(&tasks).context("signals cannot be listened to")?;
    run(config, listener, token).await
}
