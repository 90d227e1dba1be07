//! The subcommands beside `run`: check, health, quarantine.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use service::settings::{Source, table};
use service::{Exit, Fatal};

use crate::config::{Chosen, Config, QuarantineAction, Settings};
use crate::forward::batch::Stored;
use crate::forward::post::{Client, Outcome};
use crate::forward::quarantine::{Entry, Quarantine};
use crate::mqtt::probe;

const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

/// Prints the settings, then tries spool, broker and API; exit 69 where one of them fails.
pub async fn check(settings: Settings, sources: &[Source]) -> Result<(), Fatal> {
    print(&table(sources));
    let config: Config = settings.resolve()?;
    let broker = probe::connect(&config.mqtt).await?;
    let api = Client::new(&config.api)?.ready().await;
    let spool = writable(&config.spool.dir);
    let mut failed = Vec::new();
    for (name, what, result) in [
        ("SPOOL_DIR", config.spool.dir.display().to_string(), spool),
        ("BROKER_ADDR", config.mqtt.broker.to_string(), broker),
        ("API_URL", config.api.url.to_string(), api),
    ] {
        match result {
            Ok(line) => print(&format!("ok      {name} {what}: {line}\n")),
            Err(fault) => {
                print(&format!("FAILED  {name} {what}: {fault}\n"));
                failed.push(name);
            }
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Fatal::new(Exit::Unavailable, format_args!("check failed: {}", failed.join(", "))))
    }
}

/// Whether the spool's directory, or the nearest one above it, can be written; nothing is left behind.
fn writable(dir: &Path) -> Result<String, String> {
    let existing = dir.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("."));
    let probe = existing.join(format!(".ponte-check-{}", std::process::id()));
    std::fs::write(&probe, b"ponte").and_then(|()| std::fs::remove_file(&probe)).map_err(|error| error.to_string())?;
    Ok(if existing == dir { "writable".into() } else { "will be made".into() })
}

/// Asks the subscriber that listens on `status_addr`; exit 69 where it is not ready or not there.
pub async fn health(status_addr: SocketAddr) -> Result<(), Fatal> {
    let url = format!("http://{}/readyz", reachable(status_addr));
    let unwell = |why: String| Fatal::new(Exit::Unavailable, why);
    let client = reqwest::Client::builder()
        .timeout(HEALTH_TIMEOUT)
        .no_proxy()
        .build()
        .map_err(|error| Fatal::new(Exit::Software, error))?;
    let response = client.get(url).send().await.map_err(|error| unwell(error.to_string()))?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    print(&format!("{body}\n"));
    if status.is_success() { Ok(()) } else { Err(unwell(format!("not ready ({status})"))) }
}

/// An address that listens everywhere is asked on loopback.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// Lists, replays or drops quarantined messages; a running subscriber is not disturbed.
pub async fn quarantine(settings: &Settings, action: QuarantineAction) -> Result<(), Fatal> {
    let quarantine = Quarantine::of_spool(&settings.spool_dir);
    match action {
        QuarantineAction::List => list(&quarantine),
        QuarantineAction::Replay(chosen) => replay(&quarantine, &chosen, &Client::new(&settings.api()?)?).await,
        QuarantineAction::Drop(chosen) => {
            let entries = entries(&quarantine, &chosen)?;
            for entry in &entries {
                quarantine.remove(entry.sequence).map_err(|error| unreadable(&error))?;
            }
            print(&format!("dropped {}\n", entries.len()));
            Ok(())
        }
    }
}

fn list(quarantine: &Quarantine) -> Result<(), Fatal> {
    for entry in quarantine.list().map_err(|error| unreadable(&error))? {
        let Entry { sequence, quarantined_at, status, reason, topic, payload_base64, .. } = &entry;
        let bytes = payload_base64.len() / 4 * 3;
        print(&format!("{sequence}\t{quarantined_at}\t{status}\t≤ {bytes} bytes\t{topic}\t{reason}\n"));
    }
    Ok(())
}

/// Posts each message under a key of its own, so that a repeated replay stores nothing twice.
async fn replay(quarantine: &Quarantine, chosen: &Chosen, client: &Client) -> Result<(), Fatal> {
    let mut refused = 0;
    let mut taken = 0;
    for entry in entries(quarantine, chosen)? {
        let stored = entry.stored().map_err(|error| {
            Fatal::new(Exit::Data, format_args!("quarantine: sequence {}: {error}", entry.sequence))
        })?;
        match client.post_once(&entry.idempotency_key(), line(&stored)).await {
            Outcome::Taken => {
                quarantine.remove(entry.sequence).map_err(|error| unreadable(&error))?;
                taken += 1;
            }
            Outcome::Refused(refusal) => {
                print(&format!("{}\tstill refused: {} {}\n", entry.sequence, refusal.status, refusal.reason));
                refused += 1;
            }
            Outcome::Again { fault, .. } => {
                return Err(Fatal::new(Exit::Unavailable, format_args!("replayed {taken}, then: {fault}")));
            }
        }
    }
    print(&format!("replayed {taken}, still refused {refused}\n"));
    if refused == 0 { Ok(()) } else { Err(Fatal::new(Exit::Data, "the API still refuses some messages")) }
}

fn line(stored: &Stored) -> bytes::Bytes {
    serde_json::to_vec(&stored.novo_dado()).expect("a message is always JSON").into()
}

fn entries(quarantine: &Quarantine, chosen: &Chosen) -> Result<Vec<Entry>, Fatal> {
    if chosen.all {
        return quarantine.list().map_err(|error| unreadable(&error));
    }
    let read = |sequence: &u64| {
        quarantine
            .read(*sequence)
            .map_err(|error| Fatal::new(Exit::Usage, format_args!("no sequence {sequence} in quarantine: {error}")))
    };
    chosen.sequences.iter().map(read).collect()
}

fn unreadable(error: &std::io::Error) -> Fatal {
    Fatal::new(Exit::Io, format_args!("SPOOL_DIR: quarantine: {error}"))
}

/// Standard output is these commands' purpose; a reader that has gone away is no error of ours.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
