//! New rows as they come: each once and in order, whoever cuts the line.

mod crowd;

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use dados::Dado;
use futures_util::{Stream, StreamExt as _};
use reqwest::{RequestBuilder, StatusCode};
use sqlx::{Connection as _, SqliteConnection};
use tokio::task::JoinSet;

use crate::{App, FORM, NDJSON, database, problem, spawn_app, spawn_with};

const PATH: &str = "/dados/ao-vivo";

/// One event, or a comment by itself.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    id: Option<i64>,
    name: Option<String>,
    retry: Option<String>,
    data: Option<String>,
    is_comment: bool,
}

impl Event {
    fn read(text: &str) -> Self {
        let mut event = Self::default();
        for line in text.lines() {
            match line.split_once(": ") {
                Some(("id", id)) => event.id = Some(id.parse().unwrap()),
                Some(("event", name)) => event.name = Some(name.to_owned()),
                Some(("retry", retry)) => event.retry = Some(retry.to_owned()),
                Some(("data", data)) => assert_eq!(event.data.replace(data.to_owned()), None, "{text}"),
                _ => {
                    assert_eq!(line, ":", "{text}");
                    event.is_comment = true;
                }
            }
        }
        event
    }

    fn is_row(&self) -> bool {
        self.name.is_none() && self.data.is_some()
    }
}

/// An open stream, behind its first event.
struct Follower {
    stream: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    received: Vec<u8>,
    /// Where it began.
    id: i64,
}

impl Follower {
    async fn open(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        for (name, value) in
            [("content-type", "text/event-stream"), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
        {
            assert_eq!(response.headers()[name], value);
        }
        let mut follower = Self { stream: Box::pin(response.bytes_stream()), received: Vec::new(), id: 0 };
        let first = follower.next().await.unwrap();
        assert_eq!((first.retry.as_deref(), &first.data, &first.name), (Some("2000"), &None, &None));
        follower.id = first.id.unwrap();
        follower
    }

    /// None at the end, which must be a clean one.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.received.windows(2).position(|bytes| bytes == b"\n\n") {
                let text: Vec<u8> = self.received.drain(..end + 2).collect();
                return Some(Event::read(str::from_utf8(&text[..end]).unwrap()));
            }
            match self.stream.next().await {
                Some(bytes) => self.received.extend_from_slice(&bytes.unwrap()),
                None => {
                    assert!(self.received.is_empty(), "half an event");
                    return None;
                }
            }
        }
    }

    async fn row(&mut self) -> Dado {
        loop {
            let event = self.next().await.unwrap();
            if event.is_row() {
                let dado: Dado = serde_json::from_str(&event.data.unwrap()).unwrap();
                assert_eq!(event.id, Some(dado.id));
                return dado;
            }
            assert!(event.is_comment, "{event:?}");
        }
    }
}

impl App {
    async fn follow(&self, query: &str) -> Follower {
        Follower::open(self.get(&format!("{PATH}{query}"))).await
    }

    async fn store_one(&self, topico: &str, valor: &str) {
        let body = format!("topico={topico}&valor={valor}");
        assert_eq!(self.post(FORM, body).send().await.unwrap().status(), StatusCode::CREATED);
    }

    async fn store_rows(&self, rows: usize, line: &str) {
        let response = self.post(NDJSON, format!("{line}\n").repeat(rows)).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::CREATED);
    }
}

#[tokio::test]
async fn a_row_comes_as_get_shows_it() {
    let app = spawn_app().await;
    app.store_one("a", "before").await;
    let mut follower = app.follow("").await;
    assert_eq!(follower.id, 1);
    app.store_one("casa/sala", "23.5%20%22%0A").await;
    let body = r#"{"valor": {"t": 1}, "topico": "casa/ção", "qos": 1, "retido": false, "dup": true}"#;
    app.store_rows(1, body).await;
    app.store_rows(1, r#"{"valor": "semtopico"}"#).await;
    for id in 2..=4 {
        let event = follower.next().await.unwrap();
        let shown = app.get(&format!("/dados/{id}")).send().await.unwrap().text().await.unwrap();
        assert_eq!(event, Event { id: Some(id), data: Some(shown), ..Event::default() });
    }
}

#[tokio::test]
async fn a_filter_leaves_the_rest_out() {
    let app = spawn_app().await;
    let mut exactly = app.follow("?topico=casa/sala").await;
    let mut matching = app.follow("?topico=casa/%23").await;
    let mut levels = app.follow("?topico=+/sala").await;
    for topico in ["casa/sala", "casa", "horta/sala", "casa/sala/x", "casa/sala"] {
        app.store_one(topico, "1").await;
    }
    app.store_rows(1, r#"{"valor": 1}"#).await;
    app.store_one("casa/sala", "fim").await;
    for (follower, wanted) in
        [(&mut exactly, &[1, 5, 7][..]), (&mut matching, &[1, 2, 4, 5, 7]), (&mut levels, &[1, 3, 5, 7])]
    {
        for id in wanted {
            assert_eq!(follower.row().await.id, *id);
        }
    }
}

#[tokio::test]
async fn what_is_old_is_read_in_full() {
    let app = spawn_app().await;
    for topico in ["a", "b", "a"] {
        app.store_rows(1_500, &format!(r#"{{"valor": 1, "topico": "{topico}"}}"#)).await;
    }
    let header = |request: RequestBuilder, id: &str| request.header("last-event-id", id);
    let path = |query: &str| app.get(&format!("{PATH}{query}"));
    for (request, wanted) in [
        (path("?apos=0"), (1..=4_500).collect::<Vec<i64>>()),
        (path("?apos=2000&topico=a"), (3_001..=4_500).collect()),
        (path("?apos=1400&topico=%2B"), (1_401..=4_500).collect()),
        // The header is of later than the address.
        (header(path("?apos=0"), "4499"), vec![4_500]),
        (header(path("?topico=b"), "2990"), (2_991..=3_000).collect()),
    ] {
        let mut follower = Follower::open(request).await;
        for id in wanted {
            assert_eq!(follower.row().await.id, id);
        }
    }
    // Then it goes on with what is new.
    let mut follower = app.follow("?apos=4499").await;
    app.store_one("b", "1").await;
    assert_eq!((follower.row().await.id, follower.row().await.id), (4_500, 4_501));
}

#[tokio::test]
async fn an_id_that_is_not_there_yet_begins_with_what_is_new() {
    let app = spawn_app().await;
    app.store_one("a", "1").await;
    let mut follower = app.follow("?apos=1000").await;
    assert_eq!(follower.id, 1);
    app.store_one("a", "2").await;
    assert_eq!(follower.row().await.id, 2);
    let mut follower = app.follow("?apos=9223372036854775807").await;
    assert_eq!(follower.id, 2);
    app.store_one("a", "3").await;
    assert_eq!(follower.row().await.id, 3);
}

#[tokio::test]
async fn rows_that_another_program_stores_between_come_with_the_next_of_ours() {
    let app = spawn_app().await;
    let mut all = app.follow("").await;
    let mut some = app.follow("?topico=b").await;
    let url = format!("sqlite:{}", database(app.dir.path()).display());
    let mut other = SqliteConnection::connect(&url).await.unwrap();
    for turn in 0..3 {
        app.store_one("a", "1").await;
        sqlx::query("insert into dados (topico, valor) values ('b', 2), ('c', 2)").execute(&mut other).await.unwrap();
        app.store_one("a", "3").await;
        for (number, topico) in ["a", "b", "c", "a"].into_iter().enumerate() {
            let row = all.row().await;
            assert_eq!((row.id, row.topico.as_deref()), (4 * turn + number as i64 + 1, Some(topico)));
        }
        assert_eq!(some.row().await.id, 4 * turn + 2);
    }
    other.close().await.unwrap();
}

/// Follows with cuts until it has so many rows, each once and in order.
async fn follow_with_cuts(client: reqwest::Client, url: String, step: i64, rows: usize) {
    let (mut last, mut got, mut round) = (0, 0, 0usize);
    while got < rows {
        let request = client.get(&url).header("last-event-id", last.to_string());
        let mut follower = Follower::open(request).await;
        assert_eq!(follower.id, last);
        // At once, in the middle of old rows, and among new ones.
        let until_cut = [0, 1, 7, 400, 1_700][round % 5];
        round += 1;
        for _ in 0..until_cut.min(rows - got) {
            let id = follower.row().await.id;
            assert_eq!(id, if last == 0 { step } else { last + step });
            last = id;
            got += 1;
        }
    }
}

#[tokio::test]
async fn cuts_neither_lose_nor_repeat_a_row_while_others_come() {
    const ROWS: usize = 6_000;
    let app = spawn_app().await;
    let mut followers = JoinSet::new();
    for _ in 0..3 {
        followers.spawn(follow_with_cuts(app.client.clone(), app.url(PATH), 1, ROWS));
        followers.spawn(follow_with_cuts(app.client.clone(), app.url(&format!("{PATH}?topico=b")), 2, ROWS / 2));
        followers.spawn(follow_with_cuts(app.client.clone(), app.url(&format!("{PATH}?topico=%23")), 1, ROWS));
    }
    let pair = r#"{"valor":1,"topico":"a"}
{"valor":2,"topico":"b"}"#;
    let mut stored = 0;
    for pairs in [1, 2, 50, 1, 300].into_iter().cycle() {
        let pairs = pairs.min((ROWS - stored) / 2);
        if pairs == 0 {
            break;
        }
        app.store_rows(pairs, pair).await;
        stored += 2 * pairs;
    }
    while let Some(followed) = followers.join_next().await {
        followed.unwrap();
    }
}

#[tokio::test]
async fn silence_has_signs_of_life_that_say_how_far_it_is() {
    let brief = Duration::from_millis(20);
    let app = spawn_with(tempfile::tempdir().unwrap(), |config| config.api_live_heartbeat = brief).await;
    let mut follower = app.follow("?topico=a").await;
    for _ in 0..3 {
        assert_eq!(follower.next().await, Some(Event { is_comment: true, ..Event::default() }));
    }
    app.store_one("b", "1").await;
    // A reconnect need not have this row looked through again.
    loop {
        let event = follower.next().await.unwrap();
        assert!(event.is_comment);
        if event.id.is_some() {
            assert_eq!(event, Event { id: Some(1), is_comment: true, ..Event::default() });
            break;
        }
    }
    app.store_one("a", "1").await;
    assert_eq!(follower.row().await.id, 2);
}

#[tokio::test]
async fn what_is_malformed_is_named() {
    let app = spawn_app().await;
    for (query, field) in [
        ("?topico=", "topico"),
        ("?topico=a%23", "topico"),
        ("?topico=a&topico=b", "topico"),
        ("?apos=-1", "apos"),
        ("?apos=x", "apos"),
        ("?desde=-1h", "desde"),
    ] {
        let problem = problem(app.get(&format!("{PATH}{query}")).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (400, Some(field)), "{query}");
    }
    let bad = app.get(PATH).header("last-event-id", "1; drop").send().await.unwrap();
    let problem = problem(bad).await;
    assert_eq!((problem.status, problem.field.as_deref()), (400, Some("last-event-id")));
    assert_eq!(app.client.post(app.url(PATH)).send().await.unwrap().status(), 405);
}
