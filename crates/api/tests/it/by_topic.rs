//! The index of the topics: a database that has none catches up while it serves, and a kill at any moment harms nothing.

use std::process::Command;
use std::time::{Duration, Instant};

use dados::Dado;
use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use crate::program::{LOOK_INTERVAL, PROGRAM, Running, command};
use crate::{FORM, NDJSON, database};

/// What the index leaves when it is at rest: a step is taken for so many rows, and for no fewer.
const STEP_ROWS: u64 = 16_384;
/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Enough for many steps, and not for many seconds.
const ROWS: i64 = 200_000;

fn program(dir: &TempDir) -> Command {
    let mut program = command(PROGRAM, dir);
    program.args(["--api-addr", "127.0.0.1:0"]);
    program
}

async fn open(dir: &TempDir) -> SqliteConnection {
    SqliteConnection::connect(&format!("sqlite:{}?mode=rwc", database(dir.path()).display())).await.unwrap()
}

/// A database of the version before the index.
async fn former(dir: &TempDir) {
    let mut conn = open(dir).await;
    sqlx::migrate!("../../migrations/sqlite").run_direct(Some(3), &mut conn, false).await.unwrap();
    sqlx::query(
        "insert into dados (valor, topico) with recursive number (n) as
             (select 1 union all select n + 1 from number where n < ?)
         select n, case n % 3 when 0 then null when 1 then 'casa/sala' else 'casa/' || (n % 1000) end from number",
    )
    .bind(ROWS)
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
}

async fn unindexed(api: &Running) -> u64 {
    let metrics = api.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = metrics.lines().find_map(|line| line.strip_prefix("ponte_api_unindexed_rows ")).unwrap();
    line.parse().unwrap()
}

async fn eventually(is_there: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_there().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What is read by topic is what the table has, and the index has all of what it says it has.
async fn assert_exact(api: &Running, dir: &TempDir) {
    let mut conn = open(dir).await;
    for topico in ["casa/sala", "casa/2", "casa/nada"] {
        let rows = api.get(&format!("/dados?limite=10000&topico={topico}")).send().await.unwrap();
        let read: Vec<i64> = rows.json::<Vec<Dado>>().await.unwrap().iter().map(|row| row.id).collect();
        let filtered: Vec<i64> =
            sqlx::query_scalar("select id from dados where topico = ? order by id desc limit 10000")
                .bind(topico)
                .fetch_all(&mut conn)
                .await
                .unwrap();
        assert_eq!(read, filtered, "{topico}");
    }
    let differing: i64 = sqlx::query_scalar(
        "with cursor (id) as (select ultimo_id from projecoes), should (topico, id) as
             (select topico, id from dados where topico is not null and id <= (select id from cursor))
         select count(*) from
             (select * from (select * from should except select * from dados_por_topico)
              union all select * from (select * from dados_por_topico except select * from should))",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert_eq!(differing, 0);
    conn.close().await.unwrap();
}

#[tokio::test]
async fn a_former_database_catches_up_while_it_serves_through_kills() {
    let dir = tempfile::tempdir().unwrap();
    former(&dir).await;
    let mut stored = ROWS;
    let mut kills = 0;
    loop {
        let api = Running::start(program(&dir)).await.unwrap();
        let at_start = unindexed(&api).await;
        // Nothing is held up by it.
        let post = api.post(FORM, format!("valor={kills}&topico=casa/sala")).send().await.unwrap();
        assert_eq!(post.status(), 201);
        stored += 1;
        if kills == 4 {
            eventually(async || unindexed(&api).await <= STEP_ROWS).await;
            assert_exact(&api, &dir).await;
            let rows: Vec<Dado> = api.get("/dados?limite=1").send().await.unwrap().json().await.unwrap();
            assert_eq!(rows[0].id, stored);
            return;
        }
        if at_start > 0 {
            assert_exact(&api, &dir).await;
        }
        // Dropping it is a kill -9.
        drop(api);
        kills += 1;
    }
}

#[tokio::test]
async fn a_step_that_fails_is_nobodys_failure_and_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let api = Running::start(program(&dir)).await.unwrap();
    let mut conn = open(&dir).await;
    let refuse = "create trigger refuse before insert on dados_por_topico begin select raise(abort, 'no'); end";
    sqlx::raw_sql(refuse).execute(&mut conn).await.unwrap();
    let failed = async || {
        let metrics = api.get("/metrics").send().await.unwrap().text().await.unwrap();
        assert!(metrics.contains("\nponte_api_writer_healthy 1\n"), "{metrics}");
        !metrics.contains("transactions_failed_total{kind=\"unexpected\"} 0\n")
    };
    let post = async |rows: usize| {
        let body = "{\"valor\":1,\"topico\":\"casa/sala\"}\n".repeat(rows);
        assert_eq!(api.post(NDJSON, body).send().await.unwrap().status(), 201);
    };
    post(20_000).await;
    eventually(failed).await;
    assert_eq!(api.get("/readyz").send().await.unwrap().status(), 200);
    assert_eq!(unindexed(&api).await, 20_000);
    post(1).await;
    assert_exact(&api, &dir).await;
    sqlx::raw_sql("drop trigger refuse").execute(&mut conn).await.unwrap();
    // The next commit is the next occasion.
    post(1).await;
    eventually(async || unindexed(&api).await <= STEP_ROWS).await;
    assert_exact(&api, &dir).await;
    conn.close().await.unwrap();
}
