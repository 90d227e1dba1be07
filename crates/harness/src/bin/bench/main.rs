//! `cargo bench-ponte`: what the whole system does, each figure beside a reference measured in the same run.
//!
//! - [`drain`]: a backlog at the broker, against `mosquitto_sub`; [`seed`]: and against the script it all began with
//! - [`http`]: single and bulk `POST /dados`, against an empty handler and a bare loop of inserts; and while a thousand
//!   follow new rows
//! - [`latency`]: from publish to readable row, against the disk's own sync
//! - [`readings`]: what is derived of the messages, whatever they look like
//! - [`growth`]: the rate on a table of ten million rows, against that on an empty one
//! - [`series`]: `GET /series`, against the same answer made of raw rows
//! - [`outage`]: memory while the API is away, and while it catches up
//! - [`idle`]: what the system costs while nothing happens, and how soon it is ready
//! - [`table`], [`spread`]: what is printed; [`syscalls`]: counted by strace

mod drain;
mod growth;
mod http;
mod idle;
mod latency;
mod outage;
mod readings;
mod seed;
mod series;
mod spread;
mod syscalls;
mod table;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use harness::broker::mosquitto;
use harness::publish::Outgoing;

use http::{empty, live};
use table::Table;

const TOPICS: usize = 50;

/// Measures the whole system; exits 1 where a limit of the contract is missed
#[derive(Parser)]
struct Cli {
    /// What to measure; all of it where none is named
    work: Vec<Work>,
    /// Rounds; each measures both, ours first in every other
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Messages in the backlog
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// Rows that the large table has
    #[arg(long, default_value_t = 10_000_000)]
    rows: i64,
    /// Readings that the database of the series has
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    series_rows: u64,
    /// Seconds of a round of latency: more than what is derived waits for at most, so that its cost is in the figure
    #[arg(long, default_value_t = 45)]
    latency_seconds: usize,
    /// Seconds of a round of messages of many fields
    #[arg(long, default_value_t = 600)]
    wide_seconds: usize,
    /// Messages that come while the API is away
    #[arg(long, default_value_t = 1_000_000)]
    outage_messages: usize,
    /// The Python that has paho-mqtt 2 and python-dotenv, for the seed's script
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// A line of the table, or a few that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Work {
    /// A backlog, from the broker to readable rows
    Drain,
    /// The same against the seed's script
    Seed,
    /// One object a request, 64 connections
    Single,
    /// NDJSON, 2,000 rows a request
    Bulk,
    /// One object a request while a thousand follow new rows
    Live,
    /// From publish to readable row
    Latency,
    /// The same with 16 fields a message, once: how far the readings are behind
    Wide,
    /// Readings derived while nothing comes
    Readings,
    /// On a table of many rows
    Growth,
    /// One field over 30 days
    Series,
    /// Memory while the API is away
    Outage,
    /// Doing nothing
    Idle,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    // The reference is a process of its own, as the API is one.
    if let Some(addr) = empty::asked(std::env::args()) {
        empty::serve(addr?).await?;
    }
    // So are those who follow new rows.
    if let Some(asked) = live::asked(std::env::args()) {
        let (addr, everything) = asked?;
        live::follow(addr, everything).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let cli = Cli::parse();
    harness::install_tls();
    ensure!(mosquitto::installed(), "this bench needs mosquitto");
    ensure!(
        cli.messages > 0 && cli.rows > 0 && cli.outage_messages > 0 && cli.latency_seconds > 1 && cli.wide_seconds > 1,
        "there must be something to measure"
    );
    let works = if cli.work.is_empty() { Work::value_variants() } else { &cli.work };
    let mut table = Table::default();
    for work in works {
        match work {
            Work::Drain => drain::measure(&cli, &mut table).await?,
            Work::Seed => seed::measure(&cli, &mut table).await?,
            Work::Single => http::single::measure(&cli, &mut table).await?,
            Work::Bulk => http::bulk::measure(&cli, &mut table).await?,
            Work::Live => live::measure(&cli, &mut table).await?,
            Work::Latency => latency::measure(&cli, &mut table).await?,
            Work::Wide => latency::measure_wide(&cli, &mut table).await?,
            Work::Readings => readings::measure(&cli, &mut table).await?,
            Work::Growth => growth::measure(&cli, &mut table).await?,
            Work::Series => series::measure(&cli, &mut table).await?,
            Work::Outage => outage::measure(&cli, &mut table).await?,
            Work::Idle => idle::measure(&cli, &mut table).await?,
        }
    }
    let text = if cli.json { format!("{:#}", table.json()) } else { table.markdown() };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(if table.is_missed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A reading of some 80 bytes.
fn message(number: usize) -> Outgoing {
    let payload = format!(r#"{{"temperatura":21.5,"umidade":55.0,"bateria":3.71,"contador":1{number:0>18}}}"#);
    Outgoing::new(format!("bench/{}", number % TOPICS), payload, 1)
}

/// A reading of 16 numbers.
fn wide_message(number: usize) -> Outgoing {
    let fields: Vec<String> =
        (0..16).map(|field| format!(r#""campo_{field:02}":{}.{}"#, 20 + (number + field) % 10, number % 10)).collect();
    Outgoing::new(format!("bench/{}", number % TOPICS), format!("{{{}}}", fields.join(",")), 1)
}

/// How far it is; standard output is for the result.
fn progress(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Of KiB.
fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
