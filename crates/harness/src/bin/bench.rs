//! `cargo bench-ponte`: drains the same backlog with `mosquitto_sub` and with the whole system, and compares.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use harness::broker::mosquitto::{self, Mosquitto};
use harness::publish::{Outgoing, publish};
use harness::system::{Api, Subscriber};

const TOPICS: usize = 50;
const REFERENCE_TOPIC: &str = "bench/#";
/// Far more than a drain takes.
const DRAIN_PATIENCE: Duration = Duration::from_secs(300);

/// Compares the whole system with `mosquitto_sub` on the same backlog of QoS 1 messages, in turn
#[derive(Parser)]
struct Cli {
    /// Messages in the backlog
    #[arg(long, default_value_t = 200_000)]
    messages: usize,
    /// Rounds; each measures both
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

/// One round's figures.
struct Round {
    reference_s: f64,
    ours_s: f64,
    subscriber_kib: u64,
    api_kib: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    harness::install_tls();
    ensure!(mosquitto::installed(), "this bench needs mosquitto");
    let mut rounds = Vec::new();
    for round in 1..=cli.rounds {
        let measured = drain(cli.messages).await?;
        line(&format!(
            "round {round}: mosquitto_sub {:.2} s, ponte {:.2} s, ratio {:.2}",
            measured.reference_s,
            measured.ours_s,
            measured.reference_s / measured.ours_s
        ));
        rounds.push(measured);
    }
    let rate = |seconds: f64| cli.messages as f64 / seconds;
    let reference = median(rounds.iter().map(|round| rate(round.reference_s)));
    let ours = median(rounds.iter().map(|round| rate(round.ours_s)));
    let ratio = median(rounds.iter().map(|round| round.reference_s / round.ours_s));
    let peak = |kib: fn(&Round) -> u64| rounds.iter().map(kib).max().unwrap_or_default() / 1024;
    line(&format!("\nbacklog of {} QoS 1 messages of 80 B, medians of {} rounds", cli.messages, cli.rounds));
    line(&format!("  mosquitto_sub to /dev/null       {reference:>9.0} msg/s"));
    line(&format!("  broker to readable row, fsync on {ours:>9.0} msg/s   {ratio:.2} × mosquitto_sub"));
    line(&format!(
        "  peak resident memory: subscriber {} MiB, API {} MiB",
        peak(|r| r.subscriber_kib),
        peak(|r| r.api_kib)
    ));
    Ok(())
}

/// A fresh broker, two sessions that queue the same messages, and the time that each takes to get them all.
async fn drain(messages: usize) -> anyhow::Result<Round> {
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("broker");
    std::fs::create_dir(&store)?;
    let broker = Mosquitto::start(&store, mosquitto::Options::default()).await?;
    let mut api = Api::start(dir.path()).await?;
    let settings = [("MQTT_TOPICS", "bench/#:1")];
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &settings)?;
    subscriber.ready().await?;
    subscriber.process()?.terminate()?;
    run(reference(broker.addr()).arg("-E"))?;

    let message = |number: usize| {
        let payload = format!(r#"{{"temperatura":21.5,"umidade":55.0,"bateria":3.71,"contador":{number:0>20}}}"#);
        Outgoing::new(format!("bench/{}", number % TOPICS), payload, 1)
    };
    publish(broker.addr(), (0..messages).map(message).collect()).await?;

    let began = Instant::now();
    run(reference(broker.addr()).arg("-C").arg(messages.to_string()))?;
    let reference_s = began.elapsed().as_secs_f64();

    let began = Instant::now();
    subscriber.restart()?;
    let rows = api.rows();
    let all = async || Ok((rows.newest_id().await? >= messages as i64).then_some(()));
    harness::eventually("all rows are readable", DRAIN_PATIENCE, all).await?;
    let ours_s = began.elapsed().as_secs_f64();
    let stored = rows.newest_id().await?;
    ensure!(stored == messages as i64, "{stored} rows of {messages} messages");
    let subscriber_kib = subscriber.process()?.resident_kib_max()?;
    let api_kib = api.process()?.resident_kib_max()?;
    Ok(Round { reference_s, ours_s, subscriber_kib, api_kib })
}

/// `mosquitto_sub` with a session of its own.
fn reference(broker: SocketAddr) -> Command {
    let mut command = Command::new("mosquitto_sub");
    command.args(["-V", "5", "-c", "-i", "reference", "-q", "1", "-x", "3600", "-t", REFERENCE_TOPIC]);
    command.args(["-h", "127.0.0.1", "-p"]).arg(broker.port().to_string()).stdout(Stdio::null());
    command
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    let status = command.status().with_context(|| program.clone())?;
    if status.success() { Ok(()) } else { bail!("{program}: {status}") }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Standard output is what a bench is for.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
