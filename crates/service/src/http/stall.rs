//! A client that takes nothing of its answer is given up: what waits for it is memory, and would be so for ever.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// How long a client may take not one byte of what is sent to it.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The same once the server is told to stop: others wait for its end.
const STALL_TIMEOUT_STOPPING: Duration = Duration::from_secs(2);

/// A connection whose writes fail once the other side has taken nothing for too long.
pub(super) struct Watched<T> {
    stream: T,
    stopping: CancellationToken,
    /// Runs while a write waits; its end is the connection's.
    stall: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<T> Watched<T> {
    /// `stopping` is cancelled when the server is told to stop.
    pub(super) fn new(stream: T, stopping: CancellationToken) -> Self {
        Self { stream, stopping, stall: None }
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
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.judge(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn watched(stopping: CancellationToken) -> (Watched<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(4);
        (Watched::new(ours, stopping), theirs)
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
