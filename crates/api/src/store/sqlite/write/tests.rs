//! The writer on a database of its own: ids, watermarks, keys, and what an error leaves behind.

use super::*;
use crate::store::sqlite::key::KEY_LIFE_MS;
use crate::store::{Key, Reader, connect};
use futures_util::FutureExt as _;
use sqlx::AssertSqlSafe;
use std::sync::Arc;
use uuid::Uuid;

const SENDER: Uuid = Uuid::from_u128(1);
/// The row that [`Refusal`] is about.
const BAD: &str = "bad";

fn row(valor: &str) -> Row {
    Row {
        valor: valor.into(),
        timestamp: Arc::from("2026-11-23 03:21:45.678"),
        topico: None,
        qos: None,
        retido: None,
        dup: None,
        formato: None,
        hora_corrigida: None,
    }
}

fn batch(valor: &str, origin: Origin) -> Batch {
    Batch { rows: vec![row(valor); 3], origin }
}

fn sent(first_sequence: i64) -> Origin {
    Origin::Producer { uuid: SENDER, first_sequence, sender: Sender::default() }
}

fn key(fingerprint: u8) -> Origin {
    let (key, sender) = ("k".to_owned(), Sender::default());
    Origin::Key(Key { key, fingerprint: [fingerprint; 32], sender, route: "POST /dados" })
}

fn stored(first_id: i64, inserted: u64) -> Outcome {
    Outcome::Stored { first_id, inserted, duplicates: 0 }
}

async fn open(dir: &tempfile::TempDir) -> (Writer, Reader) {
    connect(&format!("sqlite:{}/dados.db", dir.path().display()), 1).await.unwrap()
}

async fn write(writer: &mut Writer, batches: &[Batch]) -> Result<Vec<Outcome>, StoreError> {
    writer.write(&batches.iter().collect::<Vec<_>>(), Timestamp::now()).await
}

async fn run(writer: &mut Writer, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut writer.session.as_mut().unwrap().conn).await.unwrap();
}

/// Rows, rows of the sender, its watermark, and its count of rows.
async fn counts(reader: &Reader) -> (i64, i64, i64, i64) {
    let sql = "select count(*), count(produtor_id), (select total(ultima_sequencia) from produtores),
               (select total(armazenadas) from produtores) from dados";
    let (rows, sent, last, stored): (i64, i64, f64, f64) = sqlx::query_as(sql).fetch_one(&reader.pool).await.unwrap();
    (rows, sent, last as i64, stored as i64)
}

#[tokio::test]
async fn every_batch_of_a_transaction_learns_its_own_ids() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader) = open(&dir).await;
    // The second time, the sender is known.
    for (id, sequence) in [(0, 1), (14, 6)] {
        let batches = [
            batch("a", Origin::Unmarked),
            batch("b", Origin::Unmarked),
            batch("c", sent(sequence)),
            batch("c", sent(sequence + 2)),
            batch("d", Origin::Unmarked),
        ];
        let outcomes = write(&mut writer, &batches).await.unwrap();
        let overlapping = Outcome::Stored { first_id: id + 10, inserted: 2, duplicates: 1 };
        let expected = [stored(id + 1, 3), stored(id + 4, 3), stored(id + 7, 3), overlapping, stored(id + 12, 3)];
        assert_eq!(outcomes, expected);
    }
}

#[tokio::test]
async fn rows_of_every_size_of_batch_follow_each_other() {
    for is_sent in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader) = open(&dir).await;
        run(&mut writer, "pragma synchronous = off".to_owned()).await;
        let mut next: i64 = 1;
        for size in (1..=130).chain((131..=1100).step_by(37)).chain([255, 256, 257, 511, 512, 513, 576, 1025, 1100]) {
            let rows = (next..next + size).map(|id| row(&id.to_string())).collect();
            let origin = if is_sent { sent(next) } else { Origin::Unmarked };
            let outcomes = write(&mut writer, &[Batch { rows, origin }]).await.unwrap();
            assert_eq!(outcomes, [stored(next, size as u64)], "{size} rows");
            next += size;
        }
        let sql = "select count(*) from dados
                   where cast(valor as integer) <> id or typeof(valor) <> 'text' or sequencia is not iif(?, id, null)";
        let wrong: i64 = sqlx::query_scalar(sql).bind(is_sent).fetch_one(&reader.pool).await.unwrap();
        assert_eq!(wrong, 0, "rows are not where they belong");
        let sent = if is_sent { next - 1 } else { 0 };
        assert_eq!(counts(&reader).await, (next - 1, sent, sent, sent));
    }
}

#[tokio::test]
async fn a_key_is_forgotten_after_its_life() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, _reader) = open(&dir).await;
    let mut write = async |origin, ms| {
        let now = Timestamp::from_ms(ms).unwrap();
        writer.write(&[&batch("a", origin)], now).await.unwrap()[0]
    };
    assert_eq!(write(key(1), 0).await, stored(1, 3));
    assert_eq!(write(key(1), KEY_LIFE_MS).await, Outcome::Replayed { first_id: 1, inserted: 3 });
    assert_eq!(write(key(2), KEY_LIFE_MS).await, Outcome::KeyReused);
    assert_eq!(write(key(2), KEY_LIFE_MS + 1).await, stored(4, 3));
}

/// When a group with a bad row fails: halfway through its rows, or as late as at the commit.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    AtTheRow,
    AtTheCommit,
}

impl Refusal {
    /// Lasts as long as the writer keeps its connection.
    async fn set_up(self, writer: &mut Writer) {
        let action = match self {
            Self::AtTheRow => "select raise(abort, 'no')",
            Self::AtTheCommit => "insert into child values (1)",
        };
        let sql = format!(
            "create temp table parent (id integer primary key);
             create temp table child (id integer references parent deferrable initially deferred);
             create temp trigger refuse before insert on dados when new.valor = '{BAD}' begin {action}; end"
        );
        run(writer, sql).await;
    }
}

/// So many rows, of which the one in the middle is bad.
fn bad(rows: usize, origin: Origin) -> Batch {
    let mut rows = vec![row("a"); rows];
    let middle = rows.len() / 2;
    rows[middle] = row(BAD);
    Batch { rows, origin }
}

#[tokio::test]
async fn after_an_error_the_writer_works_again_and_nothing_was_stored() {
    for refusal in [Refusal::AtTheRow, Refusal::AtTheCommit] {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, reader) = open(&dir).await;
        let groups = |next: i64| {
            [
                vec![bad(1, Origin::Unmarked)],
                vec![bad(30, Origin::Unmarked)],
                vec![batch("a", Origin::Unmarked), bad(2, Origin::Unmarked), batch("a", Origin::Unmarked)],
                vec![bad(700, Origin::Unmarked)],
                vec![bad(1, sent(next))],
                vec![bad(40, sent(next - 2))],
                vec![bad(700, sent(next))],
                vec![batch("a", Origin::Unmarked), batch("a", sent(next)), bad(3, sent(next + 3))],
                vec![batch("a", sent(next)), bad(3, key(1))],
            ]
        };
        for at in 0..groups(1).len() {
            // The sender is known, and its watermark is even.
            let next = counts(&reader).await.2 + 1;
            write(&mut writer, &[batch("a", sent(next))]).await.unwrap();
            let group = &groups(next + 3)[at];
            let before = counts(&reader).await;
            refusal.set_up(&mut writer).await;
            let result = write(&mut writer, group).await;
            assert!(matches!(result, Err(StoreError::Refused(_))), "{refusal:?}, group {at}: {result:?}");
            assert_eq!(counts(&reader).await, before, "{refusal:?}, group {at}");
            writer.probe().await.unwrap();

            let outcomes = write(&mut writer, group).await.unwrap();
            let inserted = |outcome: &Outcome| match outcome {
                Outcome::Stored { inserted, .. } => *inserted as i64,
                other => panic!("{other:?}"),
            };
            let after = counts(&reader).await;
            assert_eq!(after.0, before.0 + outcomes.iter().map(inserted).sum::<i64>(), "{refusal:?}, group {at}");
            assert_eq!((after.1, after.3), (after.2, after.2), "{refusal:?}, group {at}");
        }
        writer.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_repetition_is_told_by_what_is_known_and_by_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let steps = [(1, 3, 0), (1, 0, 3), (3, 2, 1), (6, 3, 0), (4, 0, 3), (7, 1, 2)];
    let mut offset = 0;
    for reopen in ["not at all", "the connection", "the database"] {
        let (mut writer, reader) = open(&dir).await;
        for (first_sequence, inserted, duplicates) in steps {
            let outcomes = write(&mut writer, &[batch("a", sent(offset + first_sequence))]).await.unwrap();
            let Outcome::Stored { inserted: i, duplicates: d, .. } = outcomes[0] else { panic!("{outcomes:?}") };
            assert_eq!((i, d), (inserted, duplicates), "from {first_sequence} on; reopened: {reopen}");
            match reopen {
                "the connection" => {
                    Refusal::AtTheRow.set_up(&mut writer).await;
                    write(&mut writer, &[bad(1, Origin::Unmarked)]).await.unwrap_err();
                }
                "the database" => {
                    writer.close().await.unwrap();
                    writer = open(&dir).await.0;
                }
                _ => {}
            }
        }
        offset += 9;
        assert_eq!(counts(&reader).await, (offset, offset, offset, offset));
        writer.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_known_is_not_taken_on_trust() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open(&dir).await;
    write(&mut writer, &[batch("a", sent(1))]).await.unwrap();
    run(&mut writer, "update produtores set ultima_sequencia = 5".to_owned()).await;
    // What follows by what is known, which is not what is stored.
    let groups = [vec![batch("a", sent(4))], vec![batch("a", Origin::Unmarked), batch("a", sent(4))]];
    for (group, next) in groups.into_iter().zip([4, 7]) {
        write(&mut writer, &[batch("a", sent(next))]).await.unwrap_err();
        assert_eq!(counts(&reader).await.0, 3);
        // The memory went with the connection.
        let outcomes = write(&mut writer, &group).await.unwrap();
        assert!(matches!(outcomes.last(), Some(Outcome::Stored { inserted: 1, duplicates: 2, .. })), "{outcomes:?}");
        run(&mut writer, "delete from dados where id > 3; update produtores set ultima_sequencia = 5".to_owned()).await;
    }
    // A ledger that somebody deleted starts over, under the key that the rows have.
    let mut writer = {
        writer.close().await.unwrap();
        open(&dir).await.0
    };
    write(&mut writer, &[batch("a", sent(6))]).await.unwrap();
    run(&mut writer, "delete from produtores".to_owned()).await;
    write(&mut writer, &[batch("a", sent(9))]).await.unwrap();
    assert_eq!(counts(&reader).await, (9, 9, 11, 3));
}

#[tokio::test]
async fn a_write_that_is_given_up_is_stored_once_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open(&dir).await;
    write(&mut writer, &[batch("a", sent(1))]).await.unwrap();
    for next in (4..40).step_by(3) {
        let group = [batch("a", sent(next))];
        let _ = write(&mut writer, &group).now_or_never();
        write(&mut writer, &group).await.unwrap();
        let stored = next + 2;
        assert_eq!(counts(&reader).await, (stored, stored, stored, stored));
    }
}
