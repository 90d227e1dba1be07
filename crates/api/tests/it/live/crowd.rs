//! Readers that are slow, too many, or a thousand: nobody waits for another, and the end is clean.

use dados::Dado;
use reqwest::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::PATH;
use crate::program::LOOK_INTERVAL;
use crate::{App, NDJSON, problem, spawn_app, spawn_with};

/// A client that has asked, and reads nothing with a small window.
async fn ask_slowly(app: &App, query: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(app.addr).await.unwrap();
    let request = format!("GET {PATH}{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_slow_reader_is_told_and_holds_nobody_up() {
    const ROWS: i64 = 150_000;
    let app = spawn_app().await;
    let mut slow = ask_slowly(&app, "").await;
    let mut quick = app.follow("?topico=fim").await;
    let line = format!(r#"{{"valor":"{}","topico":"a"}}"#, "0".repeat(200));
    for _ in 0..ROWS / 5_000 {
        app.store_rows(5_000, &line).await;
    }
    app.store_one("fim", "1").await;
    // Others are given all, unless this machine is so busy that they are told too.
    while quick.next().await.unwrap().id != Some(ROWS + 1) {}
    // It reads now: first all that it was sent before it was too slow.
    let (mut text, mut part) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let read = slow.read(&mut part).await.unwrap();
        assert!(read > 0);
        let looked_at = text.len().saturating_sub(100);
        text.extend_from_slice(&part[..read]);
        if missed(&text[looked_at..]).is_some() {
            break;
        }
    }
    let (from, to) = missed(&text).expect("it is told");
    assert!(1 < from && from < to && to <= ROWS + 1, "{from} to {to}");
    let before: Vec<i64> = ids(&text).into_iter().take_while(|id| *id < from).collect();
    assert!(before.into_iter().eq(0..from), "all before what is missed");
    assert_eq!(metric(&app, "ponte_api_live_losses_total").await.min(1.0), 1.0);
    assert!(metric(&app, "ponte_api_live_rows_missed_total").await >= (to - from + 1) as f64);
}

fn ids(text: &[u8]) -> Vec<i64> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| str::from_utf8(line.strip_prefix(b"id: ")?).ok()?.trim().parse().ok()).collect()
}

/// The first rows that a reader was told that it missed.
fn missed(text: &[u8]) -> Option<(i64, i64)> {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.split_once("event: perdidos\ndata: ")?;
    let data: serde_json::Value = serde_json::from_str(rest.split_once("\n\n")?.0).unwrap();
    Some((data["de"].as_i64()?, data["ate"].as_i64()?))
}

async fn metric(app: &App, name: &str) -> f64 {
    let text = app.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

#[tokio::test]
async fn the_end_is_clean_for_who_reads_and_for_who_does_not() {
    let app = spawn_app().await;
    let mut followers = Vec::new();
    for query in ["", "?topico=a", "?apos=0"] {
        followers.push(app.follow(query).await);
    }
    let _slow = ask_slowly(&app, "").await;
    app.store_rows(5_000, &format!(r#"{{"valor":"{}"}}"#, "0".repeat(2_000))).await;
    app.token.cancel();
    for mut follower in followers {
        while follower.next().await.is_some() {}
    }
    app.stop().await;
}

#[tokio::test]
async fn one_reader_too_many_is_told_to_come_back() {
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| config.api_live_readers_max = 2).await;
    let readers = [app.follow("").await, app.follow("").await];
    assert_eq!(metric(&app, "ponte_api_live_readers").await, 2.0);
    let refused = app.get(PATH).send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.status, 503);
    // A look at the head alone is no reader.
    let head = app.client.head(app.url(PATH)).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-type"].to_str().unwrap()), (200, "text/event-stream"));
    // Who leaves makes room.
    drop(readers);
    while app.get(PATH).send().await.unwrap().status() != 200 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Reads until it has so many rows: their ids, in the order of their coming.
#[cfg(target_os = "linux")]
async fn read_ids(addr: String, rows: usize) -> Vec<i64> {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(format!("GET {PATH}?apos=0 HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let (mut text, mut part) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "the server left");
        text.extend_from_slice(&part[..read]);
        // The first is that of the beginning; the last line may be half a line.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let mut ids = ids(&text[..whole]);
        if ids.len() > rows {
            ids.remove(0);
            return ids;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thousand_readers_get_every_row() {
    use crate::pressure::{CROWD, affordable};
    use crate::program::{PROGRAM, Running, command, skipped};

    const READERS: usize = 1_000;
    const WRITERS: usize = 4;
    const POSTS: usize = 60;
    const ROWS: usize = WRITERS * POSTS * 2;
    let _crowd = CROWD.lock().await;
    if affordable() < READERS {
        return skipped("the limit on descriptors allows no thousand readers");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut program = command(PROGRAM, &dir);
    // The default takes a thousand, of several addresses.
    program.args(["--api-addr", "127.0.0.1:0", "--api-connections-per-address", "1024"]);
    let api = Running::start(program).await.unwrap();
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        readers.spawn(read_ids(api.addr.clone(), ROWS));
    }
    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (client, url) = (api.client.clone(), format!("http://{}/dados", api.addr));
        writers.spawn(async move {
            for _ in 0..POSTS {
                let body = "{\"valor\":1,\"topico\":\"a\"}\n{\"valor\":2}\n";
                let post = client.post(&url).header("content-type", NDJSON).body(body);
                assert_eq!(post.send().await.unwrap().status(), StatusCode::CREATED);
            }
        });
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    while let Some(read) = readers.join_next().await {
        assert!(read.unwrap().into_iter().eq(1..=ROWS as i64), "a row is missing or came twice");
    }
    let rows: Vec<Dado> = api.get("/dados?limite=10000").send().await.unwrap().json().await.unwrap();
    assert_eq!(rows.len(), ROWS);
}
