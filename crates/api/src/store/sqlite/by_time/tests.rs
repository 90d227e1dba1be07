//! What a time is, which blocks touch a span of it, and what the index is read by.

use proptest::prelude::*;
use sqlx::{Connection as _, Row as _};

use super::*;
use crate::store::Wanted;
use crate::store::sqlite::adopt;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn between(from: Option<&str>, until: Option<&str>) -> Between {
    let filter = Filter { topics: Wanted::All, from: from.map(at), until: until.map(at) };
    Between::new(&filter).unwrap()
}

async fn database() -> SqliteConnection {
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    adopt::migrate(&mut conn).await.unwrap();
    conn
}

#[test]
fn a_span_without_times_is_none() {
    assert_eq!(Between::new(&Filter { topics: Wanted::All, from: None, until: None }), None);
    let first = between(None, Some("0000-01-01T00:00:00Z"));
    assert!(first.greatest < first.least);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn texts_compare_as_their_moments(
        seconds in 0..3i64, decimals in "[0-9]{0,5}", from_ms in 0..3_000i64, until_ms in 0..3_000i64,
    ) {
        let base = at("2026-11-23 03:21:58").as_ms();
        let whole = Timestamp::from_ms(base + seconds * 1_000).unwrap().to_sql();
        let dot = if decimals.is_empty() { "" } else { "." };
        let text = format!("{}{dot}{decimals}", &whole[..19]);
        let moment = |ms: i64| Timestamp::from_ms(base + ms).ok();
        let filter = Filter { topics: Wanted::All, from: moment(from_ms), until: moment(until_ms) };
        let Between { least, greatest } = Between::new(&filter).unwrap();
        let ms = at(&text).as_ms() - base;
        prop_assert_eq!(text >= least && text <= greatest, ms >= from_ms && ms < until_ms, "{}", text);
    }
}

#[tokio::test]
async fn a_block_is_as_wide_as_its_times_or_wider_and_goes_with_its_last_row() {
    let mut conn = database().await;
    sqlx::raw_sql(
        "insert into dados (id, timestamp) values (1, '2026-11-23 03:00:00'), (2, '2026-11-23T00:00:00-04:00'),
             (3, null), (4, 1700000000), (5, 'ontem'), (1023, '2026-11-23 02:00:00.000'), (1024, '2026-11-23 05:00:00'),
             (5000, null), (6000, '2026-11-23 06:00:00')",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let blocks = async |conn: &mut SqliteConnection| -> Vec<(i64, String, String)> {
        let sql = "select bloco, minimo, maximo from dados_por_tempo order by bloco";
        sqlx::query_as(sql).fetch_all(conn).await.unwrap()
    };
    let block = |block: i64, least: &str, greatest: &str| {
        (block, format!("2026-11-23 {least}"), format!("2026-11-23 {greatest}"))
    };
    let step = async |conn: &mut SqliteConnection, last_id, until| {
        let mut text = Text::default();
        add_step(&mut text, last_id, until).unwrap();
        text.execute(conn).await.unwrap();
    };
    step(&mut conn, 0, 4).await;
    assert_eq!(blocks(&mut conn).await, [block(0, "03:00:00", "04:00:00.000")]);
    step(&mut conn, 4, 6000).await;
    let all =
        [block(0, "02:00:00.000", "04:00:00.000"), block(1, "05:00:00", "05:00:00"), block(5, "06:00:00", "06:00:00")];
    assert_eq!(blocks(&mut conn).await, all);
    sqlx::raw_sql(
        "delete from dados where id in (1, 2, 5000, 6000);
         update dados set timestamp = '2026-11-23T07:00:00Z' where id = 1024;
         update dados set id = 3000 where id = 1023",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let left = [
        block(0, "02:00:00.000", "04:00:00.000"),
        block(1, "05:00:00", "07:00:00.000"),
        block(2, "02:00:00.000", "02:00:00.000"),
    ];
    assert_eq!(blocks(&mut conn).await, left);
}

#[tokio::test]
async fn runs_are_the_blocks_that_touch_the_time_and_what_is_in_no_block_yet() {
    let mut conn = database().await;
    sqlx::raw_sql(
        "insert into dados_por_tempo values (0, '2026-11-23 00', '2026-11-23 01'), (1, '2026-11-23 01', '2026-11-23 02'),
             (2, '2026-11-23 02', '2026-11-23 03'), (4, '2026-11-23 01', '2026-11-23 09'), (5, '2026-11-23 05', '2026-11-23 06')",
    )
    .execute(&mut conn)
    .await
    .unwrap();
    let between = between(Some("2026-11-23 01:30:00"), Some("2026-11-23 02:30:00"));
    let span = |low, high| Span { low, high };
    let mut runs = async |order: Order, whole: Span| {
        let (mut rest, mut runs) = (whole, Vec::new());
        while let Some(run) = next_run(&mut conn, &between, order, rest, 6_000).await.unwrap() {
            rest = order.after(rest, order.last(run));
            runs.push(run);
        }
        runs
    };
    // What no block has may be read along; it has no time.
    let [early, late, tail] = [span(1_024, 5_119), span(4_096, 5_119), span(6_001, 7_000)];
    assert_eq!(runs(Order::Ascending, span(1, 7_000)).await, [early, tail]);
    assert_eq!(runs(Order::Descending, span(1, 7_000)).await, [tail, early]);
    assert_eq!(runs(Order::Ascending, span(4_000, 6_000)).await, [late]);
    assert_eq!(runs(Order::Descending, span(2_000, 5_000)).await, [span(2_000, 5_000)]);
    assert_eq!(runs(Order::Ascending, span(5_120, 6_000)).await, []);
    assert_eq!(runs(Order::Descending, span(1, 1_023)).await, []);
}

#[tokio::test]
async fn blocks_are_read_in_order_and_nothing_is_sorted() {
    let mut conn = database().await;
    for (order, touches) in [(Order::Ascending, true), (Order::Descending, false)] {
        let sql = format!("explain query plan {}", find_text(order, touches));
        let query = sqlx::query(AssertSqlSafe(sql)).bind(1).bind(2).bind("a").bind("b");
        let plan: Vec<String> = query.fetch_all(&mut conn).await.unwrap().iter().map(|row| row.get("detail")).collect();
        assert_eq!(plan, ["SEARCH dados_por_tempo USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]);
    }
}
