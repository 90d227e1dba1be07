//! How the index of the topics grows, and what it is read by. That reading is exact is shown beside `selection`.

use dados::Timestamp;
use sqlx::{Connection as _, Row as _};
use tempfile::TempDir;

use super::*;
use crate::store::sqlite::follow::STEP_ROWS;
use crate::store::sqlite::{Writer, adopt};
use crate::store::{Batch, Filter, Indexed, Origin, Reader, Row, Selection, StoreError, Wanted, connect};

fn url(dir: &TempDir) -> String {
    format!("sqlite:{}/dados.db", dir.path().display())
}

/// So many rows of the topic `a`.
fn batch(rows: usize) -> Batch {
    let row = Row {
        valor: "1".into(),
        timestamp: "2026-11-23 03:21:45.678".into(),
        topico: Some("a".into()),
        qos: None,
        retido: None,
        dup: None,
        formato: None,
        hora_corrigida: None,
    };
    Batch { rows: vec![row; rows], origin: Origin::Unmarked }
}

/// The ids of all pages of a topic or a filter.
async fn walk(reader: &Reader, topico: &str, limit: u32) -> Vec<i64> {
    let is_filter = topico.contains('+');
    let topics = if is_filter { Wanted::Matching(topico.to_owned()) } else { Wanted::Exactly(topico.to_owned()) };
    let filter = Filter { topics, from: None, until: None };
    let (order, bytes_max) = (Order::Descending, usize::MAX);
    let mut selection = Selection { filter, order, after_id: None, newest_id: None, limit, bytes_max };
    let mut ids = Vec::new();
    loop {
        let page = reader.list(&selection).await.unwrap();
        assert!(page.rows.iter().all(|row| is_filter || row.topico.as_deref() == Some(topico)));
        ids.extend(page.rows.iter().map(|row| row.id));
        if page.next_after_id.is_none() {
            return ids;
        }
        selection.after_id = page.next_after_id;
    }
}

/// Edits the table by hand, as whoever has the file may.
async fn execute(writer: &mut Writer, sql: &'static str, parameter: Option<i64>, topico: Option<&str>) {
    let query = sqlx::query(sql).bind(topico).bind(parameter);
    query.execute(writer.connection().await.unwrap()).await.unwrap();
}

async fn plan(sql: &str, parameters: usize) -> Vec<String> {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    adopt::migrate(&mut conn).await.unwrap();
    let sql = format!("explain query plan {sql}");
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for _ in 0..parameters {
        query = query.bind("1");
    }
    query.fetch_all(&mut conn).await.unwrap().iter().map(|row| row.get("detail")).collect()
}

#[tokio::test]
async fn topics_and_their_ids_are_looked_up_by_the_key_and_nothing_is_sorted() {
    for order in [Order::Ascending, Order::Descending] {
        assert_eq!(
            plan(&ids_text(order), 4).await,
            [
                "SCAN wanted VIRTUAL TABLE INDEX 1:",
                "CORRELATED SCALAR SUBQUERY 2",
                "CO-ROUTINE (subquery-1)",
                "SEARCH dados_por_topico USING PRIMARY KEY (topico=? AND dado_id>? AND dado_id<?)",
                "SCAN (subquery-1)",
            ]
        );
    }
    let key = "SEARCH dados_por_topico USING PRIMARY KEY (topico>? AND topico<?)";
    let plan = plan(TOPICS, 2).await;
    assert_eq!(plan.iter().filter(|line| *line == key).count(), 2, "{plan:?}");
    assert!(!plan.iter().any(|line| line.contains("SCAN dados_por_topico") || line.contains("TEMP")), "{plan:?}");
}

#[tokio::test]
async fn a_step_that_fails_half_way_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = connect(&url(&dir), 1).await.unwrap();
    writer.write(&[&batch(9)], Timestamp::now()).await.unwrap();
    writer.index(4).await.unwrap();
    // The entries are written by then.
    sqlx::raw_sql("create temp trigger refuse before update on projecoes begin select raise(abort, 'no'); end")
        .execute(writer.connection().await.unwrap())
        .await
        .unwrap();
    assert!(matches!(writer.index(4).await, Err(StoreError::Unexpected(_))));
    assert_eq!(writer.indexed().await.unwrap(), Indexed { last_id: 4, newest_id: 9 });
    let entries = sqlx::query_scalar("select count(*) from dados_por_topico");
    let entries: i64 = entries.fetch_one(writer.connection().await.unwrap()).await.unwrap();
    assert_eq!(entries, 4);
    assert_eq!(walk(&reader, "a", 2).await, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(writer.index(STEP_ROWS).await.unwrap(), Indexed { last_id: 9, newest_id: 9 });
    assert_eq!(walk(&reader, "a", 2).await, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
}

#[tokio::test]
async fn rows_of_many_topics_are_taken_up_in_smaller_steps() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = connect(&url(&dir), 1).await.unwrap();
    execute(
        &mut writer,
        "insert into dados (topico) with recursive number (n) as
             (select 1 union all select n + 1 from number where n < 4 * ?2)
         select ifnull(?1, 'casa/') || (n % (2 * ?2)) from number",
        Some(STEP_TOPICS),
        None,
    )
    .await;
    // Every topic twice, then some twice and some once, then the rest.
    for steps_rows in [0, 2, 3, 4, 4] {
        assert_eq!(writer.indexed().await.unwrap().last_id, steps_rows * STEP_TOPICS);
        assert_eq!(walk(&reader, "casa/7", 9).await, [7 + 2 * STEP_TOPICS, 7]);
        writer.index(STEP_ROWS).await.unwrap();
    }
}

#[tokio::test]
async fn rows_whose_ids_are_far_apart_are_taken_up_in_steps_of_few_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = connect(&url(&dir), 1).await.unwrap();
    let ids = [1, 2, 16_384, 16_385, 16_386, 1 << 40, i64::MAX - 1];
    for id in ids {
        let insert = "insert into dados (id, topico, timestamp) values (?2, ?1, '2026-11-28 07:00:00.000')";
        execute(&mut writer, insert, Some(id), Some("a")).await;
    }
    for last_id in [16_384, 16_386, 1 << 40, i64::MAX - 1, i64::MAX - 1] {
        assert_eq!(writer.index(STEP_ROWS).await.unwrap().last_id, last_id);
    }
    let blocks = sqlx::query_scalar("select bloco from dados_por_tempo order by bloco");
    let blocks: Vec<i64> = blocks.fetch_all(writer.connection().await.unwrap()).await.unwrap();
    assert_eq!(blocks, [0, 16, 1 << 30, i64::MAX >> 10]);
    let newest_first: Vec<i64> = ids.into_iter().rev().collect();
    assert_eq!(walk(&reader, "a", 2).await, newest_first);
}

#[tokio::test]
async fn a_database_of_the_schema_before_is_exact_at_once_and_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let mut conn = SqliteConnection::connect(&format!("{}?mode=rwc", url(&dir))).await.unwrap();
    adopt::MIGRATOR.run_direct(Some(3), &mut conn, false).await.unwrap();
    sqlx::raw_sql(
        "insert into dados (topico) values ('a'), (null), ('b'), ('a'), (null), ('a'); delete from dados where id = 4",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    let (mut writer, reader) = connect(&url(&dir), 1).await.unwrap();
    for last_id in [0, 2, 5, 6, 6] {
        assert_eq!(writer.indexed().await.unwrap(), Indexed { last_id, newest_id: 6 });
        assert_eq!((walk(&reader, "a", 1).await, walk(&reader, "b", 1).await), (vec![6, 1], vec![3]));
        writer.index(2).await.unwrap();
    }
}

#[tokio::test]
async fn what_the_triggers_cannot_see_is_never_shown_wrongly() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = connect(&url(&dir), 1).await.unwrap();
    writer.write(&[&batch(3)], Timestamp::now()).await.unwrap();
    writer.index(STEP_ROWS).await.unwrap();
    // `replace` deletes without the trigger.
    execute(&mut writer, "replace into dados (id, topico) values (2, ?1)", None, Some("b")).await;
    assert_eq!((walk(&reader, "a", 9).await, walk(&reader, "b", 9).await), (vec![3, 1], vec![]));
    execute(&mut writer, "update dados set topico = topico where ?1 is null and id = 2", None, None).await;
    assert_eq!((walk(&reader, "a", 9).await, walk(&reader, "b", 9).await), (vec![3, 1], vec![2]));
    // The index has it with both topics. Rows of none are first, or the filter's would be looked at one by one.
    let others = "insert into dados (topico) with recursive number (n) as
                      (select 1 union all select n + 1 from number where n < 9) select ?1 from number where ?2 is null";
    execute(&mut writer, others, None, None).await;
    writer.index(STEP_ROWS).await.unwrap();
    for limit in [1, 2, 9] {
        assert_eq!(walk(&reader, "+", limit).await, [3, 2, 1]);
    }
    execute(&mut writer, "delete from dados where ?1 is null and id > 3", None, None).await;
    // As if nothing had ever been taken up.
    execute(&mut writer, "delete from projecoes where ?1 is null", None, None).await;
    assert_eq!(walk(&reader, "b", 9).await, [2]);
    assert_eq!(writer.index(STEP_ROWS).await.unwrap().last_id, 3);
    assert_eq!(walk(&reader, "a", 9).await, [3, 1]);
}
