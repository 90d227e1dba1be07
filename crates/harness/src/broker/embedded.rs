//! A broker inside this process: rumqttd behind one loopback port that speaks MQTT 3.1.1 and 5.
//!
//! It is meant for the demo. Sessions, queued and retained messages live in memory: they outlast a client's absence but
//! not this process, and sessions never expire. It has no TLS and asks for no password.
//!
//! rumqttd wants a port for each version of the protocol and has no way to stop. So a door in front of it reads the
//! version out of each CONNECT and passes the connection on; dropping the broker closes the door and every connection,
//! and rumqttd's idle threads end with the process. It logs under the target `rumqttd`.

use std::collections::HashMap;
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::time::Duration;

use anyhow::Context as _;
use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Clients at one time.
const CONNECTIONS_MAX: usize = 1_000;
/// The largest payload that is taken.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Messages that rumqttd hands to a connection at a time.
const BATCH_MESSAGES_MAX: u64 = 1_000;
/// Each subscribed filter keeps its messages in memory, up to so many segments of this size: then the oldest segment goes,
/// read or not. 128 MiB are about a million short readings.
const SEGMENT_BYTES: usize = 8 << 20;
const SEGMENTS_MAX: usize = 16;
/// How long a new connection may take to send its CONNECT.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long rumqttd may take to listen.
const START_TIMEOUT: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A running broker; it stops when dropped.
pub struct EmbeddedBroker {
    addr: SocketAddr,
    _door: JoinSet<()>,
}

impl EmbeddedBroker {
    /// Listens on this port of loopback; 0 picks a free one.
    pub async fn start(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("the embedded broker cannot listen on 127.0.0.1:{port}"))?;
        let addr = listener.local_addr()?;
        let rooms = Rooms { v311: free_addr()?, v5: free_addr()? };
        run_rumqttd(rooms)?;
        for room in [rooms.v311, rooms.v5] {
            timeout(START_TIMEOUT, reachable(room)).await.context("the embedded broker does not start")?;
        }
        let mut door = JoinSet::new();
        door.spawn(keep_door(listener, rooms));
        Ok(Self { addr, _door: door })
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// rumqttd's own ports, one for each version.
#[derive(Clone, Copy)]
struct Rooms {
    v311: SocketAddr,
    v5: SocketAddr,
}

/// An address that was free a moment ago: rumqttd binds by itself and tells nobody where.
fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(StdListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn run_rumqttd(rooms: Rooms) -> anyhow::Result<()> {
    let mut broker = Broker::new(config(rooms));
    let run = move || {
        // It returns only when none of its listeners could work; then `reachable` never succeeds.
        if let Err(error) = broker.start() {
            tracing::error!(error = ?error, "the embedded broker stopped");
        }
    };
    std::thread::Builder::new().name("rumqttd".to_owned()).spawn(run)?;
    Ok(())
}

fn config(rooms: Rooms) -> Config {
    let connections = ConnectionSettings {
        connection_timeout_ms: u16::try_from(CONNECT_TIMEOUT.as_millis()).unwrap_or(u16::MAX),
        max_payload_size: PAYLOAD_BYTES_MAX,
        max_inflight_count: 100, // what rumqttd does in any case, up to 0.20
        auth: None,
        external_auth: None,
        dynamic_filters: true, // clients may subscribe to what they like
    };
    let server = |name: &str, listen| {
        let name = name.to_owned();
        let settings = ServerSettings {
            name: name.clone(),
            listen,
            tls: None,
            next_connection_delay_ms: 1,
            connections: connections.clone(),
        };
        Some(HashMap::from([(name, settings)]))
    };
    Config {
        router: RouterConfig {
            max_connections: CONNECTIONS_MAX,
            max_outgoing_packet_count: BATCH_MESSAGES_MAX,
            max_segment_size: SEGMENT_BYTES,
            max_segment_count: SEGMENTS_MAX,
            ..RouterConfig::default()
        },
        v4: server("mqtt-3.1.1", rooms.v311),
        v5: server("mqtt-5", rooms.v5),
        ..Config::default()
    }
}

async fn reachable(addr: SocketAddr) {
    while TcpStream::connect(addr).await.is_err() {
        sleep(POLL_INTERVAL).await;
    }
}

async fn keep_door(listener: TcpListener, rooms: Rooms) {
    let mut guests = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { guests.spawn(usher(stream, rooms)); }
                Err(error) => {
                    tracing::warn!(%error, "the embedded broker could not take a connection");
                    sleep(POLL_INTERVAL).await;
                }
            },
            Some(_) = guests.join_next() => {}
        }
    }
}

/// Brings one connection to the listener of its version, and stays with it until either side closes.
async fn usher(mut guest: TcpStream, rooms: Rooms) {
    let passed = async {
        let level = timeout(CONNECT_TIMEOUT, protocol_level(&guest)).await??;
        let room = if level >= 5 { rooms.v5 } else { rooms.v311 };
        let mut inside = TcpStream::connect(room).await?;
        guest.set_nodelay(true)?;
        inside.set_nodelay(true)?;
        copy_bidirectional(&mut guest, &mut inside).await
    };
    if let Err(error) = passed.await {
        tracing::debug!(%error, "a connection to the embedded broker ended");
    }
}

/// The version byte of a CONNECT that is still to be read: 4 is MQTT 3.1.1, 5 is MQTT 5 [MQTT 5.0, §3.1.2.2].
async fn protocol_level(guest: &TcpStream) -> Result<u8, Error> {
    // Type, up to 4 bytes of remaining length, the length and the letters of "MQTT", the level. No CONNECT is shorter.
    let mut head = [0; 12];
    loop {
        match guest.peek(&mut head).await? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            12 => break,
            _ => sleep(POLL_INTERVAL).await, // peeking at what has come already returns at once
        }
    }
    let length_bytes = 1 + head[1..4].iter().take_while(|byte| **byte & 0x80 != 0).count();
    let name = 1 + length_bytes;
    match (head[0], &head[name..name + 6]) {
        (0x10, b"\0\x04MQTT") => Ok(head[name + 6]),
        _ => Err(Error::new(ErrorKind::InvalidData, "it does not begin with an MQTT 3.1.1 or 5 CONNECT")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const CONNECT_V311: &[u8] = b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01a";
    const CONNECT_V5: &[u8] = b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01b";

    #[tokio::test]
    async fn one_port_takes_both_versions_and_closes_when_dropped() {
        let broker = EmbeddedBroker::start(0).await.unwrap();
        let addr = broker.addr();
        let mut streams = Vec::new();
        for connect in [CONNECT_V311, CONNECT_V5] {
            let mut stream = TcpStream::connect(addr).await.unwrap();
            stream.write_all(&connect[..5]).await.unwrap(); // a CONNECT in two pieces
            sleep(POLL_INTERVAL).await;
            stream.write_all(&connect[5..]).await.unwrap();
            let mut connack = [0; 4];
            stream.read_exact(&mut connack).await.unwrap();
            assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:?}");
            streams.push(stream);
        }
        assert!(EmbeddedBroker::start(addr.port()).await.is_err(), "a port in use was taken");
        drop(broker);
        for mut stream in streams {
            let mut rest = Vec::new();
            let closed = timeout(START_TIMEOUT, stream.read_to_end(&mut rest)).await;
            assert!(closed.is_ok(), "the connection outlived its broker");
        }
        assert!(TcpStream::connect(addr).await.is_err(), "the port is still open");
    }

    #[tokio::test]
    async fn what_is_not_mqtt_is_shown_out() {
        let broker = EmbeddedBroker::start(0).await.unwrap();
        let mut stream = TcpStream::connect(broker.addr()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let closed = timeout(START_TIMEOUT, stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok() && rest.is_empty());
    }
}
