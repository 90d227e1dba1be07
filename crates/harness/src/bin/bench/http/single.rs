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
/// Time for caches, allocators and SQLite's first pages, before what is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// The same where it goes on: for its connections, and for the processor's clock.
const RESUME: Duration = Duration::from_millis(250);
/// The two sides take turns, since what a shared machine has to give changes within seconds.
const TURNS: usize = 4;
const TURN: Duration = Duration::from_secs(1);
/// Different requests; a multiple of the topics.
const REQUESTS: usize = 1_000;

/// One side of a round, which has the machine to itself in its turns: outside of them it is stopped.
struct Side<'p> {
    addr: SocketAddr,
    server: &'p Process,
    /// All answers.
    answers: usize,
    /// What those took that were measured, in microseconds.
    micros: Vec<u32>,
    server_s: f64,
    generator_s: f64,
}

/// Measures both in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let figures = round(number % 2 == 1).await?;
        progress(&format!("single {}: {}", number + 1, figures.summary()));
        rounds.push(figures);
    }
    let work = format!("POST of one object, {CONNECTIONS} connections, durable");
    super::tell(table, "single", work, "an empty handler", Limit::AtLeast { must: 0.5, aim: 0.8 }, &rounds);
    Ok(())
}

/// One round, with fresh processes and files.
async fn round(ours_first: bool) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let mut api = Api::start(dir.path()).await?;
    let (empty_addr, empty) = empty::start(dir.path()).await?;
    let addr = api.addr();
    let (mut ours, mut reference) = (Side::stopped(addr, api.process()?)?, Side::stopped(empty_addr, &empty)?);
    for turn in 0..TURNS {
        let warm_up = if turn == 0 { WARM_UP } else { RESUME };
        let sides = if ours_first { [&mut ours, &mut reference] } else { [&mut reference, &mut ours] };
        for side in sides {
            side.turn(warm_up).await?;
        }
    }
    ours.server.signal("CONT")?;
    let figures = Figures {
        ours: ours.rows_per_s(),
        reference: reference.rows_per_s(),
        cpu_us: vec![
            ("ponte-api", ours.micros_each(ours.server_s)),
            ("load on ponte-api", ours.micros_each(ours.generator_s)),
            ("empty handler", reference.micros_each(reference.server_s)),
            ("load on empty handler", reference.micros_each(reference.generator_s)),
        ],
        ours_latency: Latency::of(&mut ours.micros)?,
        reference_latency: Some(Latency::of(&mut reference.micros)?),
    };
    let answers = ours.answers;
    let stored = api.rows().newest_id().await?;
    ensure!(stored == answers as i64, "{stored} rows of {answers} answers");
    Ok(figures)
}

impl<'p> Side<'p> {
    fn stopped(addr: SocketAddr, server: &'p Process) -> anyhow::Result<Self> {
        server.signal("STOP")?;
        Ok(Self { addr, server, answers: 0, micros: Vec::new(), server_s: 0.0, generator_s: 0.0 })
    }

    async fn turn(&mut self, warm_up: Duration) -> anyhow::Result<()> {
        let Self { addr, server, .. } = *self;
        server.signal("CONT")?;
        let requests = (0..REQUESTS).map(|number| request(addr, "application/json", &body(number))).collect();
        let window = Window::after(warm_up, TURN);
        let load = Load { addr, requests, connections: CONNECTIONS, requests_max: usize::MAX, window };
        let running = load.start()?;
        sleep_until(window.from.into()).await;
        let before = server.cpu_seconds()?;
        sleep_until(window.to.into()).await;
        self.server_s += server.cpu_seconds()? - before;
        let sent = running.wait().await?;
        server.signal("STOP")?;
        self.answers += sent.answers;
        self.micros.extend(sent.micros);
        self.generator_s += sent.cpu_seconds;
        Ok(())
    }

    fn rows_per_s(&self) -> f64 {
        self.micros.len() as f64 / (TURNS as f64 * TURN.as_secs_f64())
    }

    /// Microseconds of a processor an answer.
    fn micros_each(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.micros.len() as f64
    }
}

/// A reading as an HTTP client sends it: `valor` is JSON, not a text with JSON in it.
pub(super) fn body(number: usize) -> Vec<u8> {
    let topic = number % TOPICS;
    let valor = format!(r#"{{"temperatura":21.5,"umidade":55.0,"bateria":3.71,"contador":{number}}}"#);
    format!(r#"{{"topico":"bench/{topic}","valor":{valor}}}"#).into_bytes()
}
