//! What the system costs while nothing happens, how soon it is ready, and how large it is.

use std::time::{Duration, Instant};

use harness::binaries::binaries;
use harness::broker::mosquitto::{Mosquitto, Options};
use harness::system::{Api, Subscriber};
use tokio::net::TcpStream;

use super::table::{Limit, Row, Table};
use super::{Cli, mib, progress};

/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Round {
    api_ready_ms: f64,
    subscriber_ready_ms: f64,
    api_percent: f64,
    subscriber_percent: f64,
    api_mib: f64,
    subscriber_mib: f64,
}

/// Starts the system, leaves it alone, and looks.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        progress(&format!("idle {}: {QUIET:?} of nothing", number + 1));
        rounds.push(round().await?);
    }
    let ready = Limit::AtMost { must: 300.0, aim: 100.0 };
    // One tick of the kernel's clock in twenty seconds is 0.05 %.
    let quiet = Limit::AtMost { must: 0.5, aim: 0.1 };
    let of = |of: fn(&Round) -> f64| rounds.iter().map(of);
    table.push(Row::figure("start to ready: API", "ms", of(|round| round.api_ready_ms), ready));
    table.push(Row::figure("start to ready: subscriber", "ms", of(|round| round.subscriber_ready_ms), ready));
    table.push(Row::figure("CPU with an open session and no traffic: API", "%", of(|round| round.api_percent), quiet));
    let work = "CPU with an open session and no traffic: subscriber";
    table.push(Row::figure(work, "%", of(|round| round.subscriber_percent), quiet));
    table.explain("idle", "API: memory, MiB", of(|round| round.api_mib));
    table.explain("idle", "subscriber: memory, MiB", of(|round| round.subscriber_mib));
    let binaries = binaries()?;
    for (name, path) in [("ponte-api", &binaries.api), ("ponte-subscriber", &binaries.subscriber)] {
        table.explain(
            "idle",
            format!("{name}: size of the program, MiB"),
            [mib(std::fs::metadata(path)?.len() / 1024)],
        );
    }
    Ok(())
}

async fn round() -> anyhow::Result<Round> {
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("broker");
    std::fs::create_dir(&store)?;
    let broker = Mosquitto::start(&store, Options::default()).await?;
    let mut round = Round::default();
    // A first start makes the database; the second is what is measured.
    let mut api = Api::start(dir.path()).await?;
    api.process()?.terminate()?;
    let began = Instant::now();
    api.launch()?;
    until_ready(api.addr()).await?;
    round.api_ready_ms = began.elapsed().as_secs_f64() * 1e3;
    let began = Instant::now();
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &[("MQTT_TOPICS", "bench/#:1")])?;
    until_ready(subscriber.status_addr()).await?;
    round.subscriber_ready_ms = began.elapsed().as_secs_f64() * 1e3;
    // What follows a start is over by then.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = (api.process()?.cpu_seconds()?, subscriber.process()?.cpu_seconds()?);
    tokio::time::sleep(QUIET).await;
    let percent = |seconds: f64| seconds * 100.0 / QUIET.as_secs_f64();
    round.api_percent = percent(api.process()?.cpu_seconds()? - before.0);
    round.subscriber_percent = percent(subscriber.process()?.cpu_seconds()? - before.1);
    round.api_mib = mib(api.process()?.resident_kib()?);
    round.subscriber_mib = mib(subscriber.process()?.resident_kib()?);
    Ok(round)
}

/// Asks `/readyz` until it is 200; every millisecond, since that is what is measured.
async fn until_ready(addr: std::net::SocketAddr) -> anyhow::Result<()> {
    let began = Instant::now();
    let url = format!("http://{addr}/readyz");
    while began.elapsed() < harness::PATIENCE {
        // Nobody listens yet, most of the time: a connection alone is cheaper to try than a request.
        if TcpStream::connect(addr).await.is_ok()
            && reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success())
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    anyhow::bail!("{addr} is not ready")
}
