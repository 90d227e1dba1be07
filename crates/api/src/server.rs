//! Where the API listens.

use std::io::ErrorKind;
use std::net::TcpListener;

use service::{Exit, Fatal};

use crate::access::bind;
use crate::config::Config;

/// Binds `API_ADDR`, unless it reaches further than the access settings allow.
pub fn bind(config: &Config) -> Result<TcpListener, Fatal> {
    let addr = config.api_addr;
    bind::check_bind(addr, config.access.needs_tokens(), config.api_allow_anonymous)?;
    TcpListener::bind(addr).map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::AddrInUse => "the address is in use by another program".to_owned(),
            ErrorKind::AddrNotAvailable => "no network interface has this address".to_owned(),
            ErrorKind::PermissionDenied => "not allowed to listen there; ports below 1024 need privileges".to_owned(),
            _ => error.to_string(),
        };
        Fatal::new(Exit::Unavailable, format_args!("API_ADDR: cannot listen on {addr}: {problem}"))
    })
}
