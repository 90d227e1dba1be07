//! Everything is bounded: bodies, headers, connections.

use std::io::Write as _;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{App, FORM, JSON, NDJSON, problem, spawn_app, spawn_with};

const BODY_BYTES_MAX: usize = 64 << 10;

async fn spawn_small() -> App {
    spawn_with(tempfile::tempdir().unwrap(), |config| config.api_body_bytes_max = BODY_BYTES_MAX).await
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::encode_all(body, 3).unwrap()
}

#[tokio::test]
async fn compressed_bodies_are_stored() {
    let app = spawn_small().await;
    let lines = "{\"valor\":1}\n".repeat(5000);
    for (encoding, body) in [("gzip", gzip(lines.as_bytes())), ("zstd", zstd(lines.as_bytes()))] {
        let response = app.post(NDJSON, body).header("content-encoding", encoding).send().await.unwrap();
        assert_eq!(response.status(), 201, "{encoding}");
    }
    assert_eq!(app.rows().await.len(), 10_000);
}

#[tokio::test]
async fn a_bomb_is_refused() {
    let app = spawn_small().await;
    let bomb = format!("{{\"valor\":\"{}\"}}", "0".repeat(50 << 20));
    for (encoding, body) in [("gzip", gzip(bomb.as_bytes())), ("zstd", zstd(bomb.as_bytes()))] {
        assert!(body.len() < BODY_BYTES_MAX, "{encoding}: no bomb but a large body");
        let response = app.post(JSON, body).header("content-encoding", encoding).send().await.unwrap();
        assert_eq!(problem(response).await.status, 413, "{encoding}");
    }
    assert_eq!(app.rows().await.len(), 0);
}

#[tokio::test]
async fn a_large_body_is_refused_however_it_comes() {
    let app = spawn_small().await;
    let fits = format!("valor={}", "0".repeat(BODY_BYTES_MAX - 6));
    assert_eq!(app.post(FORM, fits.clone()).send().await.unwrap().status(), 201);
    let announced = app.post(FORM, format!("{fits}0")).send().await.unwrap();
    assert_eq!(problem(announced).await.status, 413);
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(fits), Ok("0".to_owned())]);
    let chunked = app.post(FORM, reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert_eq!(problem(chunked).await.status, 413);
    // Bytes on the wire count too, though nothing comes out of them.
    let header = &[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let empty_blocks = [0, 0, 0, 0xff, 0xff].repeat(BODY_BYTES_MAX / 5);
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>([header, empty_blocks.as_slice()].concat())]);
    let hollow = app.post(FORM, reqwest::Body::wrap_stream(chunks)).header("content-encoding", "gzip");
    assert_eq!(problem(hollow.send().await.unwrap()).await.status, 413);
    assert_eq!(app.rows().await.len(), 1);
}

#[tokio::test]
async fn an_encoding_that_is_unknown_or_damaged_is_refused() {
    let app = spawn_app().await;
    let unknown = app.post(FORM, "valor=1").header("content-encoding", "br").send().await.unwrap();
    assert_eq!(problem(unknown).await.status, 415);
    let whole = gzip(b"valor=1&topico=abcdefghijklmnopqrstuvwxyz");
    let cut =
        app.post(FORM, whole[..whole.len() / 2].to_vec()).header("content-encoding", "gzip").send().await.unwrap();
    assert_eq!(problem(cut).await.status, 400);
    assert_eq!(app.rows().await.len(), 0);
}

#[tokio::test]
async fn half_a_header_is_not_waited_for_forever() {
    let app = spawn_app().await;
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.write_all(b"POST /dados HTTP/1.1\r\nhost: localho").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[tokio::test]
async fn connections_beyond_the_cap_are_turned_away() {
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| config.api_connections_max = 2).await;
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(app.addr).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        open.push(stream);
    }
    let mut refused = TcpStream::connect(app.addr).await.unwrap();
    let _ = refused.write_all(request).await;
    let mut answer = Vec::new();
    let _ = refused.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
    // A connection that ends makes room.
    drop(open);
    while app.get("/healthz").send().await.is_err() {}
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    let app = spawn_app().await;
    for body in ["valor=1", "5\r\nvalor\r\n"] {
        let framing = if body.contains('\r') { "transfer-encoding: chunked" } else { "content-length: 100" };
        let mut stream = TcpStream::connect(app.addr).await.unwrap();
        let head =
            format!("POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\n{framing}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).await.unwrap();
        drop(stream);
    }
    // A later request is stored alone.
    assert_eq!(app.post(FORM, "valor=2").send().await.unwrap().status(), 201);
    assert_eq!(app.rows().await.len(), 1);
}

#[tokio::test]
async fn a_client_is_told_to_go_on() {
    let app = spawn_app().await;
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let head = format!(
        "POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"valor=1").await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 201");
}
