//! One row a request on many connections: durable answers of the API, against a handler that stores nothing.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::ensure;
use harness::process::Process;
use harness::system::Api;
use tokio::time::sleep_until;

use super::load::{Latency, Load, Window};
use super::{Figures, empty, request};
use crate::table::{Limit, Table};
use crate::{Cli, TOPICS, progress};

pub(super) const CONNECTIONS: usize = 64;
/// Time for caches, allocators and SQLite's first pages.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long each side is measured.
const LENGTH: Duration = Duration::from_secs(4);
/// Different requests; a multiple of the topics.
const REQUESTS: usize = 1_000;

/// One side of a round.
struct Side {
    rows_per_s: f64,
    latency: Latency,
    server_s: f64,
    generator_s: f64,
    answers: usize,
    /// Those within the window.
    measured: f64,
}

/// Measures both in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let figures = round(LENGTH, number % 2 == 1).await?;
        progress(&format!("single {}: {}", number + 1, figures.summary()));
        rounds.push(figures);
    }
    let work = format!("POST of one object, {CONNECTIONS} connections, durable");
    super::tell(table, "single", work, "an empty handler", Limit::AtLeast { must: 0.5, aim: 0.8 }, &rounds);
    Ok(())
}

/// One round; each side is measured for so long, with fresh processes and files.
async fn round(length: Duration, ours_first: bool) -> anyhow::Result<Figures> {
    let (ours, reference) = if ours_first {
        let ours = ours(length).await?;
        (ours, reference(length).await?)
    } else {
        let reference = reference(length).await?;
        (ours(length).await?, reference)
    };
    Ok(Figures {
        ours: ours.rows_per_s,
        reference: reference.rows_per_s,
        ours_latency: ours.latency,
        reference_latency: Some(reference.latency),
        cpu_us: vec![
            ("ponte-api", ours.server_s * 1e6 / ours.measured),
            ("load on ponte-api", ours.generator_s * 1e6 / ours.measured),
            ("empty handler", reference.server_s * 1e6 / reference.measured),
            ("load on empty handler", reference.generator_s * 1e6 / reference.measured),
        ],
    })
}

async fn ours(length: Duration) -> anyhow::Result<Side> {
    let dir = tempfile::tempdir()?;
    let mut api = Api::start(dir.path()).await?;
    let side = side(api.addr(), api.process()?, length).await?;
    let stored = api.rows().newest_id().await?;
    ensure!(stored == side.answers as i64, "{stored} rows of {} answers", side.answers);
    Ok(side)
}

async fn reference(length: Duration) -> anyhow::Result<Side> {
    let dir = tempfile::tempdir()?;
    let (addr, process) = empty::start(dir.path()).await?;
    side(addr, &process, length).await
}

async fn side(addr: SocketAddr, server: &Process, length: Duration) -> anyhow::Result<Side> {
    let requests = (0..REQUESTS).map(|number| request(addr, "application/json", &body(number))).collect();
    let window = Window::after(WARM_UP, length);
    let load = Load { addr, requests, connections: CONNECTIONS, requests_max: usize::MAX, window };
    let running = load.start()?;
    sleep_until(window.from.into()).await;
    let before = server.cpu_seconds()?;
    sleep_until(window.to.into()).await;
    let server_s = server.cpu_seconds()? - before;
    let sent = running.wait().await?;
    Ok(Side {
        rows_per_s: sent.measured as f64 / window.seconds(),
        latency: sent.latency,
        server_s,
        generator_s: sent.cpu_seconds,
        answers: sent.answers,
        measured: sent.measured as f64,
    })
}

/// A reading as an HTTP client sends it: `valor` is JSON, not a text with JSON in it.
pub(super) fn body(number: usize) -> Vec<u8> {
    let topic = number % TOPICS;
    let valor = format!(r#"{{"temperatura":21.5,"umidade":55.0,"bateria":3.71,"contador":{number}}}"#);
    format!(r#"{{"topico":"bench/{topic}","valor":{valor}}}"#).into_bytes()
}
