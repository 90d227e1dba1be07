//! Topics are read by their key, whatever is selected, and what a page has fits.

use sqlx::{Connection as _, SqliteConnection};
use tempfile::TempDir;

use super::*;
use crate::store::sqlite::adopt;
use crate::store::{Writer, connect};
use crate::topics::query::PAGE_BYTES_MAX;

const AT: &str = "2026-11-23 03:21:45.678";

async fn open(dir: &TempDir) -> (Writer, Reader) {
    connect(&format!("sqlite:{}/dados.db", dir.path().display()), 1).await.unwrap()
}

/// Runs what a text says, with its times.
async fn execute(writer: &mut Writer, sql: String) {
    let sql = sql.replace("$at", AT);
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(writer.connection().await.unwrap()).await.unwrap();
}

async fn fill(writer: &mut Writer, names: &[&str]) {
    for name in names {
        let name = name.replace('\'', "''");
        let sql = format!(
            "insert into topicos (topico, ultimo_id, ultimo_timestamp, mensagens) values ('{name}', 1, '$at', 1)"
        );
        execute(writer, sql).await;
    }
}

fn selection(wanted: Wanted, limit: u32) -> TopicSelection {
    TopicSelection { wanted, after: None, limit, bytes_max: PAGE_BYTES_MAX }
}

/// The names of all pages.
async fn walk(reader: &Reader, wanted: Wanted, limit: u32) -> Vec<String> {
    let (mut names, mut selection) = (Vec::new(), selection(wanted, limit));
    loop {
        let page = reader.topics(&selection).await.unwrap();
        assert!(page.topics.len() <= limit as usize);
        names.extend(page.topics.iter().map(|topico| topico.topico.clone().unwrap_or_default()));
        match page.next_after {
            Some(last) => {
                assert_eq!(names.last(), Some(&last));
                selection.after = Some(last);
            }
            None => return names,
        }
    }
}

#[test]
fn what_all_names_begin_with() {
    for (filter, expected) in [
        ("#", ""),
        ("+", ""),
        ("+/a", ""),
        ("/#", ""),
        ("a/#", "a"),
        ("a/b/#", "a/b"),
        ("a/+", "a/"),
        ("a/+/b/#", "a/"),
        ("a//+", "a//"),
        ("ç/+", "ç/"),
    ] {
        assert_eq!(prefix(&Wanted::Matching(filter.into())), expected, "{filter}");
    }
    assert_eq!((prefix(&Wanted::All), prefix(&Wanted::Exactly("a/b".into()))), ("", "a/b"));
}

#[test]
fn reading_begins_behind_the_page_before() {
    let first = |wanted: Wanted, after: Option<&str>| {
        first(&TopicSelection { wanted, after: after.map(str::to_owned), limit: 1, bytes_max: PAGE_BYTES_MAX })
    };
    assert_eq!(first(Wanted::All, None), "");
    assert_eq!(first(Wanted::All, Some("")), "\0");
    assert_eq!(first(Wanted::Matching("b/+".into()), None), "b/");
    assert_eq!(first(Wanted::Matching("b/+".into()), Some("a")), "b/");
    assert_eq!(first(Wanted::Matching("b/+".into()), Some("b/")), "b/\0");
    assert_eq!(first(Wanted::Matching("b/+".into()), Some("c")), "c\0");
    assert_eq!(first(Wanted::Exactly("b".into()), Some("b")), "b\0");
}

#[tokio::test]
async fn pages_walk_what_a_filter_takes_in() {
    let names =
        ["", "$SYS/x", "A", "a", "a'b", "a/", "a/b", "a/b/c", "a/c", "aa", "b/b/c", "ç", "\u{10ffff}", "\u{10ffff}a"];
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open(&dir).await;
    assert_eq!(walk(&reader, Wanted::All, 1).await, [""; 0]);
    fill(&mut writer, &names).await;
    for limit in [1, 2, 3, 100] {
        assert_eq!(walk(&reader, Wanted::All, limit).await, names);
        for filter in
            ["#", "+", "a/#", "a/+", "+/b/#", "a/b/c/#", "/#", "$SYS/#", "ç/#", "\u{10ffff}/#", "+/+/+", "z/#"]
        {
            let expected: Vec<_> =
                names.iter().copied().filter(|name| !name.is_empty() && topic::matches(filter, name)).collect();
            assert_eq!(walk(&reader, Wanted::Matching(filter.into()), limit).await, expected, "{filter}");
        }
        for name in ["", "a", "a/b", "$SYS/x", "\u{10ffff}"] {
            assert_eq!(walk(&reader, Wanted::Exactly(name.into()), limit).await, [name]);
        }
        for name in ["a/b/", "B", "z"] {
            assert_eq!(walk(&reader, Wanted::Exactly(name.into()), limit).await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_topic_has_a_bounded_number_of_fields_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open(&dir).await;
    let (exact, more) = (CAMPOS_MAX, CAMPOS_MAX + 1);
    fill(&mut writer, &["a", "b", "c", "d"]).await;
    for (name, fields) in [("a", 1), ("b", exact), ("d", more)] {
        let sql = format!(
            "insert into campos (topico, campo, ultimo_id, ultimo_timestamp, leituras)
             with recursive number (n) as (select 1 union all select n + 1 from number where n < {fields})
             select '{name}', printf('c%03d', {fields} - n), 1, '$at', n from number"
        );
        execute(&mut writer, sql).await;
    }
    let page = reader.topics(&selection(Wanted::All, 9)).await.unwrap();
    let fields: Vec<_> = page.topics.iter().map(|topico| topico.campos.len()).collect();
    assert_eq!(fields, [1, CAMPOS_MAX, 0, CAMPOS_MAX]);
    for topico in &page.topics {
        assert!(topico.campos.is_sorted_by(|one, other| one.campo < other.campo));
    }
    assert_eq!(page.topics[3].campos[0].campo, "c000");
}

#[tokio::test]
async fn a_page_ends_where_it_has_enough_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open(&dir).await;
    fill(&mut writer, &["a", "b", "c"]).await;
    let characters = PAGE_BYTES_MAX;
    execute(
        &mut writer,
        format!("update topicos set ultimo_valor = printf('%.*c', {characters}, 'x') where topico = 'b'"),
    )
    .await;
    assert_eq!(walk(&reader, Wanted::All, 9).await, ["a", "b", "c"]);
    let page = reader.topics(&selection(Wanted::All, 9)).await.unwrap();
    assert_eq!((page.topics.len(), page.next_after.as_deref()), (2, Some("b")));
    execute(
        &mut writer,
        format!(
            "insert into campos values ('a', 'x', 1, null, printf('%.*c', {characters}, 'é'), '$at', 1, null, null)"
        ),
    )
    .await;
    let page = reader.topics(&selection(Wanted::All, 9)).await.unwrap();
    assert_eq!(page.topics[0].campos[0].texto.as_ref().unwrap().chars().count(), TEXT_CHARS_MAX);
}

#[tokio::test]
async fn what_is_no_topic_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open(&dir).await;
    fill(&mut writer, &["a", "z"]).await;
    execute(
        &mut writer,
        "insert into topicos (topico, ultimo_id, ultimo_timestamp, mensagens, ultimo_valor)
         values (cast(x'61ff' as text), 1, '$at', 1, null), (x'62', 1, '$at', 1, null), ('c', 1, 5, 1, x'61ff')"
            .to_owned(),
    )
    .await;
    for limit in [1, 9] {
        assert_eq!(walk(&reader, Wanted::All, limit).await, ["a", "c", "z"]);
    }
    let page = reader.topics(&selection(Wanted::Exactly("c".into()), 1)).await.unwrap();
    let topico = &page.topics[0];
    assert_eq!((topico.ultimo_valor.as_deref(), topico.ultimo_timestamp.as_str()), (Some("a\u{fffd}"), "5"));
}

#[tokio::test]
async fn both_tables_are_read_by_their_keys_and_nothing_is_sorted() {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    adopt::migrate(&mut conn).await.unwrap();
    let sql = format!("explain query plan {}", select());
    let plan = sqlx::query(AssertSqlSafe(sql)).bind("a").fetch_all(&mut conn).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
    assert_eq!(
        plan,
        [
            "SEARCH t USING PRIMARY KEY (topico>? AND topico<?)",
            "SEARCH c USING PRIMARY KEY (topico=? AND campo<?) LEFT-JOIN",
            "CORRELATED SCALAR SUBQUERY 1",
            "SEARCH campos USING PRIMARY KEY (topico=?)",
        ]
    );
}
