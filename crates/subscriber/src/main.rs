//! `ponte-subscriber`: settings, logs, run, exit code.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context as _;
use ponte_subscriber::config::{self, Cli, Command};
use ponte_subscriber::{commands, run};
use service::settings::{Parsed, Source, Stop};
use service::{Exit, Fatal, exit, shutdown, telemetry};
use tokio_util::task::TaskTracker;

fn main() -> ExitCode {
    match config::parse() {
        Ok(Parsed { cli, sources }) => exit::conclude(start(cli, &sources)),
        Err(Stop::Failed(fatal)) => exit::conclude(Err(fatal)),
        Err(Stop::Shown(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
    }
}

fn start(cli: Cli, sources: &[Source]) -> Result<(), Fatal> {
    telemetry::init(&cli.log)?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow::anyhow!("a second TLS provider"))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    runtime.block_on(async {
        match cli.command.unwrap_or(Command::Run) {
            Command::Run => serve(cli.settings).await,
            Command::Check => commands::check(cli.settings, sources).await,
            Command::Health => commands::health(cli.settings.status_addr).await,
            Command::Quarantine { action } => commands::quarantine(&cli.settings, action).await,
        }
    })
}

async fn serve(settings: config::Settings) -> Result<(), Fatal> {
    let status_addr = settings.status_addr;
    let config = settings.resolve()?;
    let listener = TcpListener::bind(status_addr)
        .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("STATUS_ADDR: {status_addr}: {error}")))?;
    let tasks = TaskTracker::new();
    let token = shutdown::on_signal(&tasks).context("signals cannot be listened to")?;
    run(config, listener, token).await
}
