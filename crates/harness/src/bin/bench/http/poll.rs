//! Looks for new rows on one connection, cheaply enough to do so thousands of times a second.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::load::receive;

/// One row is far shorter.
const ANSWER_BYTES_MAX: usize = 8 << 10;

/// One connection to the API.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) async fn connect(api: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(api).await?;
        stream.set_nodelay(true)?;
        let request = format!("GET /dados?limite=1 HTTP/1.1\r\nhost: {api}\r\n\r\n").into_bytes();
        Ok(Self { stream, request, buffer: vec![0; ANSWER_BYTES_MAX] })
    }

    /// The newest readable row's id; 0 where there is none.
    pub(crate) async fn newest_id(&mut self) -> anyhow::Result<usize> {
        self.stream.write_all(&self.request).await?;
        let (answer, received) = receive(&mut self.stream, &mut self.buffer).await?;
        let text = str::from_utf8(&self.buffer[..received])?;
        ensure!(answer.status == 200, "not 200: {text}");
        let Some((_, row)) = text.split_once("[{\"id\":") else { return Ok(0) };
        let (id, _) = row.split_once(',').with_context(|| format!("no row: {text}"))?;
        Ok(id.parse()?)
    }
}
