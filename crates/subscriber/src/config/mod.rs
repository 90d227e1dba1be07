//! The subscriber's settings: as they are typed, and as they are used once everything was checked.
//!
//! - [`broker`]: `BROKER_ADDR` becomes host, port and transport
//! - [`topics`]: `MQTT_TOPICS` becomes subscriptions

pub mod broker;
pub mod topics;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use secrecy::SecretString;
use service::Fatal;
use service::settings::{bytes, duration};
use service::telemetry::LogSettings;
use url::Url;

pub use broker::{BrokerAddr, Transport};
pub use topics::{Subscription, Topics};

use crate::spool::{self, Durability};

/// MQTT's largest packet (MQTT 5.0 §2.1.4).
const PACKET_BYTES_LIMIT: u64 = 268_435_455;
/// Room for one message of the largest size in each of so many places: segment, quarantine, in flight.
const SPOOL_PACKETS_MIN: u64 = 4;
/// Below this, rumqttc's keep-alive is too coarse to tell a slow broker from a dead one.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(5);
/// CONNECT carries it as sixteen bits of seconds (MQTT 5.0 §3.1.2.10).
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(65_535);

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
    /// Print every setting and where it came from, and try the broker, the API and the spool's directory
    Check,
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
    #[arg(long, env = "API_URL", value_name = "URL", default_value = "http://127.0.0.1:8080", help_heading = "API")]
    pub api_url: Url,
    /// Token for the API
    #[arg(long, env = "API_TOKEN", value_name = "TOKEN", hide_env_values = true, help_heading = "API")]
    pub api_token: Option<SecretString>,
    /// Address of the health endpoint
    #[arg(
        long,
        env = "STATUS_ADDR",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8081",
        help_heading = "Status"
    )]
    pub status_addr: SocketAddr,
}

/// The settings as `run` uses them: whatever is in here is valid.
#[derive(Debug, Clone)]
pub struct Config {
    /// How to reach the broker, and what to ask it for.
    pub mqtt: Mqtt,
    /// Where captured messages wait.
    pub spool: spool::Settings,
    /// Where they go.
    pub api: Api,
}

/// How to reach the broker, and what to ask it for.
#[derive(Debug, Clone)]
pub struct Mqtt {
    /// Host, port, transport.
    pub broker: BrokerAddr,
    /// User and password.
    pub credentials: Option<(String, SecretString)>,
    /// With the shared group applied; at least one.
    pub subscriptions: Vec<Subscription>,
    /// None: the spool's own.
    pub client_id: Option<String>,
    /// Certificate authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificate chain and key of this client.
    pub identity_files: Option<(PathBuf, PathBuf)>,
    /// Seconds, as CONNECT carries it.
    pub session_expiry_s: u32,
    /// 5 s to 65,535 s.
    pub keep_alive: Duration,
    /// Up to MQTT's own limit.
    pub packet_bytes_max: u32,
}

/// Where messages go.
#[derive(Debug, Clone)]
pub struct Api {
    /// The base of the API's routes, http or https, with a final slash.
    pub url: Url,
    /// Sent as Bearer.
    pub token: Option<SecretString>,
}

impl Settings {
    /// Checks what one setting alone cannot tell.
    pub fn resolve(self) -> Result<Config, Fatal> {
        let api = self.api()?;
        let credentials = match (self.hive_user, self.hive_pswd) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            (Some(_), None) => return Err(Fatal::setting("HIVE_PSWD", "missing, while HIVE_USER is set")),
            (None, Some(_)) => return Err(Fatal::setting("HIVE_USER", "missing, while HIVE_PSWD is set")),
        };
        let broker = self.broker_addr.ok_or_else(|| {
            Fatal::setting(
                "BROKER_ADDR",
                "missing; expected a host such as abc.s1.eu.hivemq.cloud, or mqtt://localhost:1883",
            )
        })?;
        if broker.transport == Transport::Tls && broker.host.contains(':') {
            return Err(Fatal::setting(
                "BROKER_ADDR",
                format_args!("{broker}: expected a host name for TLS, not an IPv6 address"),
            ));
        }
        let identity_files = match (self.mqtt_cert_file, self.mqtt_key_file) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return Err(Fatal::setting("MQTT_KEY_FILE", "missing, while MQTT_CERT_FILE is set")),
            (None, Some(_)) => return Err(Fatal::setting("MQTT_CERT_FILE", "missing, while MQTT_KEY_FILE is set")),
        };
        if !broker.transport.is_tls() && (identity_files.is_some() || self.mqtt_ca_file.is_some()) {
            let variable = if identity_files.is_some() { "MQTT_CERT_FILE" } else { "MQTT_CA_FILE" };
            return Err(Fatal::setting(
                variable,
                format_args!("BROKER_ADDR {broker} has no TLS; expected mqtts:// or wss://"),
            ));
        }
        if !(KEEP_ALIVE_MIN..=KEEP_ALIVE_MAX).contains(&self.mqtt_keep_alive) {
            return Err(Fatal::setting("MQTT_KEEP_ALIVE", "expected 5s to 65535s"));
        }
        let session_expiry_s = u32::try_from(self.mqtt_session_expiry.as_secs())
            .map_err(|_| Fatal::setting("MQTT_SESSION_EXPIRY", "expected at most 4294967295 seconds"))?;
        if !(1024..=PACKET_BYTES_LIMIT).contains(&self.mqtt_packet_bytes_max) {
            return Err(Fatal::setting("MQTT_PACKET_BYTES_MAX", "expected 1KiB to 268435455 bytes"));
        }
        if self.spool_max_bytes < SPOOL_PACKETS_MIN * self.mqtt_packet_bytes_max {
            return Err(Fatal::setting(
                "SPOOL_MAX_BYTES",
                format_args!(
                    "expected at least {SPOOL_PACKETS_MIN} × MQTT_PACKET_BYTES_MAX ({} bytes)",
                    SPOOL_PACKETS_MIN * self.mqtt_packet_bytes_max
                ),
            ));
        }
        if self.mqtt_client_id.as_ref().is_some_and(|id| id.len() > 65_535 || id.contains('\0')) {
            return Err(Fatal::setting("MQTT_CLIENT_ID", "expected at most 65535 bytes without null characters"));
        }
        let mqtt = Mqtt {
            broker,
            credentials,
            subscriptions: self.mqtt_topics.shared(self.mqtt_shared_group.as_deref())?,
            client_id: self.mqtt_client_id,
            ca_file: self.mqtt_ca_file,
            identity_files,
            session_expiry_s,
            keep_alive: self.mqtt_keep_alive,
            packet_bytes_max: self.mqtt_packet_bytes_max as u32,
        };
        let spool =
            spool::Settings { dir: self.spool_dir, bytes_max: self.spool_max_bytes, durability: self.spool_durability };
        Ok(Config { mqtt, spool, api })
    }

    /// The API's part alone, for subcommands that need no broker.
    pub fn api(&self) -> Result<Api, Fatal> {
        let mut url = self.api_url.clone();
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(Fatal::setting(
                "API_URL",
                format_args!("\"{url}\": expected http://host:port or https://host"),
            ));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Api { url, token: self.api_token.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(args: &[&str]) -> Result<Config, Fatal> {
        let args = ["ponte-subscriber", "--broker-addr", "localhost:1883"].iter().chain(args);
        Cli::try_parse_from(args).unwrap().settings.resolve()
    }

    #[test]
    fn every_setting_is_known_to_the_env_file_check() {
        assert_eq!(service::settings::unlisted::<Cli>(), Vec::<String>::new());
    }

    #[test]
    fn what_does_not_fit_together_names_the_variable() {
        for (args, variable) in [
            (&["--hive-user", "u"][..], "HIVE_PSWD"),
            (&["--hive-pswd", "p"], "HIVE_USER"),
            (&["--mqtt-cert-file", "c"], "MQTT_KEY_FILE"),
            (&["--mqtt-key-file", "c"], "MQTT_CERT_FILE"),
            (&["--mqtt-ca-file", "c"], "MQTT_CA_FILE"),
            (&["--mqtt-keep-alive", "1s"], "MQTT_KEEP_ALIVE"),
            (&["--mqtt-packet-bytes-max", "1GB"], "MQTT_PACKET_BYTES_MAX"),
            (&["--spool-max-bytes", "1MB"], "SPOOL_MAX_BYTES"),
            (&["--api-url", "ftp://x"], "API_URL"),
            (&["--mqtt-shared-group", "a/b"], "MQTT_SHARED_GROUP"),
        ] {
            let message = resolve(args).expect_err(variable).message;
            assert!(message.starts_with(variable), "{args:?}: {message}");
        }
        assert_eq!(resolve(&["--api-url", "http://h/base"]).unwrap().api.url.as_str(), "http://h/base/");
    }

    #[test]
    fn the_password_is_not_shown() {
        let config = resolve(&["--hive-user", "u", "--hive-pswd", "hunter2"]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
