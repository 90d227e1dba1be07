//! A TCP proxy that does to connections what a bad network does: cuts them, holds them still, slows them down.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// What one read takes at most: with a delay, also what limits the rate.
const CHUNK_BYTES: usize = 16 << 10;
/// Chunks on their way in one direction.
const CHUNKS_AHEAD_MAX: usize = 64;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From the client that connected.
    ToServer,
    /// Back to it.
    ToClient,
}

/// What the network is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Nothing passes to the server; the connections stay.
    pub holds_to_server: bool,
    /// Nothing passes to the client; the connections stay.
    pub holds_to_client: bool,
    /// Before each chunk of at most 16 KiB.
    pub delay: Duration,
}

impl Weather {
    fn holds(&self, way: Way) -> bool {
        match way {
            Way::ToServer => self.holds_to_server,
            Way::ToClient => self.holds_to_client,
        }
    }
}

/// Sees every chunk with its connection's number, in order, once it was sent and before it arrives.
pub type Tap = Arc<dyn Fn(u64, Way, &[u8]) + Send + Sync>;

/// Passes bytes on in both directions until it is told to cut; it stops when dropped.
pub struct Proxy {
    addr: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
    weather: watch::Sender<Weather>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port of loopback in front of `target`.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        Self::tapped(target, Arc::new(|_, _, _| {})).await
    }

    /// The same, with somebody who listens.
    pub async fn tapped(target: SocketAddr, tap: Tap) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the proxy's port")?;
        let addr = listener.local_addr()?;
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let open = connections.clone();
        let (weather, forecast) = watch::channel(Weather::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let numbers = AtomicU64::new(1);
            while let Ok((client, _)) = listener.accept().await {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                let (tap, forecast) = (tap.clone(), forecast.clone());
                let mut open = open.lock().expect("no holder panics");
                while open.try_join_next().is_some() {}
                open.spawn(async move {
                    if let Ok(server) = TcpStream::connect(target).await {
                        pass_both_ways(client, server, number, tap, forecast).await;
                    }
                });
            }
        });
        Ok(Self { addr, connections, weather, _accepting: accepting })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Drops every open connection with whatever is on its way; new ones are taken again at once.
    pub fn cut(&self) {
        self.connections.lock().expect("no holder panics").abort_all();
    }

    /// Changes the weather for open and new connections.
    pub fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.weather.send_modify(change);
    }
}

async fn pass_both_ways(
    client: TcpStream,
    server: TcpStream,
    number: u64,
    tap: Tap,
    forecast: watch::Receiver<Weather>,
) {
    // Small packets both ways: waiting for more of them would be the proxy's own delay.
    let _ = client.set_nodelay(true).and(server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = pass(from_client, to_server, number, Way::ToServer, &tap, forecast.clone());
    let down = pass(from_server, to_client, number, Way::ToClient, &tap, forecast);
    // A side that fails ends both; a side that has ended lets the other finish.
    let _ = tokio::try_join!(up, down);
}

/// Reading and writing are apart, so that the tap hears what was sent into a connection that is held still.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    number: u64,
    way: Way,
    tap: &Tap,
    mut forecast: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let (ahead, mut behind) = mpsc::channel::<Vec<u8>>(CHUNKS_AHEAD_MAX);
    let read = async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = from.read(&mut chunk).await?;
            if length == 0 {
                return Ok(());
            }
            tap(number, way, &chunk[..length]);
            if ahead.send(chunk[..length].to_vec()).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        loop {
            let chunk = behind.recv().await;
            // An end is held back too: who sits behind a dead router hears nothing of it.
            let delay = match forecast.wait_for(|weather| !weather.holds(way)).await {
                Ok(weather) => weather.delay,
                Err(_) => return Ok(()),
            };
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            match chunk {
                Some(chunk) => to.write_all(&chunk).await?,
                None => return to.shutdown().await,
            }
        }
    };
    tokio::try_join!(read, write).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy in front of somebody who sends everything back, and a connection through it.
    async fn echo(heard: Arc<Mutex<Vec<u8>>>) -> (Proxy, TcpStream, JoinSet<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let target = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut from, mut to) = stream.split();
            let _ = tokio::io::copy(&mut from, &mut to).await;
        });
        let tap = move |_, way, bytes: &[u8]| {
            if way == Way::ToServer {
                heard.lock().unwrap().extend_from_slice(bytes);
            }
        };
        let proxy = Proxy::tapped(target, Arc::new(tap)).await.unwrap();
        let client = TcpStream::connect(proxy.addr()).await.unwrap();
        (proxy, client, tasks)
    }

    async fn read(client: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        client.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn what_is_held_is_heard_at_once_and_arrives_when_it_is_let_go() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (proxy, mut client, _tasks) = echo(heard.clone()).await;
        client.write_all(b"one").await.unwrap();
        assert_eq!(read(&mut client, 3).await, b"one");
        proxy.change(|weather| weather.holds_to_server = true);
        client.write_all(b"two").await.unwrap();
        let is_heard = async || Ok((*heard.lock().unwrap() == b"onetwo").then_some(()));
        crate::eventually("the tap hears it", crate::PATIENCE, is_heard).await.unwrap();
        assert!(client.try_read(&mut [0; 8]).is_err(), "nothing passes");
        proxy.change(|weather| *weather = Weather { delay: Duration::from_millis(1), ..Weather::default() });
        assert_eq!(read(&mut client, 3).await, b"two");
    }

    #[tokio::test]
    async fn a_cut_takes_what_is_held() {
        let (proxy, mut client, _tasks) = echo(Arc::default()).await;
        client.write_all(b"one").await.unwrap();
        assert_eq!(read(&mut client, 3).await, b"one");
        proxy.change(|weather| weather.holds_to_client = true);
        client.write_all(b"two").await.unwrap();
        proxy.cut();
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{rest:?}");
    }
}
