//! The settings of the API and its command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, Parser, Subcommand};
use service::settings;
use service::telemetry::LogSettings;

use crate::projector::device_time::Rules;
use crate::retention::Ages;

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
#[derive(Subcommand, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve the API until SIGTERM (the default)
    Serve,
    /// Print every setting with its origin, then test the database and the address; changes nothing
    Check,
    /// Derive readings, topics and charts anew from all stored messages, in the running API or, where none runs, here
    Reproject,
    /// Ask the running API whether it can take data; exit 0 if so
    Health,
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
    #[arg(long, env = "API_ADDR", value_name = "IP:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
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
    /// Connections at the same time; more are turned away
    #[arg(long, env = "API_CONNECTIONS_MAX", value_name = "N", default_value_t = 1024,
          value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub api_connections_max: u32,
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
            metabase_link: None,
        }
    }
}

impl Config {
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

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned())
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
