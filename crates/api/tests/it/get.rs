//! Reading back: pages, topics, one row.

use std::collections::BTreeSet;

use dados::Dado;
use reqwest::Response;
use reqwest::header::HeaderValue;

use crate::{App, JSON, problem, spawn_app};

/// Where the `Link` of a page leads.
fn next(response: &Response) -> Option<String> {
    let link = response.headers().get("link")?.to_str().unwrap();
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned())
}

/// The ids of all pages.
async fn walk(app: &App, query: &str) -> Vec<i64> {
    let (mut path, mut ids) = (Some(format!("/dados?{query}")), Vec::new());
    while let Some(page) = path {
        let response = app.get(&page).send().await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["vary"]),
            (200, &HeaderValue::from_static("accept"))
        );
        path = next(&response);
        ids.extend(response.json::<Vec<Dado>>().await.unwrap().into_iter().map(|row| row.id));
    }
    ids
}

/// 24 rows, one an hour from midnight on, of four topics and none.
async fn spawn_day() -> App {
    let app = spawn_app().await;
    let topics = [r#""casa/sala/t""#, r#""casa/sala/h""#, r#""casa/quarto/t""#, r#""$casa/t""#, "null"];
    let rows: Vec<_> = (0..24)
        .map(|n| format!(r#"{{"valor":{n},"topico":{},"timestamp":"2026-11-23T{n:02}:00:00Z"}}"#, topics[n % 5]))
        .collect();
    let response = app.post(JSON, format!("[{}]", rows.join(","))).send().await.unwrap();
    assert_eq!(response.status(), 201);
    app
}

#[tokio::test]
async fn a_walk_has_all_selected_rows_once_in_either_order() {
    let app = spawn_day().await;
    let every = |from: i64, until: i64, is_selected: fn(i64) -> bool| (from..=until).filter(move |id| is_selected(*id));
    for (query, expected) in [
        ("limite=5", every(1, 24, |_| true).collect::<Vec<_>>()),
        ("limite=2&topico=casa/sala/t", every(1, 24, |id| id % 5 == 1).collect()),
        ("limite=2&topico=casa/%23", every(1, 24, |id| (1..=3).contains(&(id % 5))).collect()),
        ("limite=2&topico=casa/+/t", every(1, 24, |id| id % 5 == 1 || id % 5 == 3).collect()),
        ("limite=7&topico=%23", every(1, 24, |id| (1..=3).contains(&(id % 5))).collect()),
        ("limite=1&topico=$casa/+", every(1, 24, |id| id % 5 == 4).collect()),
        ("limite=1&topico=nada/%23", vec![]),
        ("limite=2&desde=2026-11-23T03:00:00Z&ate=2026-11-23T08:00:00Z", every(4, 8, |_| true).collect()),
        ("limite=2&desde=2026-11-23%2020:00:00", every(21, 24, |_| true).collect()),
        ("limite=9&ate=2026-11-23T02:00:00-03:00", every(1, 5, |_| true).collect()),
        ("desde=2026-11-23&ate=2026-11-23", every(1, 24, |_| true).collect()),
        ("desde=2026-11-24", vec![]),
        ("limite=1&topico=casa/sala/+&desde=2026-11-23T05:00:00Z&ate=2026-11-23T12:00:00Z", vec![6, 7, 11, 12]),
    ] {
        assert_eq!(walk(&app, &format!("{query}&ordem=asc")).await, expected, "{query}");
        let reversed: Vec<i64> = expected.into_iter().rev().collect();
        assert_eq!(walk(&app, query).await, reversed, "{query}");
        assert_eq!(walk(&app, &format!("{query}&ordem=desc")).await, reversed, "{query}");
    }
}

#[tokio::test]
async fn pages_agree_while_rows_arrive() {
    let app = spawn_day().await;
    let post = async || app.post(JSON, r#"{"valor":"new","topico":"casa/sala/t"}"#).send().await.unwrap();
    for (query, expected) in [("topico=casa/sala/t&limite=3", 5), ("topico=casa/sala/t&limite=3&ordem=asc", 8)] {
        let (mut path, mut ids) = (Some(format!("/dados?{query}")), BTreeSet::new());
        while let Some(page) = path {
            let response = app.get(&page).send().await.unwrap();
            path = next(&response);
            for row in response.json::<Vec<Dado>>().await.unwrap() {
                assert!(ids.insert(row.id), "{query}: {} comes twice", row.id);
            }
            if path.is_some() {
                post().await;
            }
        }
        // Newest first, what comes meanwhile is before the first page; else it is behind the last.
        assert_eq!(ids.len(), expected, "{query}: {ids:?}");
    }
}

#[tokio::test]
async fn a_time_before_now_is_one_moment_on_all_pages() {
    let app = spawn_app().await;
    app.post(JSON, r#"[{"valor":1},{"valor":2}]"#).send().await.unwrap();
    let first = next(&app.get("/dados?desde=-24h&limite=1").send().await.unwrap()).unwrap();
    assert!(first.contains("desde=20") && !first.contains("-24h"), "{first}");
    assert_eq!(walk(&app, "desde=-24h&limite=1").await, [2, 1]);
    assert_eq!(walk(&app, "ate=-24h").await, [0; 0]);
}

#[tokio::test]
async fn who_has_the_answer_gets_it_once() {
    let app = spawn_day().await;
    for path in ["/dados/7", "/dados?limite=3", "/dados?topico=casa/%23&ordem=asc", "/dados?topico=nada"] {
        let first = app.get(path).send().await.unwrap();
        let tag = first.headers()["etag"].to_str().unwrap().to_owned();
        assert!(tag.starts_with('"'), "{tag}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let again = app.get(path).header("if-none-match", &known).send().await.unwrap();
            assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &first.headers()["etag"]), "{path}");
            assert_eq!(again.headers().get("link"), first.headers().get("link"));
            assert_eq!(again.bytes().await.unwrap().len(), 0);
        }
        let other = app.get(path).header("if-none-match", "\"x\"").send().await.unwrap();
        assert_eq!((other.status(), other.bytes().await.unwrap()), (first.status(), first.bytes().await.unwrap()));
    }
    // The page is as full as before, and another comes behind it.
    let path = "/dados?limite=24&ordem=asc";
    let full = app.get(path).send().await.unwrap().headers()["etag"].clone();
    app.post(JSON, r#"{"valor":"new"}"#).send().await.unwrap();
    assert_eq!(app.get(path).header("if-none-match", full).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_plus_in_a_query_is_a_plus() {
    let app = spawn_app().await;
    app.post(JSON, r#"[{"valor":1,"topico":"a b"},{"valor":2,"topico":"a/b"}]"#).send().await.unwrap();
    assert_eq!(walk(&app, "topico=a/+").await, [2]);
    // As a space it would find the row; as a plus it is a wildcard, which has a level to itself.
    let problem = problem(app.get("/dados?topico=a+b").send().await.unwrap()).await;
    assert_eq!((problem.status, problem.field.as_deref()), (400, Some("topico")));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem() {
    let app = spawn_app().await;
    for (path, status, field) in [
        ("/dados/1", 404, None),
        ("/dados/um", 400, Some("id")),
        ("/dados/99999999999999999999", 400, Some("id")),
        ("/dados?limite=x", 400, Some("limite")),
        ("/dados?limite=10001", 400, Some("limite")),
        ("/dados?limite=0&formato=csv", 400, Some("limite")),
        ("/dados?formato=xml", 400, Some("formato")),
        ("/dados?ordem=valor", 400, Some("ordem")),
        ("/dados?desde=ontem", 400, Some("desde")),
        ("/dados?desde=2026-11-23&ate=2026-11-22", 422, Some("desde")),
        ("/dados?cursor=abc", 400, Some("cursor")),
        ("/dados?pagina=2", 400, Some("pagina")),
        ("/nada", 404, None),
        ("/dados/1/2", 404, None),
    ] {
        let problem = problem(app.get(path).send().await.unwrap()).await;
        assert_eq!((problem.status, problem.field.as_deref()), (status, field), "{path}");
    }
    let response = app.client.delete(app.url("/dados")).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "POST,GET,HEAD");
    assert_eq!(problem(response).await.status, 405);
}

#[tokio::test]
async fn it_is_alive_and_ready() {
    let app = spawn_app().await;
    let ready = r#"{"status":"ready","produtores":{"total":0,"faltando":0,"com_diferenca":0},"leituras":{"atraso":0,"refeitas":0,"omitidas":0}}"#;
    for (path, body) in [("/healthz", r#"{"status":"ok"}"#), ("/readyz", ready)] {
        let response = app.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.text().await.unwrap(), body);
    }
}
