//! Who may ask: tokens, rates, other sites, TLS, and what every answer says to a browser.

mod cors;
mod edges;
mod headers;
mod once;
mod producers;
mod rates;
mod sites;
mod tls;
mod token_program;
mod tokens;

use std::path::Path;

use ponte_api::config::Config;
use sha2::{Digest as _, Sha256};

use crate::{App, spawn_with};

const READ: &str = "ponte_reads";
const WRITE: &str = "ponte_writes";

/// An entry of `API_TOKENS`.
fn entry(name: &str, scope: &str, token: &str) -> String {
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{name}:{scope}:{hash}")
}

/// One token for each scope.
fn set_tokens(config: &mut Config) {
    let entries = [entry("reader", "read", READ), entry("writer", "write", WRITE)];
    config.access.api_tokens = Some(entries.join(",").into());
}

/// An API with these tokens.
async fn spawn_guarded(change: impl FnOnce(&mut Config)) -> App {
    spawn_with(tempfile::tempdir().unwrap(), |config| {
        set_tokens(config);
        change(config);
    })
    .await
}

/// A new authority's certificate for localhost and its key, in `cert.pem` and `key.pem`; the authority.
fn certificate(dir: &Path) -> reqwest::Certificate {
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let cert = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    // As careful people do it: each file whole, at once.
    for (name, text) in [("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())] {
        std::fs::write(dir.join("new"), text).unwrap();
        std::fs::rename(dir.join("new"), dir.join(name)).unwrap();
    }
    reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap()
}
