//! `cargo demo`: broker, simulated sensors, subscriber, API and database in one command, until Ctrl-C.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use harness::broker::mosquitto::{self, Mosquitto};
use harness::{free_addr, sensors};
use ponte_api::config::Config as ApiConfig;
use ponte_subscriber::config::Settings;
use service::launch::{block_on, launch};
use service::settings::Parsed;
use service::telemetry::LogSettings;
use service::{Exit, Fatal, shutdown, telemetry};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where the API listens, if nobody else does.
const API_PORT: u16 = 8080;
const FIRST_ROW_PATIENCE: Duration = Duration::from_secs(15);

/// The whole system on this machine, with simulated sensors; with BROKER_ADDR set, your broker and your sensors
#[derive(Parser)]
#[command(name = "demo", version)]
struct Cli {
    /// Directory for the database and the spool, kept afterwards; a temporary one where it is not set
    #[arg(long, value_name = "DIR")]
    dir: Option<std::path::PathBuf>,
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

async fn run(mut cli: Cli) -> Result<(), Fatal> {
    let temporary = tempfile::Builder::new().prefix("ponte-demo-").tempdir().context("a temporary directory")?;
    let dir = cli.dir.unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir)
        .map_err(|error| Fatal::new(Exit::CantCreate, format_args!("--dir: {}: {error}", dir.display())))?;
    let signals = TaskTracker::new();
    let token = shutdown::on_signal(&signals).context("signals cannot be listened to")?;
    let mut parts = JoinSet::new();

    let broker = match &cli.subscriber.broker_addr {
        Some(_) => None,
        None => Some(start_broker(&dir).await?),
    };
    if let Some(broker) = &broker {
        let url = format!("mqtt://{}", broker.addr());
        cli.subscriber.broker_addr = Some(url.parse().context("our own broker's address")?);
    }
    let api = bind_api()?;
    let api_url = format!("http://{}", api.local_addr().context("the API's address")?);
    cli.subscriber.api_url = api_url.parse().context("our own API's address")?;
    cli.subscriber.spool_dir = dir.join("spool");
    let database = dir.join("dados.db");
    let config = ApiConfig { database_url: format!("sqlite:{}", database.display()), ..ApiConfig::default() };
    // The API outlives the subscriber, so that what is captured last is still delivered.
    let api_token = CancellationToken::new();
    let api_part = parts.spawn(ponte_api::run(config, api, api_token.clone())).id();
    let status = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("the status listener")?;
    parts.spawn(ponte_subscriber::run(cli.subscriber.resolve()?, status, token.clone()));
    if let Some(broker) = &broker {
        let (addr, token) = (broker.addr(), token.clone());
        parts.spawn(async move {
            sensors::run(addr, token).await;
            Ok(())
        });
    }
    announce(&api_url, &database, broker.as_ref(), &token).await;

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
    drop(broker);
    eprintln!("stopped");
    ended
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

fn bind_api() -> Result<TcpListener, Fatal> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, API_PORT));
    Ok(listener
        .or_else(|_| TcpListener::bind(free_addr().map_err(std::io::Error::other)?))
        .context("a port for the API")?)
}

/// Says what to open, once there is something to see.
async fn announce(api: &str, database: &Path, broker: Option<&Broker>, token: &CancellationToken) {
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
    eprintln!("database {}; Ctrl-C ends it all\n\n    {api}\n    curl '{api}/dados?limite=5'\n", database.display());
}
