//! What somebody else has put into the database keeps rows out: said so, nothing counted that is not there, and `/readyz`
//! knows before anybody loses a request.

use std::time::Duration;

use dados::novo::{FIRST_SEQUENCE, PRODUCER};
use dados::{Dado, Relato};
use reqwest::RequestBuilder;
use serde_json::Value;
use uuid::Uuid;

use crate::topics::execute;
use crate::{App, FORM, NDJSON, problem, spawn_app, spawn_with};

const SENDER: Uuid = Uuid::from_u128(0xd);

fn many(app: &App, rows: usize) -> RequestBuilder {
    app.post(NDJSON, "{\"valor\":1,\"topico\":\"casa\"}\n".repeat(rows))
}

fn sent(app: &App, first: usize, rows: usize) -> RequestBuilder {
    many(app, rows).header(PRODUCER, SENDER.to_string()).header(FIRST_SEQUENCE, first)
}

/// Every way in which rows come.
fn requests(app: &App, next: usize) -> Vec<RequestBuilder> {
    vec![
        app.post(FORM, "valor=1&topico=casa"),
        many(app, 30),
        many(app, 1_500),
        sent(app, next, 1),
        sent(app, next, 1_500),
        app.post(FORM, "valor=1&topico=casa").header("idempotency-key", "a"),
    ]
}

async fn ready(app: &App) -> u16 {
    app.get("/readyz").send().await.unwrap().status().as_u16()
}

async fn ledger(app: &App) -> Value {
    app.get(&format!("/produtores/{SENDER}")).send().await.unwrap().json().await.unwrap()
}

async fn all_refused(app: &App, next: usize) {
    for (at, request) in requests(app, next).into_iter().enumerate() {
        let response = request.send().await.unwrap();
        assert!(response.headers().contains_key("retry-after"), "request {at}: {response:?}");
        let problem = problem(response).await;
        assert_eq!(problem.status, 503, "request {at}: {problem:?}");
        assert!(problem.detail.as_ref().unwrap().contains("refuses rows"), "{problem:?}");
    }
}

#[tokio::test]
async fn rows_that_a_trigger_leaves_out_are_not_acknowledged() {
    for sql in [
        "create trigger t before insert on dados begin select raise(ignore); end",
        "create trigger t before insert on dados begin select raise(abort, 'no'); end",
        "alter table dados rename to dados_antes",
        "alter table dados rename column topico to lugar",
    ] {
        let app = spawn_app().await;
        assert_eq!(sent(&app, 1, 2).send().await.unwrap().status(), 201);
        let before = ledger(&app).await;
        execute(&app, sql).await;
        all_refused(&app, 3).await;
        assert_eq!(ledger(&app).await["armazenadas"], before["armazenadas"], "{sql}");
        execute(&app, undo(sql)).await;
        assert_eq!(app.rows().await.len(), 2, "{sql}");
        assert_eq!(sent(&app, 3, 2).send().await.unwrap().status(), 201, "{sql}");
        assert_eq!(ready(&app).await, 200, "{sql}");
        app.stop().await;
    }
}

fn undo(sql: &str) -> &'static str {
    match sql {
        "alter table dados rename to dados_antes" => "alter table dados_antes rename to dados",
        "alter table dados rename column topico to lugar" => "alter table dados rename column lugar to topico",
        _ => "drop trigger t",
    }
}

#[tokio::test]
async fn one_row_that_is_left_out_is_enough() {
    let app = spawn_app().await;
    let sql = "create trigger t before insert on dados when (select max(id) from dados) = 1000 begin select raise(ignore); end";
    execute(&app, sql).await;
    for request in [many(&app, 1_500), sent(&app, 1, 1_500)] {
        assert_eq!(request.send().await.unwrap().status(), 503);
        assert_eq!(app.rows().await.len(), 0);
    }
    assert_eq!(sent(&app, 1, 1_000).send().await.unwrap().status(), 201);
    assert_eq!(sent(&app, 1, 1_001).send().await.unwrap().status(), 503);
    assert_eq!(ledger(&app).await["armazenadas"], 1_000);
    app.stop().await;
}

#[tokio::test]
async fn a_ledger_or_a_key_that_a_trigger_keeps_out_is_no_row_stored() {
    for (sql, next) in [
        ("create trigger t before insert on produtores begin select raise(ignore); end", 1),
        // The producer is known.
        ("create trigger t before update on produtores begin select raise(ignore); end", 3),
        ("create trigger t before insert on idempotencia begin select raise(ignore); end", 1),
    ] {
        let app = spawn_app().await;
        if next > 1 {
            assert_eq!(sent(&app, 1, 2).send().await.unwrap().status(), 201);
        }
        execute(&app, sql).await;
        let request = if sql.contains("idempotencia") {
            app.post(FORM, "valor=1").header("idempotency-key", "a")
        } else {
            sent(&app, next, 2)
        };
        assert_eq!(request.send().await.unwrap().status(), 503, "{sql}");
        assert_eq!(app.rows().await.len(), next - 1, "{sql}");
        assert_eq!(ready(&app).await, 503, "{sql}");
        app.stop().await;
    }
}

#[tokio::test]
async fn readyz_finds_out_before_anybody_posts_and_leaves_no_trace() {
    let app = spawn_app().await;
    execute(
        &app,
        "create trigger t after insert on dados begin select raise(abort, 'no'); end; pragma user_version = 7",
    )
    .await;
    assert_eq!(ready(&app).await, 503);
    // A report that is taken does not make it well.
    let report =
        app.client.put(app.url(&format!("/produtores/{SENDER}"))).json(&Relato { recebidas: 1, ..Relato::default() });
    assert_eq!(report.send().await.unwrap().status(), 200);
    assert_eq!(ready(&app).await, 503);
    execute(&app, "drop trigger t").await;
    // It is tried again by itself.
    while ready(&app).await != 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(app.rows().await.len(), 0);
    let row: Dado = app.post(FORM, "valor=1").send().await.unwrap().json().await.unwrap();
    assert_eq!(row.id, 1, "a probe takes no id");
    let count: Value = app.get("/produtores").send().await.unwrap().json().await.unwrap();
    assert_eq!(count.as_array().unwrap().len(), 1, "{count}");
    // The version is the owner's.
    execute(&app, "create table seen as select user_version from pragma_user_version").await;
    let app = spawn_with(app.stop().await, |_| {}).await;
    execute(&app, "insert into dados (valor) select user_version from seen").await;
    assert_eq!(app.rows().await[0].valor.as_deref(), Some("7"));
}
