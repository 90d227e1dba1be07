//! The program: settings → logs → runtime → what was asked for → exit code.

mod allocator;

use std::process::ExitCode;

use ponte_api::config::{Action, Cli, Config};
use ponte_api::retention::apply::retention;
use ponte_api::token::token;
use ponte_api::{backup, check, reproject, run, server};
use service::commands::health;
use service::launch::{block_on_fewer, launch};
use service::settings::Parsed;
use service::{Exit, Fatal, shutdown, telemetry};
use tokio_util::task::TaskTracker;

fn main() -> ExitCode {
    allocator::set();
    launch(start)
}

fn start(Parsed { cli, sources }: Parsed<Cli>) -> Result<(), Fatal> {
    telemetry::init(&cli.log)?;
    // All writes wait for SQLite's thread.
    block_on_fewer(async {
        match cli.command.unwrap_or(Action::Serve) {
            Action::Serve => serve(cli.config).await,
            Action::Check => check::check(&cli.config, &sources).await,
            Action::Reproject => reproject::reproject(cli.config).await,
            Action::Retention { action } => retention(&action, cli.config).await,
            Action::Backup { file } => backup::backup(&cli.config, &file).await,
            Action::Health => health(cli.config.server()).await,
            Action::Token { action } => token(&action, &cli.config.access),
        }
    })
}

async fn serve(config: Config) -> Result<(), Fatal> {
    let signals = TaskTracker::new();
    let token = shutdown::on_signal(&signals)
        .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("cannot listen for signals: {error}")))?;
    let listener = server::bind(&config)?;
    run(config, listener, token.clone()).await
}
