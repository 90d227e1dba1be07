//! The little that a load generator must know of an HTTP/1.1 answer: its status, and where it ends.

use anyhow::{Context as _, bail, ensure};

/// The end of the head (RFC 9112 §2.1).
const HEAD_END: &[u8] = b"\r\n\r\n";

/// An answer that has arrived as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Bytes of head and body.
    pub(super) length: usize,
}

/// Reads the answer that `received` begins with; nothing while some of it is missing.
pub(super) fn read(received: &[u8]) -> anyhow::Result<Option<Answer>> {
    let Some(end) = received.windows(HEAD_END.len()).position(|bytes| bytes == HEAD_END) else { return Ok(None) };
    let head = str::from_utf8(&received[..end]).context("the head of an answer is no text")?;
    let mut lines = head.split("\r\n");
    let status = status(lines.next().unwrap_or_default())?;
    let mut body = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            body = Some(value.trim().parse::<usize>().context("content-length")?);
        }
        ensure!(!name.eq_ignore_ascii_case("transfer-encoding"), "an answer in chunks");
    }
    // Without a length its end would be the connection's.
    let length = end + HEAD_END.len() + body.context("an answer without content-length")?;
    Ok((received.len() >= length).then_some(Answer { status, length }))
}

fn status(line: &str) -> anyhow::Result<u16> {
    match line.split_once(' ') {
        Some(("HTTP/1.1", rest)) => Ok(rest.get(..3).context("a status of three digits")?.parse()?),
        _ => bail!("no HTTP/1.1: {line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let whole = b"HTTP/1.1 201 Created\r\nLocation: /dados/7\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]).unwrap(), None, "{end}");
        }
        let answer = Some(Answer { status: 201, length: whole.len() });
        assert_eq!(read(whole).unwrap(), answer);
        assert_eq!(read(&[whole, &whole[..9]].concat()).unwrap(), answer);
        let empty = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(read(empty).unwrap(), Some(Answer { status: 503, length: empty.len() }));
    }

    #[test]
    fn an_answer_of_unknown_length_is_refused() {
        for text in [
            "HTTP/1.1 201 Created\r\n\r\n",
            "HTTP/1.1 201 Created\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 201 Created\r\ncontent-length: -1\r\n\r\n",
            "HTTP/2 201\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 2\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
