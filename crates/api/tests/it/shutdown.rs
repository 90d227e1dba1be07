//! The end: what was begun is finished, what was taken is stored, and nothing is left beside the database.

use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{FORM, database, spawn_app, spawn_with};

#[tokio::test]
async fn a_request_under_way_is_finished() {
    let app = spawn_app().await;
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let head = format!(
        "POST /dados HTTP/1.1\r\nhost: localhost\r\ncontent-type: {FORM}\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The interim answer tells that the handler waits for the body.
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).await.unwrap();
    app.token.cancel();
    stream.write_all(b"valor=1").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(TcpStream::connect(app.addr).await.is_err());
    let app = spawn_with(app.stop().await, |_| {}).await;
    assert_eq!(app.rows().await.len(), 1);
}

#[tokio::test]
async fn the_log_is_moved_into_the_database() {
    let app = spawn_app().await;
    assert_eq!(app.post(FORM, "valor=1").send().await.unwrap().status(), StatusCode::CREATED);
    let dir = app.stop().await;
    let mut files: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["dados.db", "dados.db.lock"]);
    assert!(std::fs::metadata(database(dir.path())).unwrap().len() > 0);
}
