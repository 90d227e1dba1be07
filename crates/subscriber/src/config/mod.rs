//! The subscriber's settings as `run` uses them, once everything was checked.
//!
//! - [`cli`]: as they are typed, on the command line or in the environment
//! - [`broker`]: `BROKER_ADDR` becomes host, port and transport
//! - [`queue`]: `BROKER_QUEUE`, for `check`
//! - [`topics`]: `MQTT_TOPICS` becomes subscriptions
//! - [`api_url`]: `API_URL` becomes the base of the API's routes

pub mod api_url;
pub mod broker;
pub mod cli;
pub mod queue;
pub mod topics;

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use secrecy::SecretString;
use service::Fatal;
use url::Url;

pub use broker::{BrokerAddr, Transport};
pub use cli::{Chosen, Cli, Command, QuarantineAction, Settings};
pub use queue::BrokerQueue;
pub use topics::{Subscription, Topics};

use crate::spool;

/// MQTT's largest packet (MQTT 5.0 §2.1.4).
const PACKET_BYTES_LIMIT: u64 = 268_435_455;
/// Room for one message of the largest size in each of so many places: segment, quarantine, in flight.
const SPOOL_PACKETS_MIN: u64 = 4;
/// Below this, rumqttc's keep-alive is too coarse to tell a slow broker from a dead one.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(5);
/// CONNECT carries it as sixteen bits of seconds (MQTT 5.0 §3.1.2.10).
const KEEP_ALIVE_MAX: Duration = Duration::from_secs(65_535);

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

/// What becomes of messages that the broker sends from its store because a subscription is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Retained {
    /// They are stored, with `retido` set.
    Store,
    /// They are not asked for, and not stored where they come nevertheless.
    Skip,
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
    /// Whether retained messages are wanted.
    pub retained: Retained,
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
    /// Certificate authorities instead of the system's.
    pub ca_file: Option<PathBuf>,
}

impl Mqtt {
    /// Whether some filter asks for QoS 2.
    pub fn is_qos2(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.qos == 2)
    }
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
            retained: self.mqtt_retained,
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
        let url = self.api_url.clone();
        if self.api_ca_file.is_some() && url.scheme() != "https" {
            return Err(Fatal::setting("API_CA_FILE", format_args!("API_URL {url} has no TLS; expected https://")));
        }
        Ok(Api { url, token: self.api_token.clone(), ca_file: self.api_ca_file.clone() })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

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
            (&["--api-ca-file", "c"], "API_CA_FILE"),
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
