//! One connection: its handshake, its requests, and how it ends.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Answer;
use super::stall::Watched;
use super::timer::OneTimer;
use super::tls::Tls;

/// How long a request's head may take, and how long a connection may idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A head that has this much and no end is answered with 431; one read may bring as much again. By default it would be
/// 400 KiB, which slow connections could all hold at once.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What connections have in common.
pub(super) struct Connection<A> {
    pub(super) answer: A,
    pub(super) tls: Option<Tls>,
    /// Cancelled when the server is told to stop.
    pub(super) stopping: CancellationToken,
}

impl<A: Answer> Connection<A> {
    /// Answers until the client goes, or until the request under way when the server is told to stop.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr) {
        let Self { answer, tls, stopping } = self;
        let result = async {
            stream.set_nodelay(true)?;
            let Some(tls) = tls else { return talk(stream, answer, peer, stopping).await };
            match stopping.run_until_cancelled(tls.handshake(stream)).await {
                Some(stream) => talk(stream?, answer, peer, stopping).await,
                None => Ok(()),
            }
        };
        if let Err(error) = result.await {
            debug!(%peer, %error, "connection ended");
        }
    }
}

async fn talk<T, A>(stream: T, answer: &A, peer: SocketAddr, stopping: &CancellationToken) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
    A: Answer,
{
    let mut http = http1::Builder::new();
    http.timer(OneTimer::default()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
    let stream = TokioIo::new(Watched::new(stream, stopping.clone()));
    // hyper keeps the future of each request in one place, made once a connection.
    let service = service_fn(|request: Request<Incoming>| answer.answer(request.map(Body::new), peer));
    let mut talking = pin!(http.serve_connection(stream, service));
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
