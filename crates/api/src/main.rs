//! The program: settings → logs → runtime → what was asked for → exit code.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use ponte_api::config::{Action, Cli, Config};
use ponte_api::{check, run, server};
use service::exit::{Exit, Fatal, conclude};
use service::settings::{self, Parsed, Stop};
use service::{shutdown, telemetry};
use tokio_util::task::TaskTracker;

/// How long a thread that still parses a body may hold up the end.
const RUNTIME_GRACE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let parsed = match settings::parse::<Cli>() {
        Ok(parsed) => parsed,
        Err(Stop::Shown(text)) => {
            // A reader that went away (`| head`) is no failure.
            let _ = std::io::stdout().write_all(text.as_bytes());
            return ExitCode::SUCCESS;
        }
        Err(Stop::Failed(fatal)) => return conclude(Err(fatal)),
    };
    conclude(start(parsed))
}

fn start(Parsed { cli, sources }: Parsed<Cli>) -> Result<(), Fatal> {
    telemetry::init(&cli.log)?;
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(async {
        match cli.command.unwrap_or(Action::Serve) {
            Action::Serve => serve(cli.config).await,
            Action::Check => check::check(&cli.config, &sources).await,
            Action::Health => check::health(&cli.config).await,
        }
    });
    runtime.shutdown_timeout(RUNTIME_GRACE);
    result
}

async fn serve(config: Config) -> Result<(), Fatal> {
    let signals = TaskTracker::new();
    let token = shutdown::on_signal(&signals)
        .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("cannot listen for signals: {error}")))?;
    let listener = server::bind(&config)?;
    run(config, listener, token.clone()).await
}
