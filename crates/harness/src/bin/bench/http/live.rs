//! What a thousand readers of new rows cost ingest: the same load with them and without.
//!
//! The load is that of `single`: one object a request, as many as go, which takes both processors. The readers are a
//! process of their own, on the same two processors, so that what they take is in the figure too. In one case ten of
//! them follow everything, and the others a topic each with about a row a second; in the other all follow everything,
//! which no machine could give them: then they are told what they miss.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::process::Process;
use harness::system::Api;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::load::{Latency, Load, Window};
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
/// Time for caches, allocators and SQLite's first pages, and how long each side is measured.
const WARM_UP: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(4);

/// One side of a round.
struct Side {
    rows_per_s: f64,
    latency: Latency,
    readers: Option<Given>,
}

/// What readers were given, in all seconds of the load.
struct Given {
    rows: f64,
    missed: f64,
    cpu_share: f64,
    api_mib: f64,
}

/// Measures the load alone, with mixed readers, and with readers of everything, in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let mut sides = [None, None, None];
        for turn in 0..sides.len() {
            let case = (turn + usize::from(number)) % sides.len();
            sides[case] = Some(side([None, Some(DASHBOARDS), Some(READERS)][case]).await?);
        }
        let [Some(alone), Some(mixed), Some(all)] = sides else { unreachable!("each case had its turn") };
        let ratio = |side: &Side| side.rows_per_s / alone.rows_per_s;
        progress(&format!("live {}: {:.2} ×, {:.2} ×", number + 1, ratio(&mixed), ratio(&all)));
        rounds.push((alone, mixed, all));
    }
    let limit = Limit::AtLeast { must: 0.9, aim: 0.95 };
    let work = format!("POST of one object, 64 connections, while {READERS} follow");
    for (what, side) in [
        (format!("{work}: {DASHBOARDS} everything, the others a topic each"), (|r| &r.1) as fn(&Round) -> &Side),
        (format!("{work} everything"), |r| &r.2),
    ] {
        let pairs: Vec<_> = rounds.iter().map(|round| (side(round).rows_per_s, round.0.rows_per_s)).collect();
        table.push(Row::rates(what, "rows/s", "nobody follows", &pairs, limit));
    }
    for (name, side) in [("alone", (|r| &r.0) as fn(&Round) -> &Side), ("mixed", |r| &r.1), ("everything", |r| &r.2)] {
        let each = |figure: fn(&Side) -> f64| rounds.iter().map(move |round| figure(side(round)));
        table.explain("live", format!("{name}: p99 of a request, ms"), each(|side| side.latency.p99_ms));
        if name != "alone" {
            let given = |figure: fn(&Given) -> f64| {
                let values = rounds.iter().filter_map(move |round| side(round).readers.as_ref()).map(figure);
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

type Round = (Side, Side, Side);

/// One load on a fresh API, with so many readers of everything among a thousand, or with none.
async fn side(everything: Option<usize>) -> anyhow::Result<Side> {
    let dir = tempfile::tempdir()?;
    let more = [("API_CONNECTIONS_MAX", "2000"), ("API_LIVE_READERS_MAX", "1000")];
    let mut api = Api::start_with(dir.path(), &more).await?;
    let addr = api.addr();
    let readers = match everything {
        Some(everything) => Some(start(&mut api, dir.path(), everything).await?),
        None => None,
    };
    let body = |number: usize| match number % QUIET_PART {
        0 => format!(r#"{{"topico":"quiet/{}","valor":{number}}}"#, number / QUIET_PART).into_bytes(),
        _ => single::body(number),
    };
    let requests = (0..QUIET_TOPICS * QUIET_PART).map(|number| request(addr, "application/json", &body(number)));
    let window = Window::after(WARM_UP, LENGTH);
    let requests = requests.collect();
    let load = Load { addr, requests, connections: single::CONNECTIONS, requests_max: usize::MAX, window }.start()?;
    sleep_until(window.from.into()).await;
    let cpu_before = readers.as_ref().map(Process::cpu_seconds).transpose()?;
    sleep_until(window.to.into()).await;
    let cpu_after = readers.as_ref().map(Process::cpu_seconds).transpose()?;
    let mut sent = load.wait().await?;
    let stored = api.rows().newest_id().await?;
    ensure!(stored == sent.answers as i64, "{stored} rows of {} answers", sent.answers);
    let given = match (cpu_before, cpu_after) {
        (Some(before), Some(after)) => Some(Given {
            rows: metric(&api, "ponte_api_live_rows_sent_total").await?,
            missed: metric(&api, "ponte_api_live_rows_missed_total").await?,
            cpu_share: (after - before) / window.seconds(),
            api_mib: crate::mib(api.process()?.resident_kib_max()?),
        }),
        _ => None,
    };
    if let Some(given) = &given {
        ensure!(given.rows > 0.0, "nobody was given anything");
        ensure!(metric(&api, "ponte_api_live_readers").await? == READERS as f64, "a reader was lost");
    }
    Ok(Side {
        rows_per_s: sent.micros.len() as f64 / window.seconds(),
        latency: Latency::of(&mut sent.micros)?,
        readers: given,
    })
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
