//! Asks a server of ours on this machine: plainly or with TLS, with a token or without.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::tls::certificates;
use crate::{Exit, Fatal};

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of an answer at most.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// A server of ours on this machine.
#[derive(Clone)]
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The file of the certificate that it serves, where it has TLS.
    pub certificate: Option<PathBuf>,
    /// Sent as Bearer, and only to who has that certificate.
    pub token: Option<String>,
}

impl From<SocketAddr> for Server {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, certificate: None, token: None }
    }
}

/// What a server said.
pub struct Answer {
    /// 0 where it spoke no HTTP.
    pub status: u16,
    /// At most 16 KiB of it, with the head.
    pub body: String,
}

/// Asks with no body; exit 69 where nobody answers in time.
pub async fn ask(server: &Server, method: &str, path: &str) -> Result<Answer, Fatal> {
    let addr = reachable(server.addr);
    let unavailable = |problem: &str| Fatal::new(Exit::Unavailable, format_args!("{addr}: {problem}"));
    let authorization = match &server.token {
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Err(Fatal::setting("API_TOKEN", "expected visible ASCII characters"));
        }
        Some(token) => format!("authorization: Bearer {token}\r\n"),
        None => String::new(),
    };
    let request = format!("{method} {path} HTTP/1.0\r\nhost: {addr}\r\n{authorization}content-length: 0\r\n\r\n");
    let asking = async {
        let stream = TcpStream::connect(addr).await?;
        match connector(server).map_err(std::io::Error::other)? {
            None => exchange(stream, &request).await,
            Some(connector) => exchange(connector.connect(addr.ip().into(), stream).await?, &request).await,
        }
    };
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, asking).await;
    let answer =
        answer.map_err(|_| unavailable("no answer in time"))?.map_err(|error| unavailable(&error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: body.to_owned() })
}

/// One request of HTTP/1.0: the server closes after its answer, so the end of the stream is the end of the answer.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> std::io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where a server that listens on every interface is reached from this machine.
pub fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

fn connector(server: &Server) -> Result<Option<TlsConnector>, Fatal> {
    let Some(file) = &server.certificate else { return Ok(None) };
    let pinned = match &server.token {
        None => None,
        Some(_) => {
            let chain = certificates(file).map_err(|error| Fatal::new(Exit::Usage, error))?;
            chain.into_iter().next()
        }
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = Own { pinned, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Fatal::new(Exit::Software, error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Some(TlsConnector::from(Arc::new(config))))
}

/// Trusts the very certificate that the server was told to serve: its names say nothing of loopback, and who signed it
/// does not matter where both ends read the same file.
///
/// A question without a token goes to whoever listens: it tells nothing, and a server that rightly keeps its old
/// certificate, because the renewed files cannot be served, must not be taken for dead and restarted.
#[derive(Debug)]
struct Own {
    pinned: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Own {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.pinned {
            Some(pinned) if pinned != end_entity => {
                Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_asked_on_loopback() {
        for (addr, expected) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(reachable(addr.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
