//! HTTP/1.1 over TCP or TLS: how many connections, how long their headers may take, and how they end.
//!
//! - [`tls`]: the server's certificate, its reload, and handshakes
//! - `capped`: connections at the same time; `stall`: who takes nothing is given up

mod capped;
mod stall;
pub mod tls;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::capped::Capped;
use self::stall::Stalling;
use self::tls::{Secured, Tls};

/// How long a request's head may take, and how long a connection may idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A head that has this much and no end is answered with 431; one read may bring as much again. By default it would be
/// 400 KiB, which slow connections could all hold at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// There is always a timer that is due before those of heads: tokio wakes its driver for each that is due before all others,
/// by a system call, and while no connection waits for a head that would be every request's.
const BEAT: Duration = Duration::from_secs(HEADER_TIMEOUT.as_secs() / 2);
/// How long requests under way may take once the server is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves until the token is cancelled and the requests under way have ended, or have had their time. Handlers find the
/// address of who asks as `ConnectInfo<SocketAddr>`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: u32,
    tls: Option<Tls>,
    token: CancellationToken,
) -> io::Result<()> {
    let handle = Handle::<SocketAddr>::new();
    let capped = Capped::new(connections_max);
    let refused = |peer: Option<&SocketAddr>, error: &io::Error| debug!(?peer, %error, "no connection");
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).accept_error_handler(refused).http1_only();
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving: Pin<Box<dyn Future<Output = io::Result<()>> + Send>> = match tls.clone() {
        None => Box::pin(server.acceptor(Stalling::new(capped, token.clone())).serve(service)),
        Some(tls) => Box::pin(server.acceptor(Stalling::new(Secured::new(capped, tls), token.clone())).serve(service)),
    };
    let reloading = async {
        match tls {
            Some(tls) => tls.watch().await,
            None => std::future::pending().await,
        }
    };
    let beating = async {
        loop {
            tokio::time::sleep(BEAT).await;
        }
    };
    let stopping = async move {
        token.cancelled().await;
        handle.graceful_shutdown(Some(DRAIN_TIMEOUT));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = serving => result,
        () = stopping => Ok(()),
        () = reloading => Ok(()),
        () = beating => Ok(()),
    }
}
