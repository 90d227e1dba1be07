//! Reading back: pages, topics, one row.

use std::collections::BTreeSet;

use dados::Dado;

use crate::{JSON, problem, spawn_app};

#[tokio::test]
async fn pages_walk_all_rows_once() {
    let app = spawn_app().await;
    let rows: Vec<_> =
        (0..25).map(|n| format!(r#"{{"valor":{n},"topico":"{}"}}"#, if n % 2 == 0 { "a b" } else { "c" })).collect();
    app.post(JSON, format!("[{}]", rows.join(","))).send().await.unwrap();
    for (query, expected) in [("limite=4", 25), ("limite=4&topico=a%20b", 13), ("limite=12&topico=c", 12)] {
        let mut next = Some(format!("/dados?{query}"));
        let mut ids = Vec::new();
        while let Some(path) = next {
            let response = app.get(&path).send().await.unwrap();
            let link = response.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
            next = link.map(|link| link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned());
            ids.extend(response.json::<Vec<Dado>>().await.unwrap().into_iter().map(|row| row.id));
        }
        assert!(ids.is_sorted_by(|a, b| a > b), "{query}: {ids:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), expected, "{query}: {ids:?}");
    }
}

#[tokio::test]
async fn a_plus_in_a_query_is_a_plus() {
    let app = spawn_app().await;
    app.post(JSON, r#"{"valor":1,"topico":"a b"}"#).send().await.unwrap();
    // As a space it would find the row; as a plus it is a wildcard, which no topic has.
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
    let ready = r#"{"status":"ready","produtores":{"total":0,"faltando":0,"com_diferenca":0},"leituras":{"atraso":0,"refeitas":0}}"#;
    for (path, body) in [("/healthz", r#"{"status":"ok"}"#), ("/readyz", ready)] {
        let response = app.get(path).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.text().await.unwrap(), body);
    }
}
