//! The settings of access, as they are typed and as they are checked.

use std::path::PathBuf;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use service::Fatal;
use service::http::tls::{Tls, TlsError};

use super::addresses::Proxies;
use super::cors::Origins;
use super::rate::Rate;
use super::token_file;
use super::tokens::Tokens;

/// Who may ask, how often, from where, and over what.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Access")]
pub struct AccessSettings {
    /// Tokens that are taken: NAME:SCOPE:SHA256[:LAST-DAY], separated by commas; `token new` makes one
    #[arg(long, env = "API_TOKENS", value_name = "ENTRIES", hide_env_values = true)]
    pub api_tokens: Option<SecretString>,
    /// File with more of them, one a line; read again when it changes
    #[arg(long, env = "API_TOKENS_FILE", value_name = "FILE")]
    pub api_tokens_file: Option<PathBuf>,
    /// Token that subcommands send to the running API
    #[arg(long, env = "API_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub api_token: Option<SecretString>,
    /// Requests of one token, such as 100/s, 6000/m or 100/s:500 (500 at once)
    #[arg(long, env = "API_RATE_PER_TOKEN", value_name = "RATE")]
    pub api_rate_per_token: Option<Rate>,
    /// Requests of one address (IPv6: one /64)
    #[arg(long, env = "API_RATE_PER_ADDRESS", value_name = "RATE")]
    pub api_rate_per_address: Option<Rate>,
    /// Proxies whose X-Forwarded-For is believed: addresses and networks, separated by commas
    #[arg(long, env = "API_TRUSTED_PROXIES", value_name = "NETWORKS", default_value = "")]
    pub api_trusted_proxies: Proxies,
    /// Sites whose pages may use the API, such as `https://painel.example`, or * (with tokens only)
    #[arg(long, env = "API_CORS_ORIGINS", value_name = "ORIGINS", default_value = "")]
    pub api_cors_origins: Origins,
    /// Certificate chain (PEM) for TLS on the API itself; read again when it changes
    #[arg(long, env = "API_TLS_CERT_FILE", value_name = "FILE")]
    pub api_tls_cert_file: Option<PathBuf>,
    /// Key of that certificate (PEM)
    #[arg(long, env = "API_TLS_KEY_FILE", value_name = "FILE")]
    pub api_tls_key_file: Option<PathBuf>,
}

impl AccessSettings {
    /// Whether a token is needed. A file that is empty, or cannot be read any more, leaves it so.
    pub(crate) fn needs_tokens(&self) -> bool {
        self.api_tokens.is_some() || self.api_tokens_file.is_some()
    }

    /// Those of `API_TOKENS`.
    pub(crate) fn tokens(&self) -> Result<Tokens, Fatal> {
        let Some(entries) = &self.api_tokens else { return Ok(Tokens::default()) };
        let entries = (1..).zip(entries.expose_secret().split(','));
        Tokens::parse(entries).map_err(|bad| Fatal::setting("API_TOKENS", bad))
    }

    /// Those of both settings.
    pub(crate) fn all_tokens(&self) -> Result<Tokens, Fatal> {
        let tokens = self.tokens()?;
        let Some(path) = &self.api_tokens_file else { return Ok(tokens) };
        let bad = |problem: String| Fatal::setting("API_TOKENS_FILE", format_args!("{}: {problem}", path.display()));
        let more = token_file::read(path).and_then(|text| token_file::parse(&text)).map_err(bad)?;
        tokens.and(more).map_err(|error| bad(error.to_string()))
    }

    /// The certificate to serve; none without both files.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Fatal> {
        let (cert, key) = match (&self.api_tls_cert_file, &self.api_tls_key_file) {
            (None, None) => return Ok(None),
            (Some(cert), Some(key)) => (cert, key),
            (Some(_), None) => {
                return Err(Fatal::setting("API_TLS_KEY_FILE", "missing, while API_TLS_CERT_FILE is set"));
            }
            (None, Some(_)) => {
                return Err(Fatal::setting("API_TLS_CERT_FILE", "missing, while API_TLS_KEY_FILE is set"));
            }
        };
        let named = |error: TlsError| match error {
            TlsError::Key(_) => Fatal::setting("API_TLS_KEY_FILE", error),
            TlsError::Cert(_) | TlsError::Pair(_) => Fatal::setting("API_TLS_CERT_FILE", error),
        };
        Tls::load(cert, key).map(Some).map_err(named)
    }

    /// What does not go together.
    pub(crate) fn check(&self) -> Result<(), Fatal> {
        if self.api_cors_origins == Origins::Any && !self.needs_tokens() {
            let problem = "* lets every page in, so it needs API_TOKENS; without them name the origins";
            return Err(Fatal::setting("API_CORS_ORIGINS", problem));
        }
        Ok(())
    }
}
