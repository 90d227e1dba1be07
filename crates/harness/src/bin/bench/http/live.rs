//! What a thousand readers of new rows cost ingest: the same load with them and without, by turns.
//!
//! The load is that of `single`: one object a request, as many as go, which takes both processors. The readers are a
//! process of their own, on the same two processors, so that what they take is in the figure too. In one case ten of
//! them follow everything, and the others a topic each with about a row a second; in the other all follow everything,
//! which no machine could give them: then they are told what they miss.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use harness::process::Process;
use harness::system::Api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::load::Latency;
use super::turn::{self, Side};
use super::{request, single};
use crate::spread::Spread;
use crate::table::{Limit, Row, Table};
use crate::{Cli, progress};

/// The hidden first argument of this program that makes it the readers.
const ARGUMENT: &str = "live-readers";
const READERS: usize = 1_000;
/// Those of them that follow everything, in the first case.
const DASHBOARDS: usize = 10;
/// Topics that the others follow; one request in so many is of one of them.
const QUIET_TOPICS: usize = 50;
const QUIET_PART: usize = 1_000;
/// The sides of a round: nobody follows, or a thousand do, so many of them everything.
const CASES: [Option<usize>; 3] = [None, Some(DASHBOARDS), Some(READERS)];

/// One side of a round.
struct Figures {
    rows_per_s: f64,
    latency: Latency,
    /// Microseconds of a processor that the API took for a row.
    cpu_us: f64,
    readers: Option<Given>,
}

/// What readers were given, in all seconds of the load.
struct Given {
    rows: f64,
    missed: f64,
    cpu_share: f64,
    api_mib: f64,
}

type Round = [Figures; 3];

/// Measures the load alone, with mixed readers, and with readers of everything, in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let round = round(usize::from(number) % CASES.len()).await?;
        let ratio = |side: &Figures| side.rows_per_s / round[0].rows_per_s;
        progress(&format!("live {}: {:.2} ×, {:.2} ×", number + 1, ratio(&round[1]), ratio(&round[2])));
        rounds.push(round);
    }
    let limit = Limit::AtLeast { must: 0.9, aim: 0.95 };
    let work = format!("POST of one object, 64 connections, while {READERS} follow");
    for (what, case) in
        [(format!("{work}: {DASHBOARDS} everything, the others a topic each"), 1), (format!("{work} everything"), 2)]
    {
        let pairs: Vec<_> = rounds.iter().map(|round| (round[case].rows_per_s, round[0].rows_per_s)).collect();
        table.push(Row::rates(what, "rows/s", "nobody follows", &pairs, limit));
    }
    for (case, name) in ["alone", "mixed", "everything"].into_iter().enumerate() {
        let each = |figure: fn(&Figures) -> f64| rounds.iter().map(move |round| figure(&round[case]));
        table.explain("live", format!("{name}: p99 of a request, ms"), each(|side| side.latency.p99_ms));
        table.explain("live", format!("{name}: ponte-api: CPU µs a row"), each(|side| side.cpu_us));
        if name != "alone" {
            let given = |figure: fn(&Given) -> f64| {
                let values = rounds.iter().filter_map(|round| round[case].readers.as_ref()).map(figure);
                Spread::of(values).to_string()
            };
            progress(&format!(
                "live, {name}: rows given {}, missed by ids {}, CPUs of the readers {}, API MiB {}",
                given(|given| given.rows),
                given(|given| given.missed),
                given(|given| given.cpu_share),
                given(|given| given.api_mib),
            ));
        }
    }
    Ok(())
}

/// The same load on a fresh API each: with so many readers of everything among a thousand, or with none.
async fn round(first: usize) -> anyhow::Result<Round> {
    let dir = tempfile::tempdir()?;
    let mut servers = Vec::new();
    for (case, everything) in CASES.into_iter().enumerate() {
        let dir = dir.path().join(case.to_string());
        std::fs::create_dir(&dir)?;
        let more = [
            ("API_CONNECTIONS_MAX", "2000"),
            ("API_CONNECTIONS_PER_ADDRESS", "2000"),
            ("API_LIVE_READERS_MAX", "1000"),
        ];
        let mut api = Api::start_with(&dir, &more).await?;
        let readers = match everything {
            Some(everything) => Some(start(&mut api, &dir, everything).await?),
            None => None,
        };
        servers.push((api, readers));
    }
    let body = |number: usize| match number % QUIET_PART {
        0 => format!(r#"{{"topico":"quiet/{}","valor":{number}}}"#, number / QUIET_PART).into_bytes(),
        _ => single::body(number),
    };
    let host = servers[0].0.addr();
    let requests: Arc<[_]> =
        (0..QUIET_TOPICS * QUIET_PART).map(|number| request(host, "application/json", &body(number))).collect();
    let mut sides = Vec::new();
    for (api, readers) in &mut servers {
        let addr = api.addr();
        sides.push(Side::stopped(addr, api.process()?, readers.as_ref(), requests.clone())?);
    }
    turn::take(&mut sides, first).await?;
    let mut measured = Vec::new();
    for mut side in sides {
        let (latency, cpu_us) = (side.latency()?, side.micros_each(side.server_s));
        let figures = Figures { rows_per_s: side.rows_per_s(), latency, cpu_us, readers: None };
        measured.push((figures, side.answers, side.share(side.beside_s)));
    }
    let mut round = Vec::new();
    for ((api, readers), (mut figures, answers, cpu_share)) in servers.iter_mut().zip(measured) {
        let stored = api.rows().newest_id().await?;
        ensure!(stored == answers as i64, "{stored} rows of {answers} answers");
        if readers.is_some() {
            figures.readers = Some(given(api, cpu_share).await?);
        }
        round.push(figures);
    }
    round.try_into().map_err(|_| anyhow::anyhow!("a side is missing"))
}

async fn given(api: &mut Api, cpu_share: f64) -> anyhow::Result<Given> {
    let given = Given {
        rows: metric(api, "ponte_api_live_rows_sent_total").await?,
        missed: metric(api, "ponte_api_live_rows_missed_total").await?,
        cpu_share,
        api_mib: crate::mib(api.process()?.resident_kib_max()?),
    };
    ensure!(given.rows > 0.0, "nobody was given anything");
    ensure!(metric(api, "ponte_api_live_readers").await? == READERS as f64, "a reader was lost");
    Ok(given)
}

async fn metric(api: &Api, name: &str) -> anyhow::Result<f64> {
    let text = reqwest::get(format!("{}/metrics", api.url())).await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().parse()?)
}

/// Starts the readers and waits until all of them follow.
async fn start(api: &mut Api, dir: &Path, everything: usize) -> anyhow::Result<Process> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(ARGUMENT).arg(api.addr().to_string()).arg(everything.to_string());
    let mut process = Process::start("the readers", command, &dir.join("readers.log"))?;
    let api = &*api;
    let follow = async || {
        ensure!(process.is_running(), "the readers have ended:\n{}", process.log());
        Ok((metric(api, "ponte_api_live_readers").await? == READERS as f64).then_some(()))
    };
    harness::eventually("a thousand readers follow", harness::PATIENCE, follow).await?;
    Ok(process)
}

/// Whether the command line asks for the readers: where the API is, and how many of them follow everything.
pub(crate) fn asked(args: impl Iterator<Item = String>) -> Option<anyhow::Result<(SocketAddr, usize)>> {
    let mut args = args.skip(1);
    (args.next()? == ARGUMENT).then(|| {
        let (addr, everything) = (args.next().context("no address")?, args.next().context("no number")?);
        Ok((addr.parse()?, everything.parse()?))
    })
}

/// Follows until it is killed. It only drains: the tests look at every row.
pub(crate) async fn follow(addr: SocketAddr, everything: usize) -> anyhow::Result<()> {
    let mut readers = JoinSet::new();
    for number in 0..READERS {
        let query = match number {
            _ if number < everything => String::new(),
            _ if number % 2 == 0 => format!("?topico=quiet/{}", number % QUIET_TOPICS),
            _ => format!("?topico=quiet/{}/%23", number % QUIET_TOPICS),
        };
        readers.spawn(async move {
            let mut stream = TcpStream::connect(addr).await?;
            let request = format!("GET /dados/ao-vivo{query} HTTP/1.1\r\nhost: {addr}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut buffer = vec![0; 64 << 10];
            while stream.read(&mut buffer).await? > 0 {}
            anyhow::Ok(())
        });
    }
    while let Some(ended) = readers.join_next().await {
        ended??;
    }
    Ok(())
}
