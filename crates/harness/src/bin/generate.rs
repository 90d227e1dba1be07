//! `generate`: a database of many readings, as the API would have it after weeks, for benches and for looking around.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use clap::Parser;
use dados::Timestamp;
use harness::generate::{self, Options};
use harness::system::Api;

/// How many rows are stored between two lines that say so.
const PROGRESS_ROWS: u64 = 500_000;

/// Makes DIR/dados.db by posting readings to an API of its own; the same options give the same rows
#[derive(Parser)]
#[command(name = "generate", version)]
struct Cli {
    /// Directory for the database; made where it is not there
    dir: PathBuf,
    /// Readings
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    messages: u64,
    /// Topics, which have a reading in turn
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    topics: u64,
    /// Days that the readings are spread over
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    days: u64,
    /// When the first one was captured
    #[arg(long, default_value = "2026-10-01T00:00:00Z")]
    from: Timestamp,
    /// Of the values
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Fail where the API does not tell how far its projections are; without it, nobody waits for those it has not
    #[arg(long)]
    wait: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { dir, messages, topics, days, from, seed, wait } = Cli::parse();
    harness::install_tls();
    std::fs::create_dir_all(&dir)?;
    let database = dir.join("dados.db");
    ensure!(!database.exists(), "{} is there already", database.display());
    let options = Options { messages, topics, days, from, seed };
    let began = Instant::now();
    let mut api = Api::start(&dir).await?;
    generate::fill(&api.url(), &options, |stored| {
        if stored % PROGRESS_ROWS == 0 {
            eprintln!("{stored} rows, {:.0} s", began.elapsed().as_secs_f64());
        }
    })
    .await?;
    generate::projected(&api.url(), wait).await?;
    let seconds = began.elapsed().as_secs_f64();
    let ended = api.process()?.terminate()?;
    ensure!(ended.success(), "ponte-api: {ended}");
    let bytes = std::fs::metadata(&database)?.len();
    writeln!(std::io::stdout(), "{messages} rows, {bytes} bytes, {seconds:.1} s: {}", database.display())?;
    Ok(())
}
