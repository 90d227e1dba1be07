//! `cargo torture`: breaks the whole system for some minutes, and says whether every promise was kept.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use harness::broker::mosquitto;
use harness::torture::{self, Options};
use service::shutdown;
use tokio_util::task::TaskTracker;

/// Kills, cuts, freezes, slows and fills everything while messages flow, then compares the rows with what was promised
#[derive(Parser)]
#[command(name = "torture", version)]
struct Cli {
    /// How long things go wrong; fractions are taken too. The disks are in memory: a message takes about 1 kB
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Of messages and faults: the same seed gives the same; a random one where it is not set
    #[arg(long)]
    seed: Option<u64>,
    /// Messages a second
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    rate: u32,
    /// Kill the broker too; what it loses by that is told apart
    #[arg(long)]
    broker_kill: bool,
    /// Send under the subscriber's name too; the order of what it sends again is then not judged
    #[arg(long)]
    attacks: bool,
    /// Write down every message and acknowledgement between broker and subscriber
    #[arg(long)]
    wire_log: bool,
    /// Keep logs and data though the run passed
    #[arg(long)]
    keep: bool,
    /// Empty the spool once while messages wait in it, to see that the oracle notices
    #[arg(long)]
    sabotage: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    harness::install_tls();
    match run(cli).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(service::Exit::Software as u8)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(mosquitto::installed(), "this needs mosquitto");
    let length = Duration::try_from_secs_f64(cli.minutes * 60.0)?;
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let options = Options {
        rate: cli.rate,
        broker_kill: cli.broker_kill,
        attacks: cli.attacks,
        wire_log: cli.wire_log,
        keep: cli.keep,
        sabotage: cli.sabotage,
        ..Options::new(seed, length)
    };
    // Ctrl-C takes everything down, the disks too.
    let signals = TaskTracker::new();
    let token = shutdown::on_signal(&signals)?;
    eprintln!("seed {seed}: {} minutes of faults, then as long as it takes to settle", cli.minutes);
    let Some(report) = token.run_until_cancelled(torture::run(&options)).await else {
        anyhow::bail!("interrupted; the seed was {seed}");
    };
    let report = report.with_context(|| format!("the seed was {seed}"))?;
    // Standard output is what the table is for.
    let _ = write!(std::io::stdout(), "{report}");
    Ok(if report.failures().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
