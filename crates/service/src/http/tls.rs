//! TLS on a server of ours: its certificate and key, read again when the files change, and handshakes within a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{error, info};

use crate::file;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a handshake may take: a silent connection has one of the permits.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest file that is read: a chain has a few kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why a certificate cannot be served; the text is for the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file of the certificate.
    #[error("{0}; expected certificates in PEM, the server's own first")]
    Cert(String),
    /// The file of the key.
    #[error("{0}; expected a private key in PEM")]
    Key(String),
    /// Each may be well, but not together.
    #[error("{0}; expected the certificate of this key")]
    Pair(String),
}

/// A server's TLS. Clones share what is served now.
#[derive(Clone, Debug)]
pub struct Tls {
    files: Arc<Files>,
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

/// The text of both files.
#[derive(PartialEq, Eq)]
struct Texts {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What is served now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Tls {
    /// Reads a certificate chain and its key, both PEM: TLS 1.2 and 1.3, HTTP/1.1.
    pub fn load(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files { cert: cert.to_owned(), key: key.to_owned() };
        let certified = certified(&files.read()?)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Pair(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { files: Arc::new(files), current, config: Arc::new(config) })
    }

    /// Takes a connection that does its handshake in time.
    pub(super) async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let handshake = TlsAcceptor::from(self.config.clone()).accept(stream);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
            Ok(stream) => stream,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake in time")),
        }
    }

    /// Looks at the files for ever, and serves what they have. What cannot be served changes nothing: a half-written
    /// file, or one of the two before the other.
    pub(super) async fn watch(&self) -> ! {
        let mut last = self.files.read().ok();
        let mut failed = None;
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let files = self.files.clone();
            let Ok(read) = tokio::task::spawn_blocking(move || files.read()).await else { continue };
            let changed = read.and_then(|texts| {
                if last.as_ref() == Some(&texts) {
                    return Ok(false);
                }
                let certified = certified(&texts)?;
                *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                last = Some(texts);
                Ok(true)
            });
            match changed {
                Ok(true) => info!(cert = %self.files.cert.display(), "TLS: serving the new certificate"),
                // The old files came back.
                Ok(false) => {}
                Err(error) => {
                    let error = error.to_string();
                    if failed.as_ref() != Some(&error) {
                        error!(%error, "TLS: the changed files cannot be served; still serving the old certificate");
                    }
                    failed = Some(error);
                    continue;
                }
            }
            failed = None;
        }
    }
}

impl Files {
    fn read(&self) -> Result<Texts, TlsError> {
        let cert = read(&self.cert).map_err(|error| TlsError::Cert(format!("{}: {error}", self.cert.display())))?;
        let key = read(&self.key).map_err(|error| TlsError::Key(format!("{}: {error}", self.key.display())))?;
        Ok(Texts { cert, key })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    file::read(path, FILE_BYTES_MAX)
}

/// The certificates of a PEM file, the first of them the server's own.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path).map_err(|error| TlsError::Cert(format!("{}: {error}", path.display())))?;
    chain(&text)
}

fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::Cert("no certificate in it".to_owned())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(TlsError::Cert(error.to_string())),
    }
}

fn certified(texts: &Texts) -> Result<CertifiedKey, TlsError> {
    let chain = chain(&texts.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&texts.key).map_err(|error| TlsError::Key(error.to_string()))?;
    let provider = ring::default_provider();
    let certified = CertifiedKey::from_der(chain, key, &provider).map_err(|error| TlsError::Pair(error.to_string()))?;
    Ok(certified)
}
