//! Reading by topic is a filter over all rows, whatever the index has taken up and whoever has edited the rows.

use std::collections::BTreeMap;

use dados::Timestamp;
use proptest::prelude::*;
use sqlx::{Connection as _, Row as _};
use tempfile::TempDir;

use super::*;
use crate::store::sqlite::adopt;
use crate::store::{Batch, Origin, Reader, Row, Selection, connect};

const TOPICS: [&str; 4] = ["a", "A", "a/b", "b"];
/// The rows, as a program would keep them that has no index.
type Model = BTreeMap<i64, Option<&'static str>>;

#[derive(Clone, Debug)]
enum Edit {
    /// Rows come in; a number beyond the topics stands for none.
    Store(Vec<usize>),
    Step(i64),
    /// By the row's place in the table, counted from the newest.
    Delete(usize),
    DeleteNewest(usize),
    Retopic(usize, usize),
    Move(usize, i64),
    Reopen,
}

fn topic(number: usize) -> Option<&'static str> {
    TOPICS.get(number).copied()
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => prop::collection::vec(0..=TOPICS.len(), 1..12).prop_map(Edit::Store),
        4 => (1..9i64).prop_map(Edit::Step),
        1 => (0..30usize).prop_map(Edit::Delete),
        1 => (1..9usize).prop_map(Edit::DeleteNewest),
        2 => (0..30usize, 0..=TOPICS.len()).prop_map(|(row, topic)| Edit::Retopic(row, topic)),
        1 => (0..30usize, 1..60i64).prop_map(|(row, id)| Edit::Move(row, id)),
        1 => Just(Edit::Reopen),
    ]
}

fn url(dir: &TempDir) -> String {
    format!("sqlite:{}/dados.db", dir.path().display())
}

fn batch(topics: &[usize]) -> Batch {
    let row = |topico: &usize| Row {
        valor: "1".into(),
        timestamp: "2026-11-23 03:21:45.678".into(),
        topico: topic(*topico).map(Into::into),
        qos: None,
        retido: None,
        dup: None,
        formato: None,
    };
    Batch { rows: topics.iter().map(row).collect(), origin: Origin::Unmarked }
}

/// The ids of all pages of a topic.
async fn walk(reader: &Reader, topico: &str, limit: u32) -> Vec<i64> {
    let (mut ids, mut before_id) = (Vec::new(), i64::MAX);
    loop {
        let page = reader.list(&Selection { topico: Some(topico.to_owned()), before_id, limit }).await.unwrap();
        assert!(page.rows.iter().all(|row| row.topico.as_deref() == Some(topico)));
        ids.extend(page.rows.iter().map(|row| row.id));
        match ids.last() {
            Some(last) if page.has_more => before_id = *last,
            _ => return ids,
        }
    }
}

async fn assert_exact(reader: &Reader, model: &Model) {
    for topico in TOPICS {
        let expected: Vec<i64> =
            model.iter().rev().filter(|(_, its)| **its == Some(topico)).map(|(id, _)| *id).collect();
        for limit in [2, 100] {
            assert_eq!(walk(reader, topico, limit).await, expected, "{topico}, pages of {limit}");
        }
    }
}

/// Edits the table by hand, as whoever has the file may.
async fn execute(writer: &mut Writer, sql: &'static str, parameters: &[Option<i64>], topico: Option<&str>) {
    let mut query = sqlx::query(sql).bind(topico);
    for parameter in parameters {
        query = query.bind(*parameter);
    }
    query.execute(writer.connection().await.unwrap()).await.unwrap();
}

fn place(model: &Model, place: usize) -> Option<i64> {
    model.keys().rev().nth(place).copied()
}

async fn apply(edit: Edit, writer: &mut Writer, model: &mut Model) {
    match edit {
        Edit::Store(topics) => {
            let outcomes = writer.write(&[&batch(&topics)], Timestamp::now()).await.unwrap();
            let crate::store::Outcome::Stored { first_id, .. } = outcomes[0] else { panic!("{outcomes:?}") };
            model.extend((first_id..).zip(topics.into_iter().map(topic)));
        }
        Edit::Step(rows) => {
            let before = writer.indexed().await.unwrap();
            let after = writer.index_rows(rows).await.unwrap();
            let beyond = |cursor: i64| model.keys().filter(|id| **id > cursor).count();
            let taken = beyond(before.last_id).min(usize::try_from(rows).unwrap());
            assert_eq!(beyond(before.last_id) - beyond(after.last_id), taken);
        }
        Edit::Delete(row) => {
            let Some(id) = place(model, row) else { return };
            execute(writer, "delete from dados where ?1 is null and id = ?2", &[Some(id)], None).await;
            model.remove(&id);
        }
        Edit::DeleteNewest(rows) => {
            let Some(id) = place(model, rows - 1).or(model.keys().next().copied()) else { return };
            // Their ids come again.
            execute(writer, "delete from dados where ?1 is null and id >= ?2", &[Some(id)], None).await;
            execute(writer, "delete from sqlite_sequence where ?1 is null", &[], None).await;
            model.split_off(&id);
        }
        Edit::Retopic(row, to) => {
            let Some(id) = place(model, row) else { return };
            execute(writer, "update dados set topico = ?1 where id = ?2", &[Some(id)], topic(to)).await;
            model.insert(id, topic(to));
        }
        Edit::Move(row, to) => {
            let Some(id) = place(model, row) else { return };
            if model.contains_key(&to) || model.keys().next_back() == Some(&id) {
                return;
            }
            execute(writer, "update dados set id = ?3 where ?1 is null and id = ?2", &[Some(id), Some(to)], None).await;
            let topico = model.remove(&id).unwrap();
            model.insert(to, topico);
        }
        Edit::Reopen => unreachable!("the test does it"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reading_by_topic_is_a_filter_over_all_rows(edits in prop::collection::vec(edit(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let (mut writer, mut reader) = connect(&url(&dir), 1).await.unwrap();
            let mut model = Model::new();
            for edit in edits {
                if let Edit::Reopen = edit {
                    reader.close().await;
                    writer.close().await.unwrap();
                    (writer, reader) = connect(&url(&dir), 1).await.unwrap();
                } else {
                    apply(edit, &mut writer, &mut model).await;
                }
                assert_exact(&reader, &model).await;
            }
        });
    }
}

#[tokio::test]
async fn both_parts_are_read_by_their_keys_and_nothing_is_sorted() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    adopt::migrate(&mut conn).await.unwrap();
    let sql = format!("explain query plan {}", select());
    let plan = sqlx::query(AssertSqlSafe(sql)).bind("a").bind(9).bind(1).fetch_all(&mut conn).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
    let cursor = "SEARCH projecoes USING PRIMARY KEY (nome=?)";
    assert_eq!(
        plan,
        [
            "MERGE (UNION ALL)",
            "LEFT",
            "SEARCH dados USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
            "SCALAR SUBQUERY 1",
            cursor,
            "RIGHT",
            "SEARCH dados_por_topico USING PRIMARY KEY (topico=? AND dado_id<?)",
            "SCALAR SUBQUERY 3",
            cursor,
            "SEARCH dados USING INTEGER PRIMARY KEY (rowid=?)",
        ]
    );
}

#[tokio::test]
async fn a_step_that_fails_half_way_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = connect(&url(&dir), 1).await.unwrap();
    writer.write(&[&batch(&[0; 9])], Timestamp::now()).await.unwrap();
    writer.index_rows(4).await.unwrap();
    // The entries are written by then.
    sqlx::raw_sql("create temp trigger refuse before update on projecoes begin select raise(abort, 'no'); end")
        .execute(writer.connection().await.unwrap())
        .await
        .unwrap();
    assert!(matches!(writer.index_rows(4).await, Err(StoreError::Unexpected(_))));
    assert_eq!(writer.indexed().await.unwrap(), Indexed { last_id: 4, newest_id: 9 });
    let entries = sqlx::query_scalar("select count(*) from dados_por_topico");
    let entries: i64 = entries.fetch_one(writer.connection().await.unwrap()).await.unwrap();
    assert_eq!(entries, 4);
    assert_eq!(walk(&reader, "a", 2).await, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(writer.index_topics().await.unwrap(), Indexed { last_id: 9, newest_id: 9 });
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
        &[Some(STEP_TOPICS)],
        None,
    )
    .await;
    // Every topic twice, then some twice and some once, then the rest.
    for steps_rows in [0, 2, 3, 4, 4] {
        assert_eq!(writer.indexed().await.unwrap().last_id, steps_rows * STEP_TOPICS);
        assert_eq!(walk(&reader, "casa/7", 9).await, [7 + 2 * STEP_TOPICS, 7]);
        writer.index_topics().await.unwrap();
    }
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
        writer.index_rows(2).await.unwrap();
    }
}

#[tokio::test]
async fn what_the_triggers_cannot_see_is_never_shown_wrongly() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = connect(&url(&dir), 1).await.unwrap();
    writer.write(&[&batch(&[0, 0, 0])], Timestamp::now()).await.unwrap();
    writer.index_topics().await.unwrap();
    // `replace` deletes without the trigger.
    execute(&mut writer, "replace into dados (id, topico) values (2, ?1)", &[], Some("b")).await;
    assert_eq!((walk(&reader, "a", 9).await, walk(&reader, "b", 9).await), (vec![3, 1], vec![]));
    execute(&mut writer, "update dados set topico = topico where ?1 is null and id = 2", &[], None).await;
    assert_eq!((walk(&reader, "a", 9).await, walk(&reader, "b", 9).await), (vec![3, 1], vec![2]));
    // As if nothing had ever been taken up.
    execute(&mut writer, "delete from projecoes where ?1 is null", &[], None).await;
    assert_eq!(walk(&reader, "b", 9).await, [2]);
    assert_eq!(writer.index_topics().await.unwrap().last_id, 3);
    assert_eq!(walk(&reader, "a", 9).await, [3, 1]);
}
