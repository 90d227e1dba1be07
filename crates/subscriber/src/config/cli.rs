//! The settings as they are typed: flags = environment = `.env`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use service::settings::{address, bytes, duration};
use service::telemetry::LogSettings;
use url::Url;

use super::{BrokerAddr, BrokerQueue, Retained, Topics, api_url};
use crate::spool::Durability;

/// Captures MQTT messages durably and forwards them to the API
#[derive(Parser, Debug)]
#[command(name = "ponte-subscriber", version)]
pub struct Cli {
    /// What to do; `run` where nothing is said
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The settings.
    #[command(flatten)]
    pub settings: Settings,
    /// The settings of logging.
    #[command(flatten)]
    pub log: LogSettings,
}

/// The subcommands.
#[derive(Subcommand, Debug, Clone)]
pub enum Command {
    /// Capture and forward until SIGTERM or SIGINT (the default)
    Run,
    /// Print every setting and where it came from, then try broker, API and disk, and say what to do; changes nothing
    Check {
        /// Messages that come each second, for the outage budget, where it cannot be counted
        #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
        rate: Option<f64>,
    },
    /// Ask a running subscriber on this machine whether it is well (for container health checks)
    Health,
    /// Look after messages that the API refused
    Quarantine {
        /// What to do with them
        #[command(subcommand)]
        action: QuarantineAction,
    },
}

/// What can be done with quarantined messages.
#[derive(Subcommand, Debug, Clone)]
pub enum QuarantineAction {
    /// One line a message: sequence, time, size, topic, reason
    List,
    /// Send them to the API again; those that it takes leave the quarantine
    Replay(Chosen),
    /// Delete them for good
    Drop(Chosen),
}

/// Which messages are meant.
#[derive(Args, Debug, Clone)]
#[group(required = true, multiple = false)]
pub struct Chosen {
    /// Their sequences, as `list` shows them
    #[arg(value_name = "SEQUENCE")]
    pub sequences: Vec<u64>,
    /// All of them
    #[arg(long)]
    pub all: bool,
}

/// The settings as they are typed: flags = environment = `.env`.
#[derive(Args, Debug, Clone)]
pub struct Settings {
    /// The broker: host, host:port, or a URL with mqtt, mqtts, ws or wss; a bare host means TLS on port 8883
    #[arg(long, env = "BROKER_ADDR", value_name = "ADDRESS", help_heading = "Broker")]
    pub broker_addr: Option<BrokerAddr>,
    /// The broker's user
    #[arg(long, env = "HIVE_USER", value_name = "NAME", help_heading = "Broker")]
    pub hive_user: Option<String>,
    /// The broker's password
    #[arg(long, env = "HIVE_PSWD", value_name = "PASSWORD", hide_env_values = true, help_heading = "Broker")]
    pub hive_pswd: Option<SecretString>,
    /// What to subscribe to: filter or filter:qos, separated by commas; $share/group/filter is taken too
    #[arg(long, env = "MQTT_TOPICS", value_name = "FILTERS", default_value = "#:1", help_heading = "Broker")]
    pub mqtt_topics: Topics,
    /// What to do with messages that the broker has retained: store them once, when a filter is new, or skip them
    #[arg(long, env = "MQTT_RETAINED", value_name = "WHAT", default_value = "store", help_heading = "Broker")]
    pub mqtt_retained: Retained,
    /// The client id, which names the session at the broker; where it is not set, one that the spool remembers
    #[arg(long, env = "MQTT_CLIENT_ID", value_name = "ID", help_heading = "Broker")]
    pub mqtt_client_id: Option<String>,
    /// PEM file with the certificate authorities to trust instead of the system's
    #[arg(long, env = "MQTT_CA_FILE", value_name = "FILE", help_heading = "Broker")]
    pub mqtt_ca_file: Option<PathBuf>,
    /// PEM file with this client's certificate chain (mutual TLS)
    #[arg(long, env = "MQTT_CERT_FILE", value_name = "FILE", help_heading = "Broker")]
    pub mqtt_cert_file: Option<PathBuf>,
    /// PEM file with the key of that certificate
    #[arg(long, env = "MQTT_KEY_FILE", value_name = "FILE", help_heading = "Broker")]
    pub mqtt_key_file: Option<PathBuf>,
    /// How long the broker keeps the session, and queues for it, while the subscriber is away
    #[arg(long, env = "MQTT_SESSION_EXPIRY", value_name = "TIME", default_value = "7d", value_parser = duration, help_heading = "Broker")]
    pub mqtt_session_expiry: Duration,
    /// Share the load with other subscribers of this group: each filter becomes $share/GROUP/filter
    #[arg(long, env = "MQTT_SHARED_GROUP", value_name = "GROUP", help_heading = "Broker")]
    pub mqtt_shared_group: Option<String>,
    /// How often an idle connection is tried
    #[arg(long, env = "MQTT_KEEP_ALIVE", value_name = "TIME", default_value = "20s", value_parser = duration, help_heading = "Broker")]
    pub mqtt_keep_alive: Duration,
    /// The largest packet to take; the broker drops larger ones by itself, as MQTT 5 has it
    #[arg(long, env = "MQTT_PACKET_BYTES_MAX", value_name = "BYTES", default_value = "16MiB", value_parser = bytes, help_heading = "Broker")]
    pub mqtt_packet_bytes_max: u64,
    /// What the broker keeps for an absent subscriber, for the outage budget of `check`: messages, and bytes if bounded
    #[arg(long, env = "BROKER_QUEUE", value_name = "[HOST=]MESSAGES[:BYTES]", help_heading = "Broker")]
    pub broker_queue: Option<BrokerQueue>,
    /// Directory of the spool, on a disk that you trust
    #[arg(long, env = "SPOOL_DIR", value_name = "DIR", default_value = "spool", help_heading = "Spool")]
    pub spool_dir: PathBuf,
    /// The most that spool and quarantine may take on the disk; when it is reached, the broker keeps what follows
    #[arg(long, env = "SPOOL_MAX_BYTES", value_name = "BYTES", default_value = "1GiB", value_parser = bytes, help_heading = "Spool")]
    pub spool_max_bytes: u64,
    /// What must have happened before the broker is told "received"
    #[arg(long, env = "SPOOL_DURABILITY", value_name = "LEVEL", default_value = "fsync", help_heading = "Spool")]
    pub spool_durability: Durability,
    /// Where the API is
    #[arg(long, env = "API_URL", value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = api_url::parse, help_heading = "API")]
    pub api_url: Url,
    /// Token for the API
    #[arg(long, env = "API_TOKEN", value_name = "TOKEN", hide_env_values = true, help_heading = "API")]
    pub api_token: Option<SecretString>,
    /// PEM file with the certificate authorities to trust instead of the system's, for an API of your own with TLS
    #[arg(long, env = "API_CA_FILE", value_name = "FILE", help_heading = "API")]
    pub api_ca_file: Option<PathBuf>,
    /// Address of the health endpoint
    #[arg(
        long,
        env = "STATUS_ADDR",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8081",
        value_parser = address,
        help_heading = "Status"
    )]
    pub status_addr: SocketAddr,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("expected a number above 0, such as 12 or 0.5".to_owned()),
    }
}
