//! Sides of a comparison that take turns, since what a shared machine has to give changes within seconds: the others
//! are stopped meanwhile.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use harness::process::Process;
use tokio::time::sleep_until;

use super::load::{Latency, Load, Window};

/// Connections that each ask again once they are answered.
pub(super) const CONNECTIONS: usize = 64;
/// How often each side has the machine, and for how long.
const TURNS: usize = 4;
const TURN: Duration = Duration::from_secs(1);
/// Time for caches, allocators and SQLite's first pages, before what is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// The same where it goes on: for its connections, and for the processor's clock.
const RESUME: Duration = Duration::from_millis(250);

/// One side, which has the machine to itself in its turns: a server, and a load of requests on it.
pub(super) struct Side<'p> {
    addr: SocketAddr,
    server: &'p Process,
    /// Another process that has part in it.
    beside: Option<&'p Process>,
    requests: Arc<[Vec<u8>]>,
    /// All answers.
    pub(super) answers: usize,
    /// What those took that were measured, in microseconds.
    micros: Vec<u32>,
    pub(super) server_s: f64,
    pub(super) beside_s: f64,
    pub(super) generator_s: f64,
}

impl<'p> Side<'p> {
    /// It stops the server until its first turn.
    pub(super) fn stopped(
        addr: SocketAddr,
        server: &'p Process,
        beside: Option<&'p Process>,
        requests: Arc<[Vec<u8>]>,
    ) -> anyhow::Result<Self> {
        server.signal("STOP")?;
        let (answers, micros) = (0, Vec::new());
        Ok(Self { addr, server, beside, requests, answers, micros, server_s: 0.0, beside_s: 0.0, generator_s: 0.0 })
    }

    async fn turn(&mut self, warm_up: Duration) -> anyhow::Result<()> {
        let (server, requests) = (self.server, self.requests.clone());
        let cpu = || anyhow::Ok((server.cpu_seconds()?, self.beside.map_or(Ok(0.0), Process::cpu_seconds)?));
        server.signal("CONT")?;
        let window = Window::after(warm_up, TURN);
        let load = Load { addr: self.addr, requests, connections: CONNECTIONS, requests_max: usize::MAX, window };
        let running = load.start()?;
        sleep_until(window.from.into()).await;
        let before = cpu()?;
        sleep_until(window.to.into()).await;
        let after = cpu()?;
        let sent = running.wait().await?;
        server.signal("STOP")?;
        self.server_s += after.0 - before.0;
        self.beside_s += after.1 - before.1;
        self.answers += sent.answers;
        self.micros.extend(sent.micros);
        self.generator_s += sent.cpu_seconds;
        Ok(())
    }

    /// Answers a second of its turns.
    pub(super) fn rows_per_s(&self) -> f64 {
        self.micros.len() as f64 / (TURNS as f64 * TURN.as_secs_f64())
    }

    /// Microseconds of a processor an answer.
    pub(super) fn micros_each(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.micros.len() as f64
    }

    /// Part of a processor, of so many seconds of it.
    pub(super) fn share(&self, seconds: f64) -> f64 {
        seconds / (TURNS as f64 * TURN.as_secs_f64())
    }

    pub(super) fn latency(&mut self) -> anyhow::Result<Latency> {
        Latency::of(&mut self.micros)
    }
}

/// Gives all sides their turns, the one with the number `first` first; then they go on.
pub(super) async fn take(sides: &mut [Side<'_>], first: usize) -> anyhow::Result<()> {
    for turn in 0..TURNS {
        let warm_up = if turn == 0 { WARM_UP } else { RESUME };
        for number in 0..sides.len() {
            let number = (first + number) % sides.len();
            sides[number].turn(warm_up).await?;
        }
    }
    sides.iter().try_for_each(|side| side.server.signal("CONT"))
}
