//! Drains the same backlog with `mosquitto_sub` and with the whole system, in turn, and compares.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harness::broker::mosquitto::{self, Mosquitto};
use harness::publish::publish;
use harness::system::{Api, Subscriber};

use super::{line, message};

const REFERENCE_TOPIC: &str = "bench/#";
/// Far more than a drain takes.
const DRAIN_PATIENCE: Duration = Duration::from_secs(300);

/// One round's figures.
struct Round {
    reference_s: f64,
    ours_s: f64,
    subscriber_kib: u64,
    api_kib: u64,
}

/// Measures both in each round, and prints medians.
pub(crate) async fn compare(messages: usize, rounds: usize) -> anyhow::Result<()> {
    let mut measured = Vec::new();
    for round in 1..=rounds {
        let figures = drain(messages).await?;
        line(&format!(
            "round {round}: mosquitto_sub {:.2} s, ponte {:.2} s, ratio {:.2}",
            figures.reference_s,
            figures.ours_s,
            figures.reference_s / figures.ours_s
        ));
        measured.push(figures);
    }
    let rate = |seconds: f64| messages as f64 / seconds;
    let reference = median(measured.iter().map(|round| rate(round.reference_s)));
    let ours = median(measured.iter().map(|round| rate(round.ours_s)));
    let ratio = median(measured.iter().map(|round| round.reference_s / round.ours_s));
    let peak = |kib: fn(&Round) -> u64| measured.iter().map(kib).max().unwrap_or_default() / 1024;
    line(&format!("\nbacklog of {messages} QoS 1 messages of 80 B, medians of {rounds} rounds"));
    line(&format!("  mosquitto_sub to /dev/null       {reference:>9.0} msg/s"));
    line(&format!("  broker to readable row, fsync on {ours:>9.0} msg/s   {ratio:.2} × mosquitto_sub"));
    line(&format!(
        "  peak resident memory: subscriber {} MiB, API {} MiB",
        peak(|round| round.subscriber_kib),
        peak(|round| round.api_kib)
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
