//! Runs the whole system, for the demo, the benches and the tests with real processes.
//!
//! - [`binaries`]: builds the two products and finds them
//! - [`disk`]: a small one that can be full
//! - [`process`]: a child process with its log, killed when dropped
//! - [`broker`]: brokers to run it against
//! - [`system`]: the API and the subscriber as processes, on free ports and fresh directories
//! - [`proxy`]: a network that can be cut
//! - [`publish`]: publishes messages, and waits until the broker has them
//! - [`rows`]: reads everything back through `GET /dados`
//! - [`generate`]: a database of many readings
//! - [`certs`]: a certificate authority for tests
//! - [`sensors`]: simulated ones, for the demo
//! - [`torture`]: breaks everything, and compares what is stored with what was promised

pub mod binaries;
pub mod broker;
pub mod certs;
pub mod disk;
pub mod generate;
pub mod process;
pub mod proxy;
pub mod publish;
pub mod rows;
pub mod sensors;
pub mod system;
pub mod torture;

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;

/// How long anything may take before a test gives up: far longer than it ever needs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the absence of what a test needs is a failure instead of a skipped test: CI sets it.
pub const REQUIRE_SERVICES: &str = "PONTE_REQUIRE_SERVICES";

/// Ports below those that the system gives to outgoing connections (ip_local_port_range): a client that tries a closed
/// port there again and again may be given that very port, and meet itself.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// An address of loopback that was free a moment ago, for programs that are told their port. Never the same twice in a
/// process.
pub fn free_addr() -> anyhow::Result<SocketAddr> {
    static TRIED: OnceLock<AtomicU16> = OnceLock::new();
    let tried = TRIED.get_or_init(|| AtomicU16::new(fastrand::u16(..PORTS.len() as u16)));
    for _ in PORTS {
        let port = PORTS.start + tried.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return Ok(listener.local_addr()?);
        }
    }
    bail!("no port is free")
}

/// Says out loud that a test was skipped, past the test runner's capture; where CI requires everything, it fails.
pub fn skipped(why: &str) {
    assert!(std::env::var_os(REQUIRE_SERVICES).is_none(), "{why}, and {REQUIRE_SERVICES} is set");
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// Asks again and again until `probe` gives a value; fails with `what` after `patience`.
pub async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if began.elapsed() > patience {
            bail!("{what}: not within {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// TLS for every HTTP and MQTT client of this process; call it once at the start, again does no harm.
pub fn install_tls() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
