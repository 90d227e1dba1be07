//! One connection: its handshake, its requests, and how it ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use axum::routing::future::RouteFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;
use tracing::debug;

use super::stall::Watched;
use super::tls::Tls;

/// How long a request's head may take, and how long a connection may idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A head that has this much and no end is answered with 431; one read may bring as much again. By default it would be
/// 400 KiB, which slow connections could all hold at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// There is always a timer that is due before those of heads: tokio wakes its driver for each that is due before all others,
/// by a system call, and while no connection waits for a head that would be every request's.
const BEAT: Duration = Duration::from_secs(HEADER_TIMEOUT.as_secs() / 2);

/// What connections have in common.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) router: Router,
    pub(super) tls: Option<Tls>,
    /// Cancelled when the server is told to stop.
    pub(super) stopping: CancellationToken,
}

/// Keeps that timer, for ever.
pub(super) async fn beat() {
    loop {
        tokio::time::sleep(BEAT).await;
    }
}

impl Connection {
    /// Answers until the client goes, or until the request under way when the server is told to stop.
    pub(super) async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        let Self { router, tls, stopping } = self;
        let asked = Asked { router, peer };
        let result = async {
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return talk(stream, asked, &stopping).await };
            match stopping.run_until_cancelled(tls.handshake(stream)).await {
                Some(stream) => talk(stream?, asked, &stopping).await,
                None => Ok(()),
            }
        };
        if let Err(error) = result.await {
            debug!(%peer, %error, "connection ended");
        }
    }
}

async fn talk<T>(stream: T, asked: Asked, stopping: &CancellationToken) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    let stream = TokioIo::new(Watched::new(stream, stopping.clone()));
    let mut talking = pin!(http.serve_connection(stream, asked));
    let mut told = pin!(stopping.cancelled());
    let (mut is_listening, mut is_told) = (false, false);
    let ended = poll_fn(|cx| {
        // A task has the same waker all its life: the token needs it once, not with every request.
        if !is_told && (!is_listening || stopping.is_cancelled()) {
            is_told = told.as_mut().poll(cx).is_ready();
            is_listening = true;
            if is_told {
                talking.as_mut().graceful_shutdown();
            }
        }
        talking.as_mut().poll(cx)
    });
    ended.await.map_err(io::Error::other)
}

/// Who asks, and who answers.
struct Asked {
    router: Router,
    peer: SocketAddr,
}

impl Service<Request<Incoming>> for Asked {
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        // A router is always ready.
        self.router.clone().call(request)
    }
}
