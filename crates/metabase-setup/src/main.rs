//! The program: settings → logs → runtime → what Metabase lacks → exit code.

use std::process::ExitCode;

use anyhow::anyhow;
use metabase_setup::config::Cli;
use metabase_setup::run;
use service::launch::{block_on, launch};
use service::settings::Parsed;
use service::{Exit, Fatal, shutdown, telemetry};
use tokio_util::task::TaskTracker;
use tracing::info;

fn main() -> ExitCode {
    launch(start)
}

fn start(Parsed { cli, .. }: Parsed<Cli>) -> Result<(), Fatal> {
    telemetry::init(&cli.log)?;
    let config = cli.settings.resolve()?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow!("a second TLS provider"))?;
    block_on(async {
        let signals = TaskTracker::new();
        let token = shutdown::on_signal(&signals)
            .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("cannot listen for signals: {error}")))?;
        // It may be cut off anywhere: the next run goes on where this one ended.
        let report = token.run_until_cancelled(run(&config)).await.unwrap_or_else(|| {
            Err(Fatal::new(Exit::Unavailable, "ended by a signal before everything was there; run it again"))
        })?;
        info!(made = report.made.len(), updated = report.updated.len(), left = report.left.len(), "done");
        if let Some(url) = report.url(&config) {
            info!(%url, "the dashboard is there; sign in with METABASE_EMAIL and its password");
        }
        Ok(())
    })
}
