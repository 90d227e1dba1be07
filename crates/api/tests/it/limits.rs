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

/// A decoder that stopped after the first part would answer 201 and drop the rest.
#[tokio::test]
async fn all_members_of_a_compressed_body_are_stored() {
    let app = spawn_app().await;
    let (first, second) = (b"{\"valor\":1}\n{\"va", b"lor\":2}\n{\"valor\":3}\n");
    let long = "{\"valor\":4}\n".repeat(20_000);
    for (encoding, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let before = app.newest_id().await;
        let body = [pack(first), pack(second), pack(b""), pack(long.as_bytes())].concat();
        let response = app.post(NDJSON, body.clone()).header("content-encoding", encoding).send().await.unwrap();
        assert_eq!(response.status(), 201, "{encoding}");
        assert_eq!(response.json::<dados::Inseridos>().await.unwrap().inseridos, 20_003, "{encoding}");
        // Wherever the parts of the body are cut on their way.
        let bytes: Vec<_> = body.chunks(97).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect();
        let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(bytes));
        let response = app.post(NDJSON, chunked).header("content-encoding", encoding).send().await.unwrap();
        assert_eq!(response.status(), 201, "{encoding}");
        assert_eq!(app.newest_id().await - before, 2 * 20_003, "{encoding}");
    }
}

#[tokio::test]
async fn what_follows_a_compressed_body_is_an_error() {
    let app = spawn_app().await;
    let line = b"{\"valor\":1}\n";
    for (encoding, pack) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        let (whole, next) = (pack(line), pack(line));
        let mut flipped = next.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let zeros = [0; 512];
        for rest in [&b"\n"[..], b"{\"valor\":2}\n", &zeros, &next[..1], &next[..next.len() - 1], &flipped] {
            // zstd's encoder writes no checksum by default.
            if encoding == "zstd" && rest == flipped {
                continue;
            }
            let body = [&whole, rest].concat();
            let response = app.post(NDJSON, body.clone()).header("content-encoding", encoding).send().await.unwrap();
            assert_eq!(problem(response).await.status, 400, "{encoding} {rest:?}");
            let pieces = [whole.clone(), rest.to_vec()].map(Ok::<_, std::io::Error>);
            let chunked = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
            let response = app.post(NDJSON, chunked).header("content-encoding", encoding).send().await.unwrap();
            assert_eq!(problem(response).await.status, 400, "{encoding} {rest:?}");
        }
    }
    let twice = app.post(NDJSON, gzip(line)).header("content-encoding", "gzip").header("content-encoding", "gzip");
    assert_eq!(problem(twice.send().await.unwrap()).await.status, 400);
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

/// Sends a text, and gives what comes until the server closes; nothing more is sent.
async fn raw(app: &App, text: &str) -> String {
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_request_is_answered_though_its_client_has_ended_its_side() {
    let app = spawn_app().await;
    let post =
        format!("POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\ncontent-length: 7\r\n\r\nvalor=1");
    let get = "GET /dados/1 HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let stored = raw(&app, &post).await;
    assert!(stored.starts_with("HTTP/1.1 201 ") && stored.contains("\"valor\":\"1\""), "{stored}");
    let both = raw(&app, &[&post, get].concat()).await;
    assert!(both.starts_with("HTTP/1.1 201 ") && both.contains("HTTP/1.1 200 "), "{both}");
    // A body that is not whole is none.
    let cut = raw(&app, &post[..post.len() - 1]).await;
    assert!(!cut.contains(" 201 "), "{cut}");
    assert_eq!(app.newest_id().await, 2);
}

#[tokio::test]
async fn a_length_that_cannot_be_is_a_problem() {
    let app = spawn_app().await;
    for (framing, statuses) in [
        ("content-length: 18446744073709551615", &[413][..]),
        ("content-length: 18446744073709551616", &[400, 413]),
        ("content-length: 9223372036854775807", &[413]),
        ("content-length: 99999999999999999999999999", &[400, 413]),
        ("content-length: -1", &[400]),
        ("content-length: +7", &[400]),
        ("content-length: 7, 7", &[400]),
        ("content-length: 0x7", &[400]),
        ("content-length:", &[400]),
        ("content-length: 7\r\ncontent-length: 8", &[400]),
        ("transfer-encoding: gzip", &[400]),
        ("transfer-encoding: chunked, gzip", &[400]),
    ] {
        let head =
            format!("POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\n{framing}\r\n\r\nvalor=1");
        let answer = raw(&app, &head).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let problem: dados::Problem = serde_json::from_str(body).unwrap_or_default();
        assert!(statuses.contains(&problem.status), "{framing}: {answer}");
        assert!(head.starts_with(&format!("HTTP/1.1 {} ", problem.status)), "{framing}: {answer}");
        assert!(head.contains("content-type: application/problem+json"), "{framing}: {answer}");
    }
    let long = format!("GET /dados HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "x".repeat(200 << 10));
    let many = format!("GET /dados HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(200));
    for (head, status) in [(long, 431), (many, 431), ("GET /a b HTTP/1.1\r\n\r\n".to_owned(), 400)] {
        let answer = raw(&app, &head).await;
        // A reset may overtake the answer, since not all was read.
        let is_told = answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.contains("application/problem+json");
        assert!(is_told || answer.is_empty(), "{answer}");
    }
    // With both, the length means nothing, and the connection ends (RFC 9112 §6.3): there is no second request in it.
    for framing in
        ["content-length: 4\r\ntransfer-encoding: chunked", "transfer-encoding: chunked\r\ncontent-length: 4"]
    {
        let head = format!("POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\n{framing}\r\n\r\n");
        let smuggled = "GET /dados HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let answer = raw(&app, &[&head, "7\r\nvalor=1\r\n0\r\n\r\n", smuggled].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 201 ") && answer.matches("HTTP/1.1 ").count() == 1, "{framing}: {answer}");
    }
    assert_eq!(app.newest_id().await, 2);
}

/// Asks and reads the beginning of the answer, on a connection that stays.
async fn ask(app: &App, path: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    let read = stream.read_exact(&mut status).await;
    let status = if read.is_ok() { String::from_utf8_lossy(&status[9..]).into_owned() } else { String::new() };
    (stream, status)
}

#[tokio::test]
async fn the_oldest_idle_connection_makes_room() {
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| config.api_connections_max = 3).await;
    let (follower, status) = ask(&app, "/dados/ao-vivo").await;
    assert_eq!(status, "200");
    let mut idle = ask(&app, "/healthz").await.0;
    let mut half = TcpStream::connect(app.addr).await.unwrap();
    half.write_all(b"GET /dados HTTP/1.1\r\nhost: loc").await.unwrap();
    // One after the other loses its place to a new one, but for the one that is at work.
    let (_one, status) = ask(&app, "/dados").await;
    assert_eq!(status, "200");
    let _ = idle.read_to_end(&mut Vec::new()).await;
    let (_two, status) = ask(&app, "/dados").await;
    assert_eq!(status, "200");
    let mut nothing = Vec::new();
    let _ = half.read_to_end(&mut nothing).await;
    assert!(nothing.is_empty());
    let mut byte = [0];
    assert!(follower.try_read(&mut byte).is_err() || byte != [0], "the follower is still served");
}

#[tokio::test]
async fn one_address_has_its_part_and_health_is_always_told() {
    const PART: usize = 40;
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| {
        config.api_connections_max = 4 * PART as u32;
        config.api_live_readers_max = 1_000;
    })
    .await;
    // Heads that never end have places for no longer than others leave them.
    let mut heads = Vec::new();
    for _ in 0..6 * PART {
        let mut head = TcpStream::connect(app.addr).await.unwrap();
        let _ = head.write_all(b"GET /dados HTTP/1.1\r\nhost: loc").await;
        heads.push(head);
    }
    assert_eq!(ask(&app, "/dados").await.1, "200");
    drop(heads);
    let mut followers = Vec::new();
    while followers.len() < PART {
        let (follower, status) = ask(&app, "/dados/ao-vivo").await;
        if status == "200" {
            followers.push(follower);
        }
    }
    // All places of this address are at work.
    let refused = app.get("/dados").send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.status, 503);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(app.get(path).send().await.unwrap().status(), 200, "{path}");
    }
    let silent: Vec<TcpStream> = futures_util::future::join_all((0..100).map(|_| TcpStream::connect(app.addr)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(app.get("/readyz").send().await.unwrap().status(), 200);
    drop(silent);
    // Another address is not concerned.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(app.addr).await.unwrap();
    other.write_all(b"GET /dados HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut status = [0; 12];
    other.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}

#[tokio::test]
async fn large_bodies_leave_memory_to_small_ones() {
    let app = spawn_app().await;
    let mut writers = Vec::new();
    for _ in 0..6 {
        let mut writer = TcpStream::connect(app.addr).await.unwrap();
        let length = 32 << 20;
        let head = format!(
            "POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\ncontent-length: {length}\r\n\r\n"
        );
        writer.write_all(head.as_bytes()).await.unwrap();
        // All but the last byte, or as much as is taken.
        let _ = writer.write_all(&vec![b'x'; length - 1]).await;
        writers.push(writer);
    }
    let line = format!("{{\"valor\":\"{}\"}}\n", "x".repeat(200));
    for (form, body) in [(FORM, "valor=1".to_owned()), (NDJSON, line.repeat(4_096))] {
        assert_eq!(app.post(form, body).send().await.unwrap().status(), 201, "{form}");
    }
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
