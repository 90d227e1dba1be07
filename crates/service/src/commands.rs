//! What the subcommands `check` and `health` of both products have in common.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::settings::Source;
use crate::{Exit, Fatal};

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// What is read of an answer at most.
const ANSWER_BYTES_MAX: u64 = 16 << 10;
/// A value is not padded further than this.
const VALUE_WIDTH_MAX: usize = 48;

/// To standard output, which is these commands' purpose; a reader that went away (`| head`) is no failure.
pub fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Every setting with its value and where it came from, a line each.
pub fn print_settings(sources: &[Source]) {
    let name = sources.iter().map(|source| source.variable.len()).max().unwrap_or(0);
    let value = sources.iter().map(|source| source.value.len()).max().unwrap_or(0).min(VALUE_WIDTH_MAX);
    for source in sources {
        let line = format!("{:name$}  {:value$}  {}", source.variable, source.value, source.origin);
        print(&format!("{}\n", line.trim_end()));
    }
}

/// Asks the program that serves `/readyz` on this address whether it can work; exit 69 where it cannot.
pub async fn health(addr: SocketAddr) -> Result<(), Fatal> {
    match ask(addr, "GET", "/readyz").await? {
        Answer { status: 200, .. } => Ok(()),
        Answer { body, .. } => Err(Fatal::new(Exit::Unavailable, format_args!("{addr}: not ready: {body}"))),
    }
}

/// What a server said.
pub struct Answer {
    /// 0 where it spoke no HTTP.
    pub status: u16,
    /// At most 16 KiB of it, with the head.
    pub body: String,
}

/// Asks the program that serves on this address, with no body; exit 69 where nobody answers in time.
pub async fn ask(addr: SocketAddr, method: &str, path: &str) -> Result<Answer, Fatal> {
    let addr = reachable(addr);
    let unavailable = |problem: &str| Fatal::new(Exit::Unavailable, format_args!("{addr}: {problem}"));
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, exchange(addr, method, path)).await;
    let answer =
        answer.map_err(|_| unavailable("no answer in time"))?.map_err(|error| unavailable(&error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, body: body.to_owned() })
}

/// One request of HTTP/1.0: the server closes after its answer, so the end of the stream is the end of the answer.
async fn exchange(addr: SocketAddr, method: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    let request = format!("{method} {path} HTTP/1.0\r\nhost: {addr}\r\ncontent-length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Where a server that listens on every interface is reached from this machine.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
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
