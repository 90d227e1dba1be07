//! Steps of any length are whole, go from where the cursor is, and leave the next commit to wait for the disk.

use tempfile::TempDir;

use super::*;
use crate::store::{Reader, StoreError, Writer, connect};

const FULL: i64 = 2;

/// A message with so many fields, each with a roll-up of its own.
fn step(from: i64, fields: usize) -> Step {
    let to = from + 1;
    let topico: Arc<str> = "casa".into();
    let timestamp: Arc<str> = "2026-11-23 03:21:45.678".into();
    let reading = |number: usize| Reading {
        topico: topico.clone(),
        campo: format!("c{number:05}").into(),
        timestamp: timestamp.clone(),
        dado_id: to,
        numero: Some(number as f64),
        texto: None,
        capturado: None,
    };
    let roll_up = |number: usize| RollUp {
        topico: topico.clone(),
        campo: format!("c{number:05}").into(),
        inicio: "2026-11-23 03:21:00".into(),
        n: 1,
        soma: number as f64,
        minimo: number as f64,
        maximo: number as f64,
    };
    let topic = TopicNews {
        topico: topico.clone(),
        ultimo_id: to,
        ultimo_valor: "{}".into(),
        ultimo_numero: None,
        ultimo_timestamp: timestamp.clone(),
        mensagens: 1,
        desvio_ms: None,
        sem_hora: 0,
    };
    Step {
        from: Position::whole(from),
        to: Position::whole(to),
        ahead_from: "2026-11-23 03:26:45.679".into(),
        readings: (0..fields).map(reading).collect(),
        topics: vec![topic],
        fields: (0..fields).map(|number| FieldNews { newest: reading(number), leituras: 1, since: None }).collect(),
        minutes: (0..fields).map(roll_up).collect(),
        hours: (0..fields.min(3)).map(roll_up).collect(),
    }
}

/// The reader keeps the log where it is when the writer opens its connection anew.
async fn open() -> ((TempDir, Reader), Writer) {
    let dir = tempfile::tempdir().unwrap();
    let (writer, reader) = connect(&format!("sqlite:{}/dados.db", dir.path().display()), 1).await.unwrap();
    ((dir, reader), writer)
}

async fn number(writer: &mut Writer, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(writer.connection().await.unwrap()).await.unwrap()
}

/// Rows of each table, and what is counted in them.
async fn counts(writer: &mut Writer) -> [i64; 6] {
    [
        number(writer, "select count(*) from leituras").await,
        number(writer, "select mensagens from topicos").await,
        number(writer, "select count(*) from campos").await,
        number(writer, "select sum(leituras) from campos").await,
        number(writer, "select sum(n) from leituras_minuto").await,
        number(writer, "select sum(n) from leituras_hora").await,
    ]
}

#[tokio::test]
async fn a_step_of_any_length_is_whole() {
    let (_dir, mut writer) = open().await;
    let (mut from, mut rows, mut most, mut hours) = (0, 0, 0, 0);
    // On both sides of each room, and beyond what a text takes.
    let lengths = ROOMS.into_iter().flat_map(|room| [room, room + 1]).chain([3 * ROWS_MAX, 3 * ROWS_MAX + 7]);
    for fields in lengths {
        writer.project(&step(from, fields), Generation::Current).await.unwrap();
        from += 1;
        (rows, most, hours) = (rows + fields, most.max(fields), hours + fields.min(3));
        let expected = [rows, from as usize, most, rows, rows, hours].map(|count| count as i64);
        assert_eq!(counts(&mut writer).await, expected, "{fields} fields");
    }
}

#[tokio::test]
async fn a_step_from_elsewhere_changes_nothing() {
    let (_dir, mut writer) = open().await;
    writer.project(&step(0, 5), Generation::Current).await.unwrap();
    let before = counts(&mut writer).await;
    for from in [0, 2] {
        // In one text, and in several.
        for fields in [1, 2 * ROWS_MAX] {
            let refused = writer.project(&step(from, fields), Generation::Current).await;
            assert!(matches!(refused, Err(StoreError::Unexpected(_))), "{refused:?}");
            assert_eq!(counts(&mut writer).await, before);
        }
    }
    let conn = writer.connection().await.unwrap();
    sqlx::query("delete from projecoes where nome = 'leituras'").execute(conn).await.unwrap();
    writer.project(&step(1, 1), Generation::Current).await.unwrap_err();
    assert_eq!(counts(&mut writer).await, before);
}

#[tokio::test]
async fn what_comes_after_a_step_waits_for_the_disk() {
    let (_dir, mut writer) = open().await;
    // The second and third time the text is prepared already.
    for from in 0..3 {
        writer.project(&step(from, 5), Generation::Current).await.unwrap();
        assert_eq!(number(&mut writer, "pragma synchronous").await, FULL);
    }
    writer.project(&step(0, 5), Generation::Current).await.unwrap_err();
    assert_eq!(number(&mut writer, "pragma synchronous").await, FULL);
}

/// What the tables show as newest, after steps whose message has this time each.
async fn newest_after(times: &[&str]) -> (i64, i64, String, String) {
    let (_dir, mut writer) = open().await;
    for (from, time) in (0..).zip(times) {
        let mut step = step(from, 1);
        step.topics[0].ultimo_timestamp = Arc::from(*time);
        step.fields[0].newest.timestamp = Arc::from(*time);
        writer.project(&step, Generation::Current).await.unwrap();
    }
    let sql = "select topicos.ultimo_id, campos.ultimo_id, topicos.ultimo_timestamp, campos.ultimo_timestamp
               from topicos join campos using (topico)";
    sqlx::query_as(sql).fetch_one(writer.connection().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_time_ahead_of_our_clock_is_the_newest_only_until_another_arrives() {
    let (now, late, limit) = ("2026-11-23 03:21:45.678", "2026-11-20 00:00:00.000", "2026-11-23 03:26:45.678");
    let (beyond, future, further) = ("2026-11-23 03:26:45.679", "2026-11-23 03:30:00.000", "2100-01-01 00:00:00.000");
    for (times, newest_id) in [
        (&[now, now][..], 2),
        (&[now, late], 2),
        (&[now, limit], 2),
        (&[now, beyond], 1),
        (&[now, future], 1),
        (&[now, further], 1),
        (&[further, now], 2),
        (&[further, late], 2),
        (&[further, now, further, late, further], 4),
        (&[further, future, further], 3),
    ] {
        let time = times[newest_id as usize - 1].to_owned();
        assert_eq!(newest_after(times).await, (newest_id, newest_id, time.clone(), time), "{times:?}");
    }
}
