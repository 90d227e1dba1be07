//! The stream below HTTP: a client that takes nothing of its answer is given up, since what waits for it is memory and
//! would be so for ever; and hyper's own answers get the form of all others.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use super::connection::BUFFER_BYTES_MAX;
use super::limit::Seat;
use super::refusal::{Head, replaced};

/// How long a client may take not one byte of what is sent to it.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same once the server is told to stop: others wait for its end.
const STALL_TIMEOUT_STOPPING: Duration = Duration::from_secs(2);

/// A connection whose writes fail once the other side has taken nothing for too long.
pub(super) struct Watched<T> {
    stream: T,
    stopping: CancellationToken,
    seat: Arc<Seat>,
    /// What was read of the head that is awaited.
    head: Head,
    /// What is left to write of the answer in place of hyper's own, after which there is no other.
    refusal: VecDeque<u8>,
    /// Runs while a write waits; its end is the connection's.
    stall: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T> Watched<T> {
    /// `stopping` is cancelled when the server is told to stop.
    pub(super) fn new(stream: T, stopping: CancellationToken, seat: Arc<Seat>) -> Self {
        Self { stream, stopping, seat, head: Head::default(), refusal: VecDeque::new(), stall: None }
    }

    /// What becomes of a write, of which the stream says this.
    fn judge<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(patience(self.stopping.clone())));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl<T: AsyncWrite + Unpin> Watched<T> {
    /// Takes what hyper answers by itself, if it is that: all of it comes in one piece.
    fn refuse(&mut self, written: &[u8]) -> bool {
        // The head of a request that is answered has come whole.
        let replaced = if self.seat.is_idle() { replaced(written, self.head, BUFFER_BYTES_MAX) } else { None };
        self.head = Head::default();
        let Some(refusal) = replaced else { return false };
        self.refusal = refusal.into();
        true
    }

    /// Writes what is left in place of hyper's own answer.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.refusal.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, self.refusal.as_slices().0))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.refusal.drain(..count);
        }
        Poll::Ready(Ok(()))
    }
}

async fn patience(stopping: CancellationToken) {
    let hurried = async {
        stopping.cancelled().await;
        tokio::time::sleep(STALL_TIMEOUT_STOPPING).await;
    };
    tokio::select! {
        () = tokio::time::sleep(STALL_TIMEOUT) => {}
        () = hurried => {}
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if self.seat.is_idle() {
            let read = &buffer.filled()[before..];
            self.head.bytes += read.len();
            self.head.lines += read.iter().filter(|byte| **byte == b'\n').count();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.refuse(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = parts
            && self.refuse(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.poll_refusal(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_flush(cx),
            other => other,
        };
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match self.poll_refusal(cx) {
            Poll::Ready(Ok(())) => Pin::new(&mut self.stream).poll_shutdown(cx),
            other => other,
        };
        self.judge(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn watched(stopping: CancellationToken) -> (Watched<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(4);
        (Watched::new(ours, stopping, Arc::new(Seat::new(0, false))), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up() {
        let (mut ours, _theirs) = watched(CancellationToken::new());
        assert_eq!(ours.write_all(b"12345").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_not() {
        let (mut ours, mut theirs) = watched(CancellationToken::new());
        let bytes = [7; 20];
        let reading = async {
            for _ in 0..bytes.len() {
                tokio::time::sleep(STALL_TIMEOUT * 9 / 10).await;
                assert_eq!(theirs.read_u8().await.unwrap(), 7);
            }
        };
        let (written, ()) = tokio::join!(ours.write_all(&bytes), reading);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_makes_it_short() {
        let stopping = CancellationToken::new();
        let (mut ours, mut theirs) = watched(stopping.clone());
        stopping.cancel();
        // Before it is told that nothing comes, nothing is wrong.
        ours.write_all(b"1234").await.unwrap();
        let began = tokio::time::Instant::now();
        assert!(ours.write_all(b"5").await.is_err());
        assert!(began.elapsed() < STALL_TIMEOUT);
        assert_eq!(theirs.read_u8().await.unwrap(), b'1');
    }
}
