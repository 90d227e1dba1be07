//! Who may ask, and how often.
//!
//! - [`settings`]: what the operator says; [`bind`]: where no token is needed, with `service::http::hosts` for other sites'
//!   pages
//! - [`tokens`], [`scope`], [`token_file`]: who has which token, and what it allows; [`new_token`]: the subcommand
//! - [`rate`]: how often; [`addresses`]: whose request it is
//! - [`cors`], [`headers`]: what browsers are told; [`audit`]: a line for each refusal

pub(crate) mod addresses;
pub(crate) mod audit;
pub(crate) mod bind;
pub(crate) mod cors;
pub(crate) mod headers;
pub mod new_token;
pub(crate) mod rate;
pub(crate) mod scope;
pub(crate) mod settings;
pub(crate) mod token_file;
pub(crate) mod tokens;

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use axum::http::header::{AUTHORIZATION, ORIGIN};
use axum::http::{HeaderMap, Method, Uri};
use jiff::Timestamp;
pub(crate) use service::http::hosts::Denied;
use service::http::hosts::{self, Hosts};
use uuid::Uuid;

use self::addresses::{Proxies, counted};
use self::audit::{Audit, Refusal};
use self::cors::Origins;
use self::rate::{Limiter, Rate, TooOften};
use self::scope::{Needs, is_health};
use self::settings::AccessSettings;
use self::tokens::{Known, Tokens};
use crate::store::{Denial, Sender};

/// Tokens that are none, from one address: so many at once, then so many a minute. A subscriber that waits with a wrong
/// token asks less often.
const WRONG_TOKENS: Rate = Rate::new(10, Duration::from_secs(60), 20);

/// Why a request is refused, for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error(transparent)]
    OtherSite(#[from] Denied),
    #[error("this needs a token: one header Authorization: Bearer …")]
    NoToken,
    // One answer to both: whether a token was good once is nobody's business.
    #[error("this token is unknown or has expired")]
    InvalidToken,
    #[error("this token does not have the scope {}", .0.as_str())]
    Scope(Needs),
    #[error("too many requests of this token")]
    TokenRate(TooOften),
    #[error("too many requests from this address")]
    AddressRate(TooOften),
    #[error("too many wrong tokens from this address")]
    WrongTokens(TooOften),
}

/// What a request shows of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) peer: SocketAddr,
}

/// The tokens, and their names.
struct Holders {
    tokens: Tokens,
    names: Arc<HashSet<Arc<str>>>,
}

impl Holders {
    fn new(tokens: Tokens) -> Arc<Self> {
        let names = tokens.iter().map(|entry| entry.name.clone()).collect();
        Arc::new(Self { tokens, names: Arc::new(names) })
    }
}

/// What decides. Clones are the same gate.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Rules>);

struct Rules {
    /// None: access is anonymous.
    tokens: Option<RwLock<Arc<Holders>>>,
    hosts: Hosts,
    origins: Origins,
    proxies: Proxies,
    per_token: Option<Limiter<Arc<str>>>,
    per_address: Option<Limiter<IpAddr>>,
    wrong_tokens: Limiter<IpAddr>,
    audit: Audit,
}

impl Gate {
    pub(crate) fn new(settings: &AccessSettings, tokens: Tokens, hosts: Hosts) -> Self {
        Self(Arc::new(Rules {
            tokens: settings.needs_tokens().then(|| RwLock::new(Holders::new(tokens))),
            hosts,
            origins: settings.api_cors_origins.clone(),
            proxies: settings.api_trusted_proxies.clone(),
            per_token: settings.api_rate_per_token.map(Limiter::new),
            per_address: settings.api_rate_per_address.map(Limiter::new),
            wrong_tokens: Limiter::new(WRONG_TOKENS),
            audit: Audit::new(),
        }))
    }

    pub(crate) fn origins(&self) -> &Origins {
        &self.0.origins
    }

    /// Whether the answer is for the holder of a token alone.
    pub(crate) fn is_private(&self, method: &Method, uri: &Uri) -> bool {
        self.0.tokens.is_some() && Needs::of(method, uri.path()) != Needs::Nothing
    }

    /// Takes these tokens from now on; how many, where they are others than before.
    pub(crate) fn replace(&self, tokens: Tokens) -> Option<usize> {
        let mut current = self.0.tokens.as_ref()?.write().unwrap_or_else(PoisonError::into_inner);
        let count = tokens.iter().count();
        let is_new = current.tokens != tokens;
        *current = Holders::new(tokens);
        is_new.then_some(count)
    }

    /// Whether a request may pass, and who sends it; a refusal is logged.
    pub(crate) fn admit(&self, asked: Asked<'_>) -> Result<Sender, Refused> {
        let now = Instant::now();
        let mut token = None;
        self.decide(asked, now, &mut token).inspect_err(|refused| {
            let (method, path) = (asked.method, asked.uri.path());
            let (address, why) = (self.client(asked), refused.to_string());
            let status = refused.status();
            self.0.audit.refused(&Refusal { token, address, method, path, status, why: &why }, now);
        })
    }

    /// Logs that a sender may not send or report as a producer.
    pub(crate) fn denied(&self, sender: &Sender, producer: Uuid, denial: Denial) -> Denial {
        self.0.audit.denied(sender.name(), producer, denial, Instant::now());
        denial
    }

    /// `name` becomes the token's, as soon as it is known.
    fn decide(&self, asked: Asked<'_>, now: Instant, name: &mut Option<Arc<str>>) -> Result<Sender, Refused> {
        let path = asked.uri.path();
        if let Some(limiter) = &self.0.per_address
            && !is_health(path)
        {
            limiter.take(counted(self.client(asked)), now).map_err(Refused::AddressRate)?;
        }
        let Some(tokens) = &self.0.tokens else {
            let is_let_in = self.0.origins.allowed(asked.headers.get(ORIGIN)).is_some();
            hosts::decide(self.0.hosts, asked.method, asked.uri, asked.headers, is_let_in)?;
            return Ok(Sender::default());
        };
        let needs = Needs::of(asked.method, path);
        if needs == Needs::Nothing {
            return Ok(Sender::default());
        }
        let token = bearer(asked.headers).ok_or(Refused::NoToken)?;
        let holders = tokens.read().unwrap_or_else(PoisonError::into_inner).clone();
        // Every token is looked up, however many wrong ones came from its address: a valid one that shares an address with
        // others, behind a proxy or in one network, must not pay for them. Looking one up costs a hash of 512 bytes at most.
        let (known, scope) = match holders.tokens.look_up(token, Timestamp::now()) {
            Known::No => return Err(self.wrong(asked, now)),
            Known::Expired { name: known } => {
                *name = Some(known);
                return Err(self.wrong(asked, now));
            }
            Known::Valid { name: known, scope } => (known, scope),
        };
        *name = Some(known.clone());
        if !scope.allows(needs) {
            return Err(Refused::Scope(needs));
        }
        if let Some(limiter) = &self.0.per_token {
            limiter.take(known.clone(), now).map_err(Refused::TokenRate)?;
        }
        Ok(Sender::new(known, holders.names.clone()))
    }

    /// The answer to a token that is none: at first that it is wrong, and then that there are too many of these.
    fn wrong(&self, asked: Asked<'_>, now: Instant) -> Refused {
        let counted = self.0.wrong_tokens.take(counted(self.client(asked)), now);
        counted.map_or_else(Refused::WrongTokens, |()| Refused::InvalidToken)
    }

    fn client(&self, asked: Asked<'_>) -> IpAddr {
        self.0.proxies.client(asked.peer, asked.headers)
    }
}

impl Refused {
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::OtherSite(_) | Self::Scope(_) => 403,
            Self::NoToken | Self::InvalidToken => 401,
            Self::TokenRate(_) | Self::AddressRate(_) | Self::WrongTokens(_) => 429,
        }
    }
}

/// The token of the one header that may carry it (RFC 6750 §2.1); none where there are several, or another scheme.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
