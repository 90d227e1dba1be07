//! HTTP/1.1 over TCP: how many connections, how long their headers may take, and how they end.
//!
//! - `stall`: who takes nothing is given up

mod stall;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum_server::Handle;
use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::warn;

use self::stall::Stalling;

/// How long a request's head may take, and how long a connection may idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long requests under way may take once the server is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often at most a full server says so.
const FULL_LOG_INTERVAL_S: u64 = 10;

/// Serves until the token is cancelled and the requests under way have ended, or have had their time.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    connections_max: u32,
    token: CancellationToken,
) -> io::Result<()> {
    let handle = Handle::<SocketAddr>::new();
    let capped = Capped::new(connections_max);
    let accepting = Stalling::new(capped, token.clone());
    let mut server = axum_server::from_tcp(listener)?.handle(handle.clone()).acceptor(accepting).http1_only();
    server.http_builder().http1().header_read_timeout(HEADER_TIMEOUT);
    let serving = server.serve(router.into_make_service());
    let stopping = async move {
        token.cancelled().await;
        handle.graceful_shutdown(Some(DRAIN_TIMEOUT));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        result = serving => result,
        () = stopping => Ok(()),
    }
}

/// Takes as many connections as may be, and closes others at once: one that waited would hold a file descriptor.
#[derive(Clone)]
struct Capped {
    free: Arc<Semaphore>,
    connections_max: u32,
    started: Instant,
    /// Seconds after `started` from which on the next refusal is logged.
    log_from_s: Arc<AtomicU64>,
}

impl Capped {
    fn new(connections_max: u32) -> Self {
        let free = Arc::new(Semaphore::new(connections_max as usize));
        Self { free, connections_max, started: Instant::now(), log_from_s: Arc::default() }
    }

    fn log_full(&self) {
        let now_s = self.started.elapsed().as_secs();
        let due = |from_s| (from_s <= now_s).then_some(now_s + FULL_LOG_INTERVAL_S);
        if self.log_from_s.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok() {
            warn!(connections_max = self.connections_max, "too many connections: turning others away");
        }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Capped {
    type Stream = TcpStream;
    type Service = Permitted<S>;
    type Future = std::future::Ready<io::Result<(TcpStream, Permitted<S>)>>;

    fn accept(&self, stream: TcpStream, inner: S) -> Self::Future {
        let accepted = match self.free.clone().try_acquire_owned() {
            Ok(permit) => stream.set_nodelay(true).map(|()| (stream, Permitted { inner, _permit: Arc::new(permit) })),
            Err(_) => {
                self.log_full();
                Err(io::Error::other("too many connections"))
            }
        };
        std::future::ready(accepted)
    }
}

/// The service of one connection, which gives its permit back when the connection ends.
#[derive(Clone)]
struct Permitted<S> {
    inner: S,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl<S: Service<R>, R> Service<R> for Permitted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.inner.call(request)
    }
}
