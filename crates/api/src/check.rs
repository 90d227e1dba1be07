//! The subcommands that look and change nothing: `check` and `health`.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use service::settings::{self, Source};
use service::{Exit, Fatal};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::config::Config;
use crate::{server, store};

/// How long `health` waits for the answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);
/// What `health` reads of an answer at most.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// Prints every setting and where it came from, then tests the database and the address; the first failure is the end's.
pub async fn check(config: &Config, sources: &[Source]) -> Result<(), Fatal> {
    print(&settings::table(sources));
    let database = async { Ok(store::inspect(&store::locate(&config.database_url)?).await?) };
    let database: Result<String, Fatal> = database.await;
    let address = server::bind(config).map(|_| format!("{} is free", config.api_addr));
    let mut failed = None;
    for (name, result) in [("database", database), ("address", address)] {
        match result {
            Ok(line) => print(&format!("ok      {name}: {line}\n")),
            Err(fatal) => {
                print(&format!("failed  {name}: {fatal}\n"));
                failed = failed.or(Some(fatal));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Asks the API that runs with these settings whether it can take data.
pub async fn health(config: &Config) -> Result<(), Fatal> {
    let addr = reachable(config.api_addr);
    let unavailable = |problem: &str| Fatal::new(Exit::Unavailable, format_args!("{addr}: {problem}"));
    let answer = tokio::time::timeout(HEALTH_TIMEOUT, ask(addr)).await;
    let answer =
        answer.map_err(|_| unavailable("no answer in time"))?.map_err(|error| unavailable(&error.to_string()))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(unavailable(&format!("not ready: {body}"))),
    }
}

/// One request of HTTP/1.0: the server closes after its answer, so the end of the stream is the end of the answer.
async fn ask(addr: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(format!("GET /readyz HTTP/1.0\r\nhost: {addr}\r\n\r\n").as_bytes()).await?;
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

/// A reader that went away (`| head`) is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
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
