//! `cargo demo`: broker, simulated sensors, subscriber, API and database in one command, until Ctrl-C.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use harness::broker::mosquitto::{self, Mosquitto};
use harness::{free_addr, sensors};
use ponte_api::config::Config as ApiConfig;
use ponte_subscriber::config::{Config as SubscriberConfig, Settings};
use ponte_subscriber::mqtt::probe;
use service::launch::{block_on, launch};
use service::settings::Parsed;
use service::telemetry::LogSettings;
use service::{Exit, Fatal, shutdown, telemetry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the API listens, if nobody else does.
const API_PORT: u16 = 8080;
/// Where the subscriber tells how it is, if nobody else listens there.
const STATUS_PORT: u16 = 8081;
const FIRST_ROW_PATIENCE: Duration = Duration::from_secs(15);
/// Where somebody's own readings go: they are no demo's to delete.
const KEPT_DIR: &str = "ponte-data";
/// The session of a demo that was killed is kept no longer by the broker; one that ends ends it.
const SESSION_EXPIRY_MAX: Duration = Duration::from_secs(3_600);

/// The whole system on this machine, with simulated sensors; with BROKER_ADDR set, your broker and your sensors
#[derive(Parser)]
#[command(name = "demo", version)]
struct Cli {
    /// Directory for the database and the spool, kept afterwards; without it ponte-data with a broker of your own, else a
    /// temporary one
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    subscriber: Settings,
    #[command(flatten)]
    log: LogSettings,
}

/// A broker of our own, stopped when dropped.
enum Broker {
    Mosquitto(Box<Mosquitto>),
    #[cfg(feature = "embedded-broker")]
    Embedded(harness::broker::embedded::EmbeddedBroker),
}

fn main() -> ExitCode {
    launch(|Parsed { mut cli, .. }: Parsed<Cli>| {
        // The broker of our own tells of every connection.
        cli.log.log_level.push_str(",rumqttd=off");
        telemetry::init(&cli.log)?;
        harness::install_tls();
        block_on(run(cli))
    })
}

/// Where the files are, and for how long.
struct Files {
    dir: PathBuf,
    /// Deletes the directory when dropped.
    temporary: Option<tempfile::TempDir>,
}

impl Files {
    fn new(chosen: Option<PathBuf>, has_own_broker: bool) -> Result<Self, Fatal> {
        let Some(dir) = chosen.or_else(|| has_own_broker.then(|| KEPT_DIR.into())) else {
            let temporary =
                tempfile::Builder::new().prefix("ponte-demo-").tempdir().context("a temporary directory")?;
            return Ok(Self { dir: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        let made = std::path::absolute(&dir).and_then(|dir| std::fs::create_dir_all(&dir).map(|()| dir));
        let dir =
            made.map_err(|error| Fatal::new(Exit::CantCreate, format_args!("--dir: {}: {error}", dir.display())))?;
        Ok(Self { dir, temporary: None })
    }

    fn fate(&self) -> &'static str {
        if self.temporary.is_some() { "deleted at the end" } else { "kept" }
    }
}

async fn run(mut cli: Cli) -> Result<(), Fatal> {
    let has_own_broker = cli.subscriber.broker_addr.is_some();
    let files = Files::new(cli.dir, has_own_broker)?;
    let signals = TaskTracker::new();
    let token = shutdown::on_signal(&signals).context("signals cannot be listened to")?;
    let mut parts = JoinSet::new();

    let broker = if has_own_broker { None } else { Some(start_broker(&files.dir).await?) };
    if let Some(broker) = &broker {
        let url = format!("mqtt://{}", broker.addr());
        cli.subscriber.broker_addr = Some(url.parse().context("our own broker's address")?);
    }
    // A client id that somebody has chosen names a session that may be meant to stay.
    let ends_session = has_own_broker && cli.subscriber.mqtt_client_id.is_none();
    if ends_session {
        cli.subscriber.mqtt_client_id = Some(format!("ponte-demo-{:08x}", fastrand::u32(..)));
        cli.subscriber.mqtt_session_expiry = cli.subscriber.mqtt_session_expiry.min(SESSION_EXPIRY_MAX);
    }
    let api = bind(API_PORT)?;
    let api_url = format!("http://{}", api.local_addr().context("the API's address")?);
    cli.subscriber.api_url = api_url.parse().context("our own API's address")?;
    cli.subscriber.spool_dir = files.dir.join("spool");
    let subscriber = cli.subscriber.resolve()?;
    let database = files.dir.join("dados.db");
    let config = ApiConfig { database_url: format!("sqlite:{}", database.display()), ..ApiConfig::default() };
    // The API outlives the subscriber, so that what is captured last is still delivered.
    let api_token = CancellationToken::new();
    let api_part = parts.spawn(ponte_api::run(config, api, api_token.clone())).id();
    let status = bind(STATUS_PORT)?;
    let status_url = format!("http://{}", status.local_addr().context("the status address")?);
    parts.spawn(ponte_subscriber::run(subscriber.clone(), status, token.clone()));
    if let Some(broker) = &broker {
        let (addr, token) = (broker.addr(), token.clone());
        parts.spawn(async move {
            sensors::run(addr, token).await;
            Ok(())
        });
    }
    announce(&api_url, &status_url, broker.as_ref(), &token).await;
    eprintln!("database {} ({}); Ctrl-C ends it all\n", database.display(), files.fate());

    let mut ended = Ok(());
    while let Some(part) = parts.join_next_with_id().await {
        token.cancel();
        let others = parts.len();
        let result = match part {
            Ok((id, result)) => {
                if id == api_part || others <= 1 {
                    api_token.cancel()
                }
                result
            }
            Err(error) => Err(Fatal::new(Exit::Software, error)),
        };
        ended = ended.and(result);
    }
    if ends_session {
        end_session(&subscriber).await;
    }
    drop(broker);
    match &files.temporary {
        Some(_) => eprintln!("stopped"),
        None => eprintln!("stopped; database and spool are kept in {}", files.dir.display()),
    }
    ended
}

/// Else the broker would queue for a client that does not come back.
async fn end_session(subscriber: &SubscriberConfig) {
    let Some(client_id) = &subscriber.mqtt.client_id else { return };
    match probe::end_session(&subscriber.mqtt, client_id).await {
        Ok(()) => eprintln!("the broker keeps nothing for this demo any more; with MQTT_CLIENT_ID set it would"),
        Err(fault) => eprintln!(
            "the session {client_id} could not be ended at the broker ({fault}); it ends by itself within {} min",
            SESSION_EXPIRY_MAX.as_secs() / 60
        ),
    }
}

async fn start_broker(dir: &Path) -> Result<Broker, Fatal> {
    if mosquitto::installed() {
        let store = dir.join("mosquitto");
        std::fs::create_dir_all(&store).context("the broker's directory")?;
        let broker = Mosquitto::start(&store, mosquitto::Options::default()).await?;
        return Ok(Broker::Mosquitto(Box::new(broker)));
    }
    #[cfg(feature = "embedded-broker")]
    return Ok(Broker::Embedded(harness::broker::embedded::EmbeddedBroker::start(0).await?));
    #[cfg(not(feature = "embedded-broker"))]
    Err(Fatal::new(
        Exit::Unavailable,
        "no mosquitto is installed, and this demo was built without a broker of its own: run `cargo demo`",
    ))
}

impl Broker {
    fn addr(&self) -> SocketAddr {
        match self {
            Self::Mosquitto(broker) => broker.addr(),
            #[cfg(feature = "embedded-broker")]
            Self::Embedded(broker) => broker.addr(),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Mosquitto(_) => "mosquitto",
            #[cfg(feature = "embedded-broker")]
            Self::Embedded(_) => "embedded",
        }
    }
}

/// This port of loopback, or any where it is taken.
fn bind(port: u16) -> Result<TcpListener, Fatal> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    Ok(listener
        .or_else(|_| TcpListener::bind(free_addr().map_err(std::io::Error::other)?))
        .context("a port on this machine")?)
}

/// Says what to open, once there is something to see.
async fn announce(api: &str, status: &str, broker: Option<&Broker>, token: &CancellationToken) {
    let rows = harness::rows::Rows::new(api);
    let seen = async || Ok(matches!(rows.newest_id().await, Ok(1..)).then_some(()));
    let waiting = harness::eventually("the first row", FIRST_ROW_PATIENCE, seen);
    let seen = token.run_until_cancelled(waiting).await;
    if let Some(broker) = broker {
        eprintln!(
            "\nbroker ({}) on {}, sensors simulated; try: mosquitto_pub -p {} -t casa/teste -m 42",
            broker.name(),
            broker.addr(),
            broker.addr().port()
        );
    }
    if let Some(Err(_)) = seen {
        eprintln!("no message has come yet");
    }
    eprintln!("\n    {api}\n    curl '{api}/dados?limite=5'\n    curl {status}/readyz\n");
}
