//! The settings and the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use secrecy::{ExposeSecret as _, SecretString};
use service::Fatal;
use service::telemetry::LogSettings;
use url::Url;

/// The password that docker-compose.yml sets where nobody has chosen one: everybody can read it there.
pub const DOCUMENTED_PASSWORD: &str = "ponte-metabase-1";

/// How long Metabase may take to start: minutes, on a small machine that migrates.
const HEALTH_WAIT_MAX: Duration = Duration::from_secs(600);
/// How long its first look at the database may take until all tables and fields are known.
const TABLES_WAIT_MAX: Duration = Duration::from_secs(300);
/// The first wait before something is asked again; it doubles …
const DELAY_FIRST: Duration = Duration::from_millis(500);
/// … up to this.
const DELAY_MAX: Duration = Duration::from_secs(5);
/// How often everything is looked up anew after the network or Metabase failed half-way.
const ATTEMPTS_MAX: u32 = 6;
/// The most that is read of a file with a password.
const PASSWORD_BYTES_MAX: usize = 1024;
/// The largest file that is read for one.
const PASSWORD_FILE_BYTES_MAX: u64 = 64 << 10;

/// Gives Metabase its database, cards and dashboard; running it again changes nothing that is there
#[derive(Parser, Clone, Debug)]
#[command(name = "metabase-setup", version)]
pub struct Cli {
    /// What it sets up, and where
    #[command(flatten)]
    pub settings: Settings,
    /// How it logs
    #[command(flatten)]
    pub log: LogSettings,
}

/// The settings as they are typed: flags = environment = `.env`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metabase")]
pub struct Settings {
    /// Where Metabase is
    #[arg(long, env = "METABASE_URL", value_name = "URL", default_value = "http://127.0.0.1:3000")]
    pub metabase_url: Url,
    /// The administrator's e-mail address, which is the name to sign in with; no mail is sent there
    #[arg(long, env = "METABASE_EMAIL", value_name = "ADDRESS", default_value = "admin@ponte.local",
          value_parser = email)]
    pub metabase_email: String,
    /// The administrator's password: at least 6 characters with a digit, and no common one
    #[arg(long, env = "METABASE_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub metabase_password: Option<SecretString>,
    /// File with the password, read instead of METABASE_PASSWORD
    #[arg(long, env = "METABASE_PASSWORD_FILE", value_name = "FILE")]
    pub metabase_password_file: Option<PathBuf>,
    /// Setup token, only for a Metabase that does not show its own in GET /api/session/properties
    #[arg(long, env = "MB_SETUP_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub mb_setup_token: Option<SecretString>,
    /// What Metabase calls itself
    #[arg(long, env = "METABASE_SITE_NAME", value_name = "NAME", default_value = "Ponte", value_parser = name)]
    pub metabase_site_name: String,
    /// Language of Metabase and of what is made in it
    #[arg(long, env = "METABASE_LOCALE", value_name = "LOCALE", default_value = "pt_BR")]
    pub metabase_locale: Locale,
    /// What Metabase calls the database
    #[arg(long, env = "METABASE_DATABASE_NAME", value_name = "NAME", default_value = "dados", value_parser = name)]
    pub metabase_database_name: String,
    /// The database's file, as Metabase sees it
    #[arg(long, env = "METABASE_DATABASE_PATH", value_name = "FILE", default_value = "/data/dados.db",
          value_parser = path)]
    pub metabase_database_path: String,
    /// Where people reach Metabase: beyond this machine only with a password of your own
    #[arg(long, env = "PUBLISH_METABASE", value_name = "IP:PORT", default_value = "127.0.0.1:3000",
          value_parser = address)]
    pub publish_metabase: SocketAddr,
}

/// The language of everything that people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Locale {
    /// Brazilian Portuguese.
    #[value(name = "pt_BR")]
    Portuguese,
    /// English.
    #[value(name = "en")]
    English,
}

impl Locale {
    /// As Metabase writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Portuguese => "pt_BR",
            Self::English => "en",
        }
    }
}

/// The settings as a run uses them: whatever is in here is valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// The base of Metabase's routes, with a final slash.
    pub url: Url,
    /// Who signs in, and is made administrator where there is none.
    pub email: String,
    /// Their password.
    pub password: SecretString,
    /// The setup token of a Metabase that does not show it. It keeps nobody out: Metabase shows it to everybody.
    pub setup_token: Option<SecretString>,
    /// What Metabase calls itself.
    pub site_name: String,
    /// The language of what is made.
    pub locale: Locale,
    /// What Metabase calls the database.
    pub database_name: String,
    /// Which database that is.
    pub database: Database,
    /// Where people reach Metabase.
    pub published: SocketAddr,
    /// How long a run waits for what comes by itself.
    pub waits: Waits,
}

/// The databases that Metabase can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file, opened read-only.
    Sqlite {
        /// Absolute, as Metabase sees it.
        path: String,
    },
}

/// How long a run waits for what comes by itself.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// Until Metabase says that it is well and its API answers.
    pub health_max: Duration,
    /// Until it knows the tables and fields.
    pub tables_max: Duration,
    /// The first wait between two questions; it doubles …
    pub delay_first: Duration,
    /// … up to this.
    pub delay_max: Duration,
    /// How often everything is looked up anew after a failure that may pass.
    pub attempts_max: u32,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            health_max: HEALTH_WAIT_MAX,
            tables_max: TABLES_WAIT_MAX,
            delay_first: DELAY_FIRST,
            delay_max: DELAY_MAX,
            attempts_max: ATTEMPTS_MAX,
        }
    }
}

impl Waits {
    /// The wait before asking again, when it was in vain so many times.
    pub fn delay(&self, failures: u32) -> Duration {
        self.delay_first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(self.delay_max)
    }
}

impl Settings {
    /// Checks what one setting alone cannot tell, and reads the password's file.
    pub fn resolve(self) -> Result<Config, Fatal> {
        let mut url = self.metabase_url;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            let problem = format!("\"{url}\": expected http://host:port or https://host");
            return Err(Fatal::setting("METABASE_URL", problem));
        }
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let password = match (self.metabase_password_file, self.metabase_password) {
            (Some(file), _) => read_password(&file)?,
            (None, Some(password)) => password,
            (None, None) => {
                let problem = "missing; expected the administrator's password, at least 6 characters with a digit \
                               (or METABASE_PASSWORD_FILE)";
                return Err(Fatal::setting("METABASE_PASSWORD", problem));
            }
        };
        if password.expose_secret() == DOCUMENTED_PASSWORD && !self.publish_metabase.ip().is_loopback() {
            let problem = format!(
                "it is the one that everybody can read in docker-compose.yml, while PUBLISH_METABASE={} lets others \
                 in; expected a password of your own",
                self.publish_metabase
            );
            return Err(Fatal::setting("METABASE_PASSWORD", problem));
        }
        Ok(Config {
            url,
            email: self.metabase_email,
            password,
            setup_token: self.mb_setup_token,
            site_name: self.metabase_site_name,
            locale: self.metabase_locale,
            database_name: self.metabase_database_name,
            database: Database::Sqlite { path: self.metabase_database_path },
            published: self.publish_metabase,
            waits: Waits::default(),
        })
    }
}

/// The file's text without the line's end that editors put there.
fn read_password(file: &std::path::Path) -> Result<SecretString, Fatal> {
    let fault = |problem: &dyn std::fmt::Display| {
        Fatal::setting("METABASE_PASSWORD_FILE", format_args!("{}: {problem}", file.display()))
    };
    let text = service::file::read_text(file, PASSWORD_FILE_BYTES_MAX).map_err(|error| fault(&error))?;
    let password = text.trim_end_matches(['\r', '\n']);
    match password.len() {
        1..=PASSWORD_BYTES_MAX if !password.contains('\n') => Ok(password.into()),
        _ => Err(fault(&"expected one line with the password")),
    }
}

fn name(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("expected a name".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Metabase wants a dot behind the @.
fn email(text: &str) -> Result<String, String> {
    let valid = text.split_once('@').is_some_and(|(user, host)| {
        let dotted = host.split_once('.').is_some_and(|(name, rest)| !name.is_empty() && !rest.is_empty());
        !user.is_empty() && dotted && !host.contains('@') && !text.contains(char::is_whitespace)
    });
    if valid { Ok(text.to_owned()) } else { Err("expected an address such as admin@ponte.local".to_owned()) }
}

/// Metabase opens the text as a file: parameters of SQLite's URIs would become part of its name.
fn path(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.contains('?') {
        Ok(text.to_owned())
    } else {
        Err("expected an absolute path in Metabase's container, such as /data/dados.db, without parameters".to_owned())
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:3000 or 0.0.0.0:3000".to_owned())
}

#[cfg(test)]
mod tests;
