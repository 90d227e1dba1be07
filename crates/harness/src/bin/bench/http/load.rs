//! A closed loop of HTTP requests, cheap enough that it is not what is measured: one thread, prebuilt bytes, one write
//! a request.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harness::process::thread_cpu_seconds;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout_at};

use super::answer;

/// How long after the end the answers that are still due may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of an answer; ours have some 300.
const ANSWER_BYTES_MAX: usize = 8 << 10;
/// What every answer must be.
const CREATED: u16 = 201;

/// What to send, and for how long.
pub(super) struct Load {
    pub(super) addr: SocketAddr,
    /// Sent in turn, by whichever connection is free, and again from the first.
    pub(super) requests: Arc<[Vec<u8>]>,
    pub(super) connections: usize,
    /// No request is sent after so many, nor after the window's end.
    pub(super) requests_max: usize,
    /// Only what is answered within it is measured.
    pub(super) window: Window,
}

/// Where the clock runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) from: Instant,
    pub(super) to: Instant,
}

impl Window {
    /// From now plus `warm_up` on.
    pub(super) fn after(warm_up: Duration, length: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Self { from, to: from + length }
    }
}

/// What has become of a load.
pub(super) struct Sent {
    /// All answers, from the first request on.
    pub(super) answers: usize,
    /// What those within the window took, in microseconds.
    pub(super) micros: Vec<u32>,
    /// What the generator itself took of a processor within the window.
    pub(super) cpu_seconds: f64,
}

/// From the write of a request to the last byte of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    /// Half of them took no longer.
    pub(crate) p50_ms: f64,
    /// 99 of 100 took no longer.
    pub(crate) p99_ms: f64,
}

impl Load {
    /// Runs on a thread of its own, so that nothing else of this process holds up a request.
    pub(super) fn start(self) -> anyhow::Result<Running> {
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(self.run())
        };
        Ok(Running(std::thread::Builder::new().name("load".to_owned()).spawn(run)?))
    }

    async fn run(self) -> anyhow::Result<Sent> {
        let window = self.window;
        let end = (window.to + PATIENCE).into();
        let (load, next) = (Arc::new(self), Arc::new(AtomicUsize::new(0)));
        let mut connections = JoinSet::new();
        for _ in 0..load.connections {
            connections.spawn(connection(load.clone(), next.clone()));
        }
        // The connections are tasks of their own: they run meanwhile.
        sleep_until(window.from.into()).await;
        let cpu_before = thread_cpu_seconds()?;
        let mut answered = pin!(answered(connections));
        let early = timeout_at(window.to.into(), &mut answered).await;
        let cpu_seconds = thread_cpu_seconds()? - cpu_before;
        let (answers, micros) = match early {
            Ok(all) => all?,
            Err(_) => timeout_at(end, answered).await.context("answers are missing")??,
        };
        Ok(Sent { answers, micros, cpu_seconds })
    }
}

/// How many answers, and the microseconds that each within the window took.
type Answered = (usize, Vec<u32>);

/// A load under way.
pub(super) struct Running(JoinHandle<anyhow::Result<Sent>>);

impl Running {
    /// Waits for the last answer; it has an end of its own.
    pub(super) async fn wait(self) -> anyhow::Result<Sent> {
        let join = tokio::task::spawn_blocking(|| self.0.join());
        match join.await? {
            Ok(result) => result,
            Err(_) => bail!("the load generator has panicked"),
        }
    }
}

impl Latency {
    /// Of at least one answer.
    pub(super) fn of(micros: &mut [u32]) -> anyhow::Result<Self> {
        ensure!(!micros.is_empty(), "nothing was answered while the clock ran");
        micros.sort_unstable();
        let at = |share: usize| f64::from(micros[(micros.len() * share).div_ceil(100) - 1]) / 1000.0;
        Ok(Self { p50_ms: at(50), p99_ms: at(99) })
    }
}

/// What all connections have to say, once the last of them has ended.
async fn answered(mut connections: JoinSet<anyhow::Result<Answered>>) -> anyhow::Result<Answered> {
    let (mut answers, mut micros) = (0, Vec::new());
    while let Some(joined) = connections.join_next().await {
        let (of_connection, measured) = joined.context("a connection's task")??;
        answers += of_connection;
        micros.extend(measured);
    }
    Ok((answers, micros))
}

async fn connection(load: Arc<Load>, next: Arc<AtomicUsize>) -> anyhow::Result<Answered> {
    let mut stream = TcpStream::connect(load.addr).await.context("no connection")?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; ANSWER_BYTES_MAX];
    let (mut answers, mut micros) = (0, Vec::new());
    let mut now = Instant::now();
    while now < load.window.to {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= load.requests_max {
            break;
        }
        let sent = now;
        exchange(&mut stream, &load.requests[number % load.requests.len()], &mut buffer).await?;
        now = Instant::now();
        answers += 1;
        if (load.window.from..=load.window.to).contains(&now) {
            micros.push(u32::try_from((now - sent).as_micros()).unwrap_or(u32::MAX));
        }
    }
    Ok((answers, micros))
}

async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut [u8]) -> anyhow::Result<()> {
    stream.write_all(request).await?;
    let (answer, received) = receive(stream, buffer).await?;
    ensure!(answer.status == CREATED, "not {CREATED}: {}", String::from_utf8_lossy(&buffer[..received]));
    Ok(())
}

/// Reads one whole answer, which is all that comes; gives how much it is.
async fn receive(stream: &mut TcpStream, buffer: &mut [u8]) -> anyhow::Result<(answer::Answer, usize)> {
    let mut received = 0;
    loop {
        let read = stream.read(&mut buffer[received..]).await?;
        ensure!(read > 0, "the server left, or its answer is larger than {} bytes", buffer.len());
        received += read;
        if let Some(answer) = answer::read(&buffer[..received])? {
            let text = || String::from_utf8_lossy(&buffer[..received]).into_owned();
            ensure!(answer.length == received, "more than one answer: {}", text());
            return Ok((answer, received));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let latency = |micros: &[u32]| Latency::of(&mut micros.to_vec()).map(|it| (it.p50_ms, it.p99_ms));
        assert!(latency(&[]).is_err());
        assert_eq!(latency(&[7000]).unwrap(), (7.0, 7.0));
        let hundred: Vec<u32> = (1..=100).rev().map(|ms| ms * 1000).collect();
        assert_eq!(latency(&hundred).unwrap(), (50.0, 99.0));
    }
}
