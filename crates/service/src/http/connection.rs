//! One connection: its handshake, its requests, and how it ends.

use std::future::{poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::limit::Seat;
use super::stall::Watched;
use super::timer::OneTimer;
use super::tls::Tls;
use super::{Answer, refusal};

/// How long a request's head may take, and how long a connection may idle between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A head that has this much and no end is answered with 431; one read may bring as much again. By default it would be
/// 400 KiB, which slow connections could all hold at once.
pub(super) const BUFFER_BYTES_MAX: usize = 64 << 10;

/// The health probes of both programs.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// What connections have in common.
pub(super) struct Connection<A> {
    pub(super) answer: A,
    pub(super) tls: Option<Tls>,
    /// Cancelled when the server is told to stop.
    pub(super) stopping: CancellationToken,
}

impl<A: Answer> Connection<A> {
    /// Answers until the client goes, until the request under way when the server is told to stop, or until the connection
    /// is idle and another one needs its place.
    pub(super) async fn serve(&self, stream: TcpStream, peer: SocketAddr, seat: Arc<Seat>) {
        let talking = async {
            stream.set_nodelay(true)?;
            let Some(tls) = &self.tls else { return self.talk(stream, peer, &seat).await };
            match self.stopping.run_until_cancelled(tls.handshake(stream)).await {
                Some(stream) => self.talk(stream?, peer, &seat).await,
                None => Ok(()),
            }
        };
        let (mut talking, mut evicted) = (pin!(talking), pin!(seat.evicted.cancelled()));
        let mut is_listening = false;
        let ended = poll_fn(|cx| {
            let ended = talking.as_mut().poll(cx);
            // A task has the same waker all its life: a token needs it once, not with every request.
            if !is_listening || seat.evicted.is_cancelled() {
                is_listening = true;
                let is_evicted = evicted.as_mut().poll(cx).is_ready();
                if ended.is_pending() && is_evicted && seat.is_idle() {
                    return Poll::Ready(Ok(()));
                }
            }
            ended
        });
        if let Err(error) = ended.await {
            debug!(%peer, %error, "connection ended");
        }
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        peer: SocketAddr,
        seat: &Arc<Seat>,
    ) -> io::Result<()> {
        let mut http = http1::Builder::new();
        http.timer(OneTimer::new(seat.clone())).header_read_timeout(HEADER_TIMEOUT).max_buf_size(BUFFER_BYTES_MAX);
        // A client may end its side once it has sent its request, and wait for the answer (RFC 9112 §9.6).
        http.half_close(true);
        let stream = TokioIo::new(Watched::new(stream, self.stopping.clone(), seat.clone()));
        // hyper keeps the future of each request in one place, made once a connection.
        let service = service_fn(|request: Request<Incoming>| {
            if seat.is_for_probes && !PROBES.contains(&request.uri().path()) {
                return Either::Left(ready(Ok(refusal::full())));
            }
            Either::Right(self.answer.answer(request.map(Body::new), peer))
        });
        let mut talking = pin!(http.serve_connection(stream, service));
        let mut told = pin!(self.stopping.cancelled());
        let (mut is_listening, mut is_told) = (false, false);
        let ended = poll_fn(|cx| {
            if !is_told && (!is_listening || self.stopping.is_cancelled()) {
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
}
