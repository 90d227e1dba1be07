//! Many rows a request, as the subscriber sends them, against a loop of prepared inserts without HTTP.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use dados::{NovoDado, Timestamp, Valor};
use harness::system::Api;

use super::bare::{self, Took};
use super::load::{Latency, Load, Window};
use super::{Figures, request};
use crate::table::{Limit, Table};
use crate::{Cli, message, progress};

const CONNECTIONS: usize = 4;
/// Rows a request at ours, and a transaction at the reference.
const ROWS_PER_REQUEST: usize = 2_000;
/// Rows of a round; their bodies are all built before the clock starts, some 200 bytes each.
pub(crate) const ROWS: usize = 400_000;
/// Far more than a round takes.
const PATIENCE: Duration = Duration::from_secs(300);
/// When the first row was captured: 2026-11-23T03:21:45.678Z; each follows a millisecond after the one before.
const CAPTURED_MS: i64 = 1_795_404_105_678;

/// Ours, from the first byte until all rows are readable.
pub(crate) struct Ours {
    pub(crate) seconds: f64,
    latency: Latency,
    server_s: f64,
    generator_s: f64,
}

/// Measures both in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let figures = round(ROWS, number % 2 == 1).await?;
        progress(&format!("bulk {}: {}", number + 1, figures.summary()));
        rounds.push(figures);
    }
    let work = format!("POST of NDJSON, {ROWS_PER_REQUEST} rows a request, {CONNECTIONS} connections");
    super::tell(table, "bulk", work, "a bare loop of inserts", Limit::AtLeast { must: 0.7, aim: 1.0 }, &rounds);
    Ok(())
}

/// One round of so many rows on each side, each with fresh processes and files.
async fn round(rows: usize, ours_first: bool) -> anyhow::Result<Figures> {
    let (ours, reference) = if ours_first {
        let ours = ours(rows).await?;
        (ours, reference(rows).await?)
    } else {
        let reference = reference(rows).await?;
        (ours(rows).await?, reference)
    };
    Ok(Figures {
        ours: rows as f64 / ours.seconds,
        reference: rows as f64 / reference.seconds,
        ours_latency: ours.latency,
        reference_latency: None,
        cpu_us: vec![
            ("ponte-api", ours.server_s * 1e6 / rows as f64),
            ("load on ponte-api", ours.generator_s * 1e6 / rows as f64),
            ("bare inserts", reference.cpu_seconds * 1e6 / rows as f64),
        ],
    })
}

async fn ours(rows: usize) -> anyhow::Result<Ours> {
    let dir = tempfile::tempdir()?;
    post(&mut Api::start(dir.path()).await?, rows).await
}

/// Posts so many rows to an API that may have rows already.
pub(crate) async fn post(api: &mut Api, rows: usize) -> anyhow::Result<Ours> {
    let addr = api.addr();
    let before = api.rows().newest_id().await?;
    let dados = (0..rows).map(novo).collect::<Result<Vec<_>, _>>()?;
    let bodies = dados.chunks(ROWS_PER_REQUEST).map(body).collect::<Result<Vec<_>, _>>()?;
    let requests: Arc<[_]> = bodies.iter().map(|body| request(addr, "application/x-ndjson", body)).collect();
    drop((dados, bodies));
    let requests_max = requests.len();

    let cpu_before = api.process()?.cpu_seconds()?;
    let began = Instant::now();
    let window = Window { from: began, to: began + PATIENCE };
    let mut sent = Load { addr, requests, connections: CONNECTIONS, requests_max, window }.start()?.wait().await?;
    ensure!(sent.answers == requests_max, "{} answers of {requests_max} requests", sent.answers);
    let stored = api.rows().newest_id().await?;
    ensure!(stored == before + rows as i64, "{stored} rows of {before} and {rows}");
    let seconds = began.elapsed().as_secs_f64();
    let server_s = api.process()?.cpu_seconds()? - cpu_before;
    Ok(Ours { seconds, latency: Latency::of(&mut sent.micros)?, server_s, generator_s: sent.cpu_seconds })
}

async fn reference(rows: usize) -> anyhow::Result<Took> {
    let dir = tempfile::tempdir()?;
    let mut api = Api::start(dir.path()).await?;
    let database = api.database();
    let ended = api.process()?.terminate()?;
    ensure!(ended.success(), "ponte-api: {ended}");
    let insert = move || {
        let dados = (0..rows).map(novo).collect::<Result<Vec<_>, _>>()?;
        bare::insert(&database, &dados, ROWS_PER_REQUEST)
    };
    tokio::task::spawn_blocking(insert).await?
}

/// The same reading as in the backlog, with all that the subscriber knows of a message.
fn novo(number: usize) -> anyhow::Result<NovoDado<'static>> {
    let message = message(number);
    Ok(NovoDado {
        valor: Valor(Cow::Owned(String::from_utf8(message.payload)?)),
        topico: Some(Cow::Owned(message.topic)),
        timestamp: Some(Timestamp::from_ms(CAPTURED_MS + number as i64)?),
        qos: Some(1),
        retido: Some(false),
        dup: Some(false),
        formato: None,
        hora_corrigida: None,
    })
}

fn body(dados: &[NovoDado<'_>]) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::new();
    for novo in dados {
        serde_json::to_writer(&mut body, novo)?;
        body.push(b'\n');
    }
    Ok(body)
}
