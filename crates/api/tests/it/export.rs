//! Whole selections as files: complete or broken off, never cut in silence; some at a time, and no more.

use dados::Dado;
use reqwest::Response;
use sqlx::{Connection as _, SqliteConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{App, JSON, NDJSON, database, problem, spawn_app};

const CSV: &str = "text/csv; charset=utf-8; header=present";
/// More than the sockets' buffers and some pages hold.
const LONG_ROWS: usize = 40_000;
/// How many files the API sends at the same time.
const EXPORTS_MAX: usize = 4;

/// Many rows with a text that makes them long.
async fn spawn_long() -> App {
    let app = spawn_app().await;
    let text = "x".repeat(200);
    for piece in 0..4 {
        let line = |n: usize| {
            let n = piece * LONG_ROWS / 4 + n;
            format!("{{\"valor\":\"{n} {text}\",\"topico\":\"casa/{}\"}}\n", n % 10)
        };
        let body: String = (0..LONG_ROWS / 4).map(line).collect();
        assert_eq!(app.post(NDJSON, body).send().await.unwrap().status(), 201);
    }
    app
}

async fn rows(response: Response) -> Vec<Dado> {
    assert_eq!((response.status().as_u16(), &response.headers()["content-type"]), (200, &NDJSON.parse().unwrap()));
    response.text().await.unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Sends a request for a file and reads no more than its first line.
async fn begin(app: &App, query: &str) -> TcpStream {
    let mut stream = TcpStream::connect(app.addr).await.unwrap();
    let head = format!("GET /dados?{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn a_file_has_the_whole_selection_in_either_order() {
    let app = spawn_long().await;
    let all: Vec<i64> = (1..=LONG_ROWS as i64).collect();
    for (query, expected) in [
        ("", all.clone()),
        ("&limite=12345", all[..12_345].to_vec()),
        ("&topico=casa/3", all.iter().copied().filter(|id| id % 10 == 4).collect()),
        ("&topico=casa/%23&limite=99999999999", all.clone()),
        ("&topico=+/7&limite=1001", all.iter().copied().filter(|id| id % 10 == 8).take(1_001).collect()),
        ("&desde=-1h", all.clone()),
        ("&ate=-1h", vec![]),
    ] {
        let response = app.get(&format!("/dados?formato=ndjson&ordem=asc{query}")).send().await.unwrap();
        let ids: Vec<i64> = rows(response).await.iter().map(|row| row.id).collect();
        assert_eq!(ids, expected, "{query}");
    }
    let newest_first = rows(app.get("/dados").header("accept", NDJSON).send().await.unwrap()).await;
    assert!(newest_first.iter().map(|row| row.id).eq(all.iter().copied().rev()));
    assert!(newest_first.iter().all(|row| row.valor.as_ref().is_some_and(|valor| valor.len() > 200)));
}

#[tokio::test]
async fn the_form_is_negotiated() {
    let app = spawn_app().await;
    app.post(JSON, r#"[{"valor":"=1+1","topico":"casa/sala","timestamp":"2026-11-23T03:21:45.678Z","qos":1},{"valor":{"t":[1,2]}}]"#)
        .send()
        .await
        .unwrap();
    let file = "id,topico,valor,timestamp,qos,retido,dup,formato\r\n\
                1,casa/sala,'=1+1,2026-11-23T03:21:45.678Z,1,,,\r\n";
    let path = "/dados?topico=casa/sala&desde=2026-11-23&ate=2026-11-23";
    for request in [
        app.get(path).header("accept", "text/csv"),
        app.get(path).header("accept", "text/csv, */*;q=0.1"),
        app.get(&format!("{path}&formato=csv")).header("accept", "application/json"),
        app.get(&format!("{path}&formato=csv")).header("accept", "image/png"),
    ] {
        let response = request.send().await.unwrap();
        let headers = response.headers();
        assert_eq!((&headers["content-type"], &headers["vary"]), (&CSV.parse().unwrap(), &"accept".parse().unwrap()));
        let name = "dados-casa-sala_2026-11-23T00-00-00.000Z_2026-11-24T00-00-00.000Z.csv";
        assert_eq!(headers["content-disposition"], format!("attachment; filename=\"{name}\""));
        assert_eq!(response.text().await.unwrap(), file);
    }
    let whole = app.get("/dados?formato=csv&limite=1").send().await.unwrap().text().await.unwrap();
    assert!(whole.contains("\r\n2,,\"{\"\"t\"\":[1,2]}\","), "{whole}");
    for accept in ["*/*", "application/json", "text/html, */*;q=0.8", "text/csv;q=0.1, application/json"] {
        let response = app.get("/dados").header("accept", accept).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], JSON, "{accept}");
    }
    let none = problem(app.get("/dados").header("accept", "text/html").send().await.unwrap()).await;
    assert_eq!((none.status, none.field.as_deref()), (406, Some("accept")));
    let empty = app.get("/dados?formato=csv&topico=nada").send().await.unwrap().text().await.unwrap();
    assert_eq!(empty, "id,topico,valor,timestamp,qos,retido,dup,formato\r\n");
}

#[tokio::test]
async fn what_comes_meanwhile_is_not_in_the_file() {
    let app = spawn_long().await;
    for order in ["asc", "desc"] {
        let newest = app.rows().await[0].id;
        let mut stream = begin(&app, &format!("formato=ndjson&ordem={order}")).await;
        app.post(JSON, r#"{"valor":"late"}"#).send().await.unwrap();
        let mut file = Vec::new();
        while !file.ends_with(b"\r\n0\r\n\r\n") {
            assert!(stream.read_buf(&mut file).await.unwrap() > 0, "broken off");
        }
        let file = String::from_utf8(file).unwrap();
        assert_eq!(file.matches("\"id\":").count() as i64, newest, "{order}");
        assert!(!file.contains(&format!("\"id\":{},", newest + 1)));
    }
}

#[tokio::test]
async fn an_error_on_the_way_breaks_the_connection() {
    let app = spawn_long().await;
    let mut stream = begin(&app, "formato=csv").await;
    let url = format!("sqlite:{}", database(app.dir.path()).display());
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("alter table dados rename to outra").execute(&mut conn).await.unwrap();
    let mut file = Vec::new();
    // The end is there, or an error; what is never there is the last chunk.
    let _ = stream.read_to_end(&mut file).await;
    assert!(!file.ends_with(b"0\r\n\r\n"));
    // Where the head is not sent yet, it is an answer.
    assert_eq!(problem(app.get("/dados?formato=csv").send().await.unwrap()).await.status, 500);
    sqlx::raw_sql("alter table outra rename to dados").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    assert_eq!(app.get("/dados?formato=csv&limite=1").send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn files_at_the_same_time_are_counted() {
    let app = spawn_long().await;
    let mut open = Vec::new();
    for _ in 0..EXPORTS_MAX {
        open.push(begin(&app, "formato=csv").await);
    }
    let refused = app.get("/dados?formato=ndjson").send().await.unwrap();
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.status, 503);
    // Pages are read all the same, and so are rows taken.
    assert_eq!(app.get("/dados?limite=1").send().await.unwrap().status(), 200);
    assert_eq!(app.post(JSON, r#"{"valor":1}"#).send().await.unwrap().status(), 201);
    // Who goes away makes room, and so does who has the file.
    drop(open);
    while app.get("/dados?formato=ndjson&limite=1").send().await.unwrap().status() == 503 {}
    for _ in 0..2 * EXPORTS_MAX {
        assert_eq!(rows(app.get("/dados?formato=ndjson&limite=1").send().await.unwrap()).await.len(), 1);
    }
}
