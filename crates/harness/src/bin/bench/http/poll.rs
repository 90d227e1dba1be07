//! Asks for one thing again and again on one connection, cheaply enough to do so thousands of times a second.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::answer;

/// One row is far shorter.
const ANSWER_BYTES_MAX: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection to the API. It blocks: a runtime's timers are too coarse for those who look every fraction of a
/// millisecond.
pub(crate) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    /// One that looks for the newest row.
    pub(crate) fn connect(api: SocketAddr) -> anyhow::Result<Self> {
        Self::asking(api, "/dados?limite=1", ANSWER_BYTES_MAX)
    }

    /// One that asks for this path again and again.
    pub(crate) fn asking(api: SocketAddr, path: &str, answer_bytes_max: usize) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(api)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: {api}\r\n\r\n").into_bytes();
        Ok(Self { stream, request, buffer: vec![0; answer_bytes_max] })
    }

    /// Asks, and gives the whole answer.
    pub(crate) fn ask(&mut self) -> anyhow::Result<&str> {
        self.stream.write_all(&self.request)?;
        let mut received = 0;
        let answer = loop {
            let read = self.stream.read(&mut self.buffer[received..])?;
            ensure!(read > 0, "the server left, or its answer is larger than {} bytes", self.buffer.len());
            received += read;
            if let Some(answer) = answer::read(&self.buffer[..received])? {
                break answer;
            }
        };
        let text = str::from_utf8(&self.buffer[..received])?;
        ensure!(answer.status == 200, "not 200: {text}");
        Ok(text)
    }

    /// The newest readable row's id; 0 where there is none.
    pub(crate) fn newest_id(&mut self) -> anyhow::Result<usize> {
        let text = self.ask()?;
        let Some((_, row)) = text.split_once("[{\"id\":") else { return Ok(0) };
        let (id, _) = row.split_once(',').with_context(|| format!("no row: {text}"))?;
        Ok(id.parse()?)
    }
}
