//! As many connections as may be, each with a permit that it gives back at its end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service;
use tracing::warn;

/// How often at most a full server says so.
const FULL_LOG_INTERVAL_S: u64 = 10;

/// Takes as many connections as may be, and closes others at once: one that waited would hold a file descriptor.
#[derive(Clone)]
pub(super) struct Capped {
    free: Arc<Semaphore>,
    connections_max: u32,
    started: Instant,
    /// Seconds after `started` from which on the next refusal is logged.
    log_from_s: Arc<AtomicU64>,
}

impl Capped {
    pub(super) fn new(connections_max: u32) -> Self {
        let free = Arc::new(Semaphore::new(connections_max as usize));
        Self { free, connections_max, started: Instant::now(), log_from_s: Arc::default() }
    }

    /// The service with a permit, if one is free.
    pub(super) fn admit<S>(&self, stream: &TcpStream, inner: S) -> io::Result<Permitted<S>> {
        let Ok(permit) = self.free.clone().try_acquire_owned() else {
            self.log_full();
            return Err(io::Error::other("too many connections"));
        };
        stream.set_nodelay(true)?;
        Ok(Permitted { inner, _permit: Arc::new(permit) })
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
        std::future::ready(self.admit(&stream, inner).map(|service| (stream, service)))
    }
}

/// The service of one connection, which gives its permit back when the connection ends.
#[derive(Clone)]
pub(super) struct Permitted<S> {
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
