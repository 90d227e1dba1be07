//! Retention takes little at a time, nothing by a clock that is in doubt, and all once an operator confirms.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::program::{LOOK_INTERVAL, PROGRAM, Running, command, skipped};
use crate::{App, NDJSON, database, spawn_app, spawn_with};

const DAY: Duration = Duration::from_secs(86_400);

/// Messages of so many days ago.
fn lines(count: usize, days: i64) -> String {
    let at = dados::Timestamp::from_ms(dados::Timestamp::now().as_ms() - days * DAY.as_millis() as i64).unwrap();
    (0..count).map(|value| format!("{{\"topico\":\"a\",\"timestamp\":\"{at}\",\"valor\":{value}}}\n")).collect()
}

async fn number(dir: &TempDir, sql: &'static str) -> i64 {
    let options = SqliteConnectOptions::new().filename(database(dir.path())).read_only(true);
    let mut conn: SqliteConnection = options.connect().await.unwrap();
    let number = sqlx::query_scalar(sql).fetch_one(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    number
}

async fn ready(url: &str) -> Value {
    crate::client().get(format!("{url}/readyz")).send().await.unwrap().json().await.unwrap()
}

/// Waits until all that is stored is laid out: nothing goes before.
async fn laid_out(url: &str) {
    while ready(url).await["leituras"]["atraso"] != 0 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Waits until retention has looked, and has left so many rows.
async fn kept(url: &str, rows: u64) {
    while ready(url).await["retencao"]["em_espera"] != rows {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// A stopped API's database with so many messages of 10 days ago, and then of today.
async fn stored(old: usize, new: usize) -> TempDir {
    let app: App = spawn_app().await;
    for body in [lines(old, 10), lines(new, 0)] {
        assert_eq!(app.post(NDJSON, body).send().await.unwrap().status(), 201);
    }
    laid_out(&app.url("")).await;
    app.stop().await
}

/// `ponte-api retention apply` and what it prints.
async fn apply(dir: &TempDir, addr: &str, faketime: Option<&str>) -> (Option<i32>, String) {
    let mut program = started(dir, faketime);
    program.args(["--api-addr", addr, "--retention-dados", "5d", "retention", "apply"]);
    let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The program, with another clock where one is given.
fn started(dir: &TempDir, faketime: Option<&str>) -> Command {
    let mut command = command(PROGRAM, dir);
    if let (Some(clock), Some(library)) = (faketime, library()) {
        command.env("LD_PRELOAD", library).env("FAKETIME", clock).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
    command
}

/// What the package `faketime` gives a program another clock with.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    folders.map(|folder| folder.join("faketime/libfaketime.so.1")).find(|library| library.exists())
}

#[tokio::test]
async fn a_look_takes_a_twentieth_of_a_table_and_an_operator_all_that_is_too_old() {
    let dir = stored(400, 100).await;
    let app = spawn_with(dir, |config| config.retention_dados = Some(5 * DAY)).await;
    kept(&app.url(""), 375).await;
    assert_eq!(number(&app.dir, "select count(*) from dados").await, 475);
    assert_eq!(app.client.post(app.url("/retencao/aplicar?x=1")).send().await.unwrap().status(), 400);
    assert_eq!(app.client.post(app.url("/retencao/aplicar")).send().await.unwrap().status(), 202);
    kept(&app.url(""), 0).await;
    while ready(&app.url("")).await["retencao"]["aplicadas"] != 1 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    assert_eq!(ready(&app.url("")).await["retencao"]["apagadas"], 400);
    assert_eq!(number(&app.dir, "select count(*) from dados").await, 100);
    app.stop().await;
}

#[tokio::test]
async fn of_a_small_table_a_look_takes_one_row() {
    let app = spawn_with(stored(3, 1).await, |config| config.retention_dados = Some(5 * DAY)).await;
    kept(&app.url(""), 2).await;
    assert_eq!(number(&app.dir, "select count(*) from dados").await, 3);
    app.stop().await;
}

#[tokio::test]
async fn where_nothing_is_ever_deleted_there_is_nothing_to_confirm() {
    let app = spawn_app().await;
    assert_eq!(app.client.post(app.url("/retencao/aplicar")).send().await.unwrap().status(), 409);
    assert_eq!(ready(&app.url("")).await["retencao"], Value::Null);
    let output = command(PROGRAM, &app.dir).args(["retention", "apply"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("RETENTION_DADOS"), "{output:?}");
    app.stop().await;
}

#[tokio::test]
async fn the_subcommand_confirms_to_the_running_api_and_works_alone() {
    let dir = stored(100, 20).await;
    let mut program = command(PROGRAM, &dir);
    program.args(["--api-addr", "127.0.0.1:0", "--retention-dados", "5d"]);
    let mut api = Running::start(program).await.unwrap();
    let url = format!("http://{}", api.addr);
    kept(&url, 94).await;
    let (code, said) = apply(&dir, &api.addr, None).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("94 rows deleted"), "{said}");
    assert_eq!(number(&dir, "select count(*) from dados").await, 20);
    assert_eq!(api.post(NDJSON, lines(100, 10)).send().await.unwrap().status(), 201);
    laid_out(&url).await;
    assert_eq!(api.terminate(), Some(0));

    let (code, said) = apply(&dir, "127.0.0.1:1", None).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("100 rows deleted"), "{said}");
    assert_eq!(number(&dir, "select count(*) from dados").await, 20);
}

/// The clock says 2100 at the start: nothing goes, whatever the settings say, and `check` names it.
#[tokio::test]
async fn a_clock_in_doubt_deletes_nothing_until_somebody_confirms_it() {
    if library().is_none() {
        return skipped("faketime is not installed");
    }
    let dir = stored(30, 30).await;
    let wrong = Some("+73y");
    let mut program = started(&dir, wrong);
    program.args(["--api-addr", "127.0.0.1:0", "--retention-dados", "5d", "--retention-leituras-minuto", "5d"]);
    let mut api = Running::start(program).await.unwrap();
    let url = format!("http://{}", api.addr);
    // All messages, and the two minutes of their readings.
    kept(&url, 62).await;
    assert_eq!(ready(&url).await["retencao"]["apagadas"], 0);
    assert_eq!(api.terminate(), Some(0));
    assert_eq!(number(&dir, "select count(*) from dados").await, 60);
    assert_eq!(number(&dir, "select count(*) from leituras_minuto").await, 2);

    let mut check = started(&dir, wrong);
    check.args(["--api-addr", "127.0.0.1:0", "check"]);
    let output = tokio::task::spawn_blocking(move || check.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("warn  newest message") && said.contains("the clock is wrong"), "{said}");

    let (code, said) = apply(&dir, "127.0.0.1:1", wrong).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("60 rows deleted"), "{said}");
}

/// Captured before the clock was set: it is as old as what arrived beside it.
#[tokio::test]
async fn a_message_of_1970_is_not_taken_first() {
    let app = spawn_app().await;
    let early = "{\"topico\":\"a\",\"timestamp\":\"1970-01-01T00:00:40Z\",\"valor\":1}\n";
    // More than a block of ids, so that what is old is in blocks of its own.
    for body in [early.to_owned(), lines(3_000, 10), early.to_owned(), lines(100, 0)] {
        assert_eq!(app.post(NDJSON, body).send().await.unwrap().status(), 201);
    }
    laid_out(&app.url("")).await;
    let ages = |config: &mut ponte_api::config::Config| {
        config.retention_dados = Some(5 * DAY);
        config.retention_leituras = Some(5 * DAY);
    };
    let dir = app.stop().await;
    // So few rows are not worth a step of the index of time yet.
    let mut conn = SqliteConnectOptions::new().filename(database(dir.path())).connect().await.unwrap();
    sqlx::raw_sql(
        "insert into dados_por_tempo select id >> 10, min(timestamp), max(timestamp) from dados group by 1;
         update projecoes set ultimo_id = (select max(id) from dados) where nome = 'dados_por_tempo'",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    let app = spawn_with(dir, ages).await;
    assert_eq!(app.client.post(app.url("/retencao/aplicar")).send().await.unwrap().status(), 202);
    while ready(&app.url("")).await["retencao"]["aplicadas"] != 1 {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    for count in ["select count(*) from dados", "select count(*) from leituras"] {
        assert_eq!(number(&app.dir, count).await, 101, "{count}");
    }
    for early in [
        "select max(id) from dados where timestamp < '2001-'",
        "select max(dado_id) from leituras where timestamp < '2001-'",
    ] {
        assert_eq!(number(&app.dir, early).await, 3_002, "{early}");
    }
    app.stop().await;
}
