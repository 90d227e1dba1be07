//! The settings of the API and its command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use secrecy::ExposeSecret as _;
use service::ask::Server;
use service::telemetry::LogSettings;
use service::{http, settings};

use crate::access::addresses::counted;
pub use crate::access::new_token::TokenAction;
pub use crate::access::settings::AccessSettings;
use crate::live::Limits;
use crate::projector::device_time::Rules;
use crate::retention::Ages;
pub use crate::retention::apply::RetentionAction;

/// REST in front of SQL: takes readings over HTTP, stores them durably and reads them back
#[derive(Parser, Clone, Debug)]
#[command(name = "ponte-api", version)]
pub struct Cli {
    /// What to do; `serve` where none is given
    #[command(subcommand)]
    pub command: Option<Action>,
    /// What the API runs with
    #[command(flatten)]
    pub config: Config,
    /// How it logs
    #[command(flatten)]
    pub log: LogSettings,
}

/// What the program is asked to do.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve the API until SIGTERM (the default)
    Serve,
    /// Print every setting with its origin, then look at database, disk and address, and say what to do; changes nothing
    Check,
    /// Derive readings, topics and charts anew from all stored messages, in the running API or, where none runs, here
    Reproject,
    /// Confirm that what is too old is deleted, where retention waits for it
    Retention {
        /// What to do
        #[command(subcommand)]
        action: RetentionAction,
    },
    /// Copy the database into a file, whether or not the API runs
    Backup {
        /// A file that is not there yet; a folder, where it is named after the time; or - for standard output
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Ask the running API whether it can take data; exit 0 if so
    Health,
    /// Make and list the tokens of API_TOKENS and API_TOKENS_FILE
    Token {
        /// What to do
        #[command(subcommand)]
        action: TokenAction,
    },
}

/// The settings of the API. All fields are public, so that a program can run the API inside itself.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "API")]
pub struct Config {
    /// Database, such as sqlite:dados.db
    #[arg(long, env = "DATABASE_URL", value_name = "URL", default_value = "sqlite:dados.db")]
    pub database_url: String,
    /// Connections that read at the same time
    #[arg(long, env = "DATABASE_READERS", value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub database_readers: u32,
    /// Address to listen on
    #[arg(long, env = "API_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:8080", value_parser = settings::address)]
    pub api_addr: SocketAddr,
    /// Listen beyond this machine with no token: only for a private network
    #[arg(long, env = "API_ALLOW_ANONYMOUS", value_name = "BOOL", default_value = "false", action = ArgAction::Set,
          num_args = 0..=1, require_equals = true, default_missing_value = "true",
          value_parser = BoolishValueParser::new())]
    pub api_allow_anonymous: bool,
    /// Field of a payload with the device's own time: ts, or by topic: casa/#=ts,planta/+=relogio.unix
    #[arg(long, env = "TIMESTAMP_FIELD", value_name = "[FILTER=]FIELD,…", default_value = "")]
    pub timestamp_field: Rules,
    /// Delete messages older than this, such as 90d; without it, none
    #[arg(long, env = "RETENTION_DADOS", value_name = "TIME", value_parser = age)]
    pub retention_dados: Option<Duration>,
    /// Delete readings older than this
    #[arg(long, env = "RETENTION_LEITURAS", value_name = "TIME", value_parser = age)]
    pub retention_leituras: Option<Duration>,
    /// Delete readings by minute older than this
    #[arg(long, env = "RETENTION_LEITURAS_MINUTO", value_name = "TIME", value_parser = age)]
    pub retention_leituras_minuto: Option<Duration>,
    /// Delete readings by hour older than this
    #[arg(long, env = "RETENTION_LEITURAS_HORA", value_name = "TIME", value_parser = age)]
    pub retention_leituras_hora: Option<Duration>,
    /// Largest request body, as sent and as decompressed
    #[arg(long, env = "API_BODY_BYTES_MAX", value_name = "SIZE", default_value = "32MiB", value_parser = body_bytes)]
    pub api_body_bytes_max: usize,
    /// Connections at the same time; for one more, the one that has been idle longest is closed
    #[arg(long, env = "API_CONNECTIONS_MAX", value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub api_connections_max: u32,
    /// Connections of one address (IPv6: one /64); a quarter of all where not set
    #[arg(long, env = "API_CONNECTIONS_PER_ADDRESS", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub api_connections_per_address: Option<u32>,
    /// Readers of GET /dados/ao-vivo at the same time; more are told to come back
    #[arg(long, env = "API_LIVE_READERS_MAX", value_name = "N", default_value_t = 1000,
          value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub api_live_readers_max: u32,
    /// How long such a reader hears nothing: proxies close connections that seem dead
    #[arg(long, env = "API_LIVE_HEARTBEAT", value_name = "TIME", default_value = "15s", value_parser = heartbeat)]
    pub api_live_heartbeat: Duration,
    /// Who may ask
    #[command(flatten)]
    pub access: AccessSettings,
    /// Where people find Metabase, for a link on the live page
    #[arg(long, env = "METABASE_LINK", value_name = "URL", value_parser = link)]
    pub metabase_link: Option<String>,
}

impl Default for Config {
    /// The defaults of the command line.
    fn default() -> Self {
        Self {
            database_url: "sqlite:dados.db".to_owned(),
            database_readers: 4,
            api_addr: (Ipv4Addr::LOCALHOST, 8080).into(),
            api_allow_anonymous: false,
            timestamp_field: Rules::default(),
            retention_dados: None,
            retention_leituras: None,
            retention_leituras_minuto: None,
            retention_leituras_hora: None,
            api_body_bytes_max: 32 << 20,
            api_connections_max: 1024,
            api_connections_per_address: None,
            api_live_readers_max: 1000,
            api_live_heartbeat: Duration::from_secs(15),
            access: AccessSettings::default(),
            metabase_link: None,
        }
    }
}

/// Connections that readers of new rows leave to everyone else: a reader keeps its own for hours.
const CONNECTIONS_FOR_OTHERS: u32 = 24;

impl Config {
    /// The API that runs with these settings, as a subcommand beside it asks it.
    pub fn server(&self) -> Server {
        let token = self.access.api_token.as_ref().map(|token| token.expose_secret().to_owned());
        Server { addr: self.api_addr, certificate: self.access.api_tls_cert_file.clone(), token }
    }

    pub(crate) fn live_limits(&self, held_bytes_max: usize) -> Limits {
        Limits {
            held_bytes_max,
            readers_max: self.live_readers() as usize,
            database_readers: self.database_readers,
            heartbeat: self.api_live_heartbeat,
        }
    }

    pub(crate) fn connection_limits(&self) -> http::limit::Limits {
        let proxies = self.access.api_trusted_proxies.clone();
        // The connections of a proxy are those of its clients.
        let address = move |peer| (!proxies.trusts(peer)).then(|| counted(peer));
        http::limit::Limits::new(self.api_connections_max).per_address(self.api_connections_per_address, address)
    }

    /// How many may follow new rows.
    fn live_readers(&self) -> u32 {
        let left = self.api_connections_max.saturating_sub(CONNECTIONS_FOR_OTHERS).max(1);
        self.api_live_readers_max.min(left)
    }

    pub(crate) fn ages(&self) -> Ages {
        Ages {
            messages: self.retention_dados,
            readings: self.retention_leituras,
            minutes: self.retention_leituras_minuto,
            hours: self.retention_leituras_hora,
        }
    }
}

/// The shortest age: a forgotten `d` must not delete all but the last minutes.
const AGE_MIN: Duration = Duration::from_secs(3600);

fn age(text: &str) -> Result<Duration, String> {
    match settings::duration(text)? {
        age if age >= AGE_MIN => Ok(age),
        _ => Err("expected 1h or more, such as 12h or 90d".to_owned()),
    }
}

/// The shortest and the longest time between two signs of life.
const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
const HEARTBEAT_MAX: Duration = Duration::from_secs(300);

fn heartbeat(text: &str) -> Result<Duration, String> {
    match settings::duration(text)? {
        time if (HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&time) => Ok(time),
        _ => Err("expected a time from 1s to 5m, such as 15s".to_owned()),
    }
}

/// The largest body that `API_BODY_BYTES_MAX` can allow: a body is held whole until it is stored.
const BODY_BYTES_CEILING: u64 = 1 << 30;

fn body_bytes(text: &str) -> Result<usize, String> {
    match settings::bytes(text)? {
        bytes @ 1..=BODY_BYTES_CEILING => usize::try_from(bytes).map_err(|error| error.to_string()),
        _ => Err("expected a size from 1 byte to 1GiB, such as 32MiB".to_owned()),
    }
}

/// A browser follows it: nothing but the web.
fn link(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    match rest.filter(|rest| rest.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '[')) {
        Some(_) => Ok(text.to_owned()),
        None => Err("expected http://… or https://…, such as http://localhost:3000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_known_to_both_products() {
        assert_eq!(settings::unlisted::<Cli>(), Vec::<String>::new());
    }

    #[test]
    fn the_default_in_rust_is_that_of_the_command_line() {
        let parsed = Cli::try_parse_from(["ponte-api"]).unwrap().config;
        let default = Config::default();
        assert_eq!(format!("{parsed:?}"), format!("{default:?}"));
    }

    #[test]
    fn readers_of_new_rows_leave_connections_to_others() {
        let readers = |api_live_readers_max, api_connections_max| {
            Config { api_live_readers_max, api_connections_max, ..Config::default() }.live_readers()
        };
        assert_eq!((readers(1000, 1024), readers(1000, 1023), readers(5, 1024)), (1000, 999, 5));
        assert_eq!((readers(1000, 1), readers(1000, 25), readers(1000, 26)), (1, 1, 2));
    }

    #[test]
    fn a_link_leads_to_the_web_alone() {
        for text in ["http://localhost:3000", "https://metabase.example/a?b#c", "http://[::1]:3000"] {
            assert_eq!(link(text).as_deref(), Ok(text));
        }
        for text in ["", "localhost:3000", "javascript:alert(1)", "http://", "https:///a", "file:///etc/passwd"] {
            assert!(link(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_subcommand_is_never_taken_for_a_value() {
        let cli = Cli::try_parse_from(["ponte-api", "--api-allow-anonymous", "check"]).unwrap();
        assert!(cli.config.api_allow_anonymous);
        assert_eq!(cli.command, Some(Action::Check));
    }
}
