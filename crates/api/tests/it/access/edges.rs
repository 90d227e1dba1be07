//! Over raw TCP: tricks with paths and heads, slow senders, and more connections than there may be.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::access::{READ, spawn_guarded};
use crate::{spawn_app, spawn_with};

/// The status and the rest of the answer to a request whose connection ends with it.
async fn raw(addr: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    // It may be answered, and the connection closed, before all of it was sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer)
}

#[tokio::test]
async fn no_trick_with_the_path_gets_round_the_token() {
    let app = spawn_guarded(|_| {}).await;
    for (target, bare, with_token) in [
        ("/dados", 401, 200),
        ("/dados/../metrics", 401, 404),
        ("/healthz/../metrics", 401, 404),
        ("/docs/../metrics", 404, 404),
        ("/docs/%2e%2e/metrics", 404, 404),
        ("/assets/..%2f..%2fdados", 404, 404),
        ("//dados", 401, 404),
        ("/%64ados", 401, 404),
        ("/dados%2f1", 401, 404),
        ("/dados/", 401, 404),
        ("/healthz%00", 401, 404),
        ("/metrics?/healthz", 401, 200),
        ("http://evil.example/metrics", 401, 200),
        ("http://evil.example/healthz", 200, 200),
    ] {
        let head = |more: &str| format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n");
        assert_eq!(raw(app.addr, &head("")).await.0, bare, "{target}");
        let authorization = format!("authorization: Bearer {READ}\r\n");
        assert_eq!(raw(app.addr, &head(&authorization)).await.0, with_token, "{target} with a token");
    }
    let overridden = "x-http-method-override: GET\r\nx-original-url: /healthz\r\nx-rewrite-url: /healthz\r\n";
    let request = format!("POST /dados HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{overridden}\r\n");
    assert_eq!(raw(app.addr, &request).await.0, 401);
}

#[tokio::test]
async fn heads_are_bounded() {
    let app = spawn_app().await;
    let head = |target: &str, more: &str| {
        format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{more}\r\n")
    };
    let (status, answer) = raw(app.addr, &head(&format!("/dados?topico={}", "x".repeat(9000)), "")).await;
    assert!(status == 414 && answer.contains("application/problem+json"), "{answer}");
    let headers = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let (status, answer) = raw(app.addr, &head("/dados", &headers(70))).await;
    assert!(status == 431 && answer.contains("application/problem+json"), "{answer}");
    // Beyond these, hyper answers before any handler, with no body.
    for (request, expected) in [
        (head("/dados", &headers(101)), 431),
        (head("/dados", &format!("x: {}\r\n", "y".repeat(200 << 10))), 431),
        (head(&format!("/{}", "x".repeat(200 << 10)), ""), 431),
    ] {
        let (status, answer) = raw(app.addr, &request).await;
        // A reset may overtake the answer, since not all was read.
        assert!(status == expected || answer.is_empty() || status == 414, "{answer}");
    }
    for strange in ["\x16\x03\x01\x02\0\x01\0", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / x HTTP/1.1\r\n\r\n"] {
        let (status, answer) = raw(app.addr, strange).await;
        assert!(status == 400 || answer.is_empty() || status == 505, "{strange:?}: {answer}");
    }
    assert_eq!(app.get("/dados").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn ten_thousand_connections_leave_it_serving() {
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| config.api_connections_max = 64).await;
    // As many as may be, all silent; then ten thousand more, each turned away.
    let mut silent = Vec::new();
    for _ in 0..63 {
        silent.push(TcpStream::connect(app.addr).await.unwrap());
    }
    let mut served = 0;
    for _ in 0..10_000 {
        let Ok(stream) = TcpStream::connect(app.addr).await else { continue };
        drop(stream);
        served += 1;
    }
    assert!(served > 0);
    // One place is left, and the silent ones lose theirs.
    while !app.get("/healthz").send().await.is_ok_and(|answer| answer.status() == 200) {
        tokio::task::yield_now().await;
    }
    for stream in &mut silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
}
