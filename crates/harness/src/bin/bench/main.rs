//! `cargo bench-ponte`: what the whole system does, measured beside a reference in the same run.
//!
//! - [`drain`]: a backlog, against `mosquitto_sub`
//! - [`outage`]: memory while the API is away, and while it catches up

mod drain;
mod outage;

use std::io::Write as _;

use anyhow::ensure;
use clap::{Parser, Subcommand};
use harness::broker::mosquitto;
use harness::publish::Outgoing;

const TOPICS: usize = 50;

/// Measures the whole system
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    bench: Option<Bench>,
    /// Messages in the backlog
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// Rounds; each measures both
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

#[derive(Subcommand)]
enum Bench {
    /// Compare the drain of a backlog with `mosquitto_sub` (the default)
    Drain,
    /// Follow the memory over an outage of the API and the time after it
    Outage {
        /// Messages that come while the API is away
        #[arg(long, default_value_t = 1_000_000)]
        messages: usize,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    harness::install_tls();
    ensure!(mosquitto::installed(), "this bench needs mosquitto");
    match cli.bench.unwrap_or(Bench::Drain) {
        Bench::Drain => drain::compare(cli.messages, cli.rounds).await,
        Bench::Outage { messages } => outage::follow(messages).await,
    }
}

/// A reading of some 80 bytes.
fn message(number: usize) -> Outgoing {
    let payload = format!(r#"{{"temperatura":21.5,"umidade":55.0,"bateria":3.71,"contador":{number:0>20}}}"#);
    Outgoing::new(format!("bench/{}", number % TOPICS), payload, 1)
}

/// Standard output is what a bench is for.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
