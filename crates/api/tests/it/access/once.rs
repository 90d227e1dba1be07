//! Headers that come once, and files that cannot hold the API up.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::access::{WRITE, entry};
use crate::{FORM, spawn_app, spawn_with};

/// A `POST /dados` with more headers; the answer's head and body.
async fn post(addr: std::net::SocketAddr, headers: &[&str]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("POST /dados HTTP/1.1\r\ncontent-length: 7\r\nconnection: close\r\n{headers}\r\nvalor=1");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_header_that_comes_twice_is_refused() {
    let app = spawn_app().await;
    let (host, form) = ("host: localhost", "content-type: application/x-www-form-urlencoded");
    let uuid = "ponte-producer: 0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10";
    for (headers, name) in [
        (&[host, "Host: evil.example", form][..], "host"),
        (&[host, host, form], "host"),
        (&[host, form, form], "content-type"),
        (&[host, form, uuid, "ponte-first-sequence: 1", "ponte-first-sequence: 2"], "ponte-first-sequence"),
        (&[host, form, uuid, uuid, "ponte-first-sequence: 1"], "ponte-producer"),
        (&[host, form, "idempotency-key: a", "idempotency-key: a"], "idempotency-key"),
        (&[host, form, "authorization: Bearer a", "authorization: Bearer b"], "authorization"),
        (&[host, form, "origin: http://localhost", "origin: http://evil.example"], "origin"),
        (&[host, form, "content-encoding: gzip", "content-encoding: gzip"], "content-encoding"),
    ] {
        let answer = post(app.addr, headers).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{headers:?}: {answer}");
        assert!(answer.contains(&format!("\"field\":\"{name}\"")), "{headers:?}: {answer}");
    }
    assert_eq!(app.rows().await.len(), 0);
    let listed =
        [host, form, "accept: text/html", "accept: */*", "x-forwarded-for: 1.2.3.4", "x-forwarded-for: 1.2.3.5"];
    assert!(post(app.addr, &listed).await.starts_with("HTTP/1.1 201 "));
}

/// A FIFO in place of the tokens: nobody writes into it, and to open it would wait for ever.
#[tokio::test]
async fn a_fifo_as_tokens_holds_up_neither_reading_nor_the_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, entry("writer", "write", WRITE)).unwrap();
    let app = spawn_with(dir, |config| config.access.api_tokens_file = Some(path.clone())).await;
    let post = || app.post(FORM, "valor=1").bearer_auth(WRITE).send();
    assert_eq!(post().await.unwrap().status(), 201);
    std::fs::remove_file(&path).unwrap();
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    // Longer than it takes to look again: the last good tokens stay in force.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(post().await.unwrap().status(), 201);
    let dir = tokio::time::timeout(Duration::from_secs(120), app.stop()).await.expect("it stops");

    let app = spawn_with(dir, |config| config.access.api_tokens_file = Some(path)).await;
    let fatal = app.task.await.unwrap().unwrap_err();
    assert!(fatal.message.starts_with("API_TOKENS_FILE: "), "{}", fatal.message);
    assert!(fatal.message.contains("not a regular file"), "{}", fatal.message);
}
