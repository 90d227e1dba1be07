//! The one connection that writes: batches in a transaction, each told from its own repetition, and reports.

use dados::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::insert::{Sent, insert};
use super::lock::OwnerLock;
use super::room::check_room;
use super::{producers, store_error};
use crate::store::{Batch, Kept, Origin, Outcome, Report, Row, StoreError};

/// How long a key is remembered at least.
const KEY_LIFE_MS: i64 = 24 * 3_600_000;

/// The one connection that writes. After a failed transaction it is closed and opened again, since nobody can say
/// what state an I/O error left it in.
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    conn: Option<SqliteConnection>,
    _lock: OwnerLock,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions, conn: SqliteConnection, lock: OwnerLock) -> Self {
        Self { options, conn: Some(conn), _lock: lock }
    }

    /// Stores all batches in one transaction, durable on return; on an error nothing of it is stored.
    pub(crate) async fn write(&mut self, batches: &[&Batch], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let result = async {
            let mut tx = self.connection().await?.begin_with("begin immediate").await?;
            let mut outcomes = Vec::with_capacity(batches.len());
            let unmarked = |batch: &Batch| matches!(batch.origin, Origin::Unmarked);
            for run in batches.chunk_by(|a, b| unmarked(a) && unmarked(b)) {
                match &run[0].origin {
                    Origin::Unmarked => store_unmarked(&mut tx, run, &mut outcomes).await?,
                    Origin::Producer { uuid, first_sequence } => {
                        let uuid = uuid.to_string();
                        outcomes.push(store_sequence(&mut tx, run[0], uuid, *first_sequence, now).await?);
                    }
                    Origin::Key { key, fingerprint } => {
                        outcomes.push(store_once(&mut tx, run[0], key, fingerprint, now).await?);
                    }
                }
            }
            tx.commit().await?;
            Ok(outcomes)
        };
        let result = result.await;
        self.settle(result).await
    }

    /// Takes all reports in one transaction, durable on return; gives what is kept of each producer then.
    pub(crate) async fn report(&mut self, reports: &[Report], now: Timestamp) -> Result<Vec<Kept>, StoreError> {
        let result = async {
            let mut tx = self.connection().await?.begin_with("begin immediate").await?;
            let mut kept = Vec::with_capacity(reports.len());
            for report in reports {
                kept.push(producers::report(&mut tx, report, now).await?);
            }
            tx.commit().await?;
            Ok(kept)
        };
        let result = result.await;
        self.settle(result).await
    }

    /// Commits a page of its own, to see whether the disk takes writes, and whether it has room for more.
    pub(crate) async fn probe(&mut self) -> Result<(), StoreError> {
        let result = async {
            check_room(self.options.get_filename()).await?;
            let mut tx = self.connection().await?.begin_with("begin immediate").await?;
            // The one write that leaves no trace in a table: the first page again, with the value it has by default.
            sqlx::query("pragma user_version = 0").execute(&mut *tx).await?;
            tx.commit().await
        };
        let result = result.await;
        self.settle(result).await
    }

    /// Moves the log into the database and closes it.
    pub(crate) async fn close(mut self) -> Result<(), StoreError> {
        let Some(mut conn) = self.conn.take() else { return Ok(()) };
        let result = async {
            sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut conn).await?;
            conn.close().await
        };
        result.await.map_err(store_error)
    }

    async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => self.options.connect().await?,
        };
        Ok(self.conn.insert(conn))
    }

    async fn settle<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StoreError> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                // Closing rolls back; that it fails too is no news.
                if let Some(conn) = self.conn.take() {
                    let _ = conn.close().await;
                }
                Err(store_error(error))
            }
        }
    }
}

/// Many small requests become one statement.
async fn store_unmarked(
    conn: &mut SqliteConnection,
    run: &[&Batch],
    outcomes: &mut Vec<Outcome>,
) -> Result<(), sqlx::Error> {
    let rows: Vec<&Row> = run.iter().flat_map(|batch| &batch.rows).collect();
    let mut first_id = insert(conn, &rows, None).await?;
    for batch in run {
        let inserted = batch.rows.len() as u64;
        outcomes.push(Outcome::Stored { first_id, inserted, duplicates: 0 });
        first_id += batch.rows.len() as i64;
    }
    Ok(())
}

/// Stores the rows above the producer's watermark and moves it. A gap is the producer's business: it quarantines.
async fn store_sequence(
    conn: &mut SqliteConnection,
    batch: &Batch,
    uuid: String,
    first_sequence: i64,
    now: Timestamp,
) -> Result<Outcome, sqlx::Error> {
    let upsert = "insert into produtores (uuid, criado_em, visto_em) values (?1, ?2, ?2)
                  on conflict (uuid) do update set visto_em = excluded.visto_em
                  returning id, ultima_sequencia";
    let (producer_id, last): (i64, i64) =
        sqlx::query_as(upsert).bind(uuid).bind(now.to_sql()).fetch_one(&mut *conn).await?;
    let count = batch.rows.len() as i64;
    let duplicates = (last - first_sequence + 1).clamp(0, count);
    let rows: Vec<&Row> = batch.rows.iter().skip(duplicates as usize).collect();
    let outcome = |first_id| Outcome::Stored { first_id, inserted: rows.len() as u64, duplicates: duplicates as u64 };
    if rows.is_empty() {
        return Ok(outcome(0));
    }
    let sent = Sent { producer_id, first_sequence: first_sequence + duplicates };
    let first_id = insert(&mut *conn, &rows, Some(sent)).await?;
    sqlx::query("update produtores set ultima_sequencia = ?, armazenadas = armazenadas + ? where id = ?")
        .bind(first_sequence + count - 1)
        .bind(rows.len() as i64)
        .bind(producer_id)
        .execute(conn)
        .await?;
    Ok(outcome(first_id))
}

/// Stores the batch unless its key was used before.
async fn store_once(
    conn: &mut SqliteConnection,
    batch: &Batch,
    key: &str,
    fingerprint: &[u8],
    now: Timestamp,
) -> Result<Outcome, sqlx::Error> {
    let oldest = Timestamp::from_ms(now.as_ms() - KEY_LIFE_MS).unwrap_or(now).to_sql();
    // A small step at every new key keeps up with any rate of keys.
    sqlx::query(
        "delete from idempotencia where id in (select id from idempotencia order by id limit 16) and criado_em < ?",
    )
    .bind(&oldest)
    .execute(&mut *conn)
    .await?;
    let used: Option<(Vec<u8>, i64, i64)> =
        sqlx::query_as("select impressao, primeiro_id, inseridos from idempotencia where chave = ? and criado_em >= ?")
            .bind(key)
            .bind(&oldest)
            .fetch_optional(&mut *conn)
            .await?;
    match used {
        Some((used_for, first_id, inserted)) if used_for == fingerprint => {
            return Ok(Outcome::Replayed { first_id, inserted: inserted as u64 });
        }
        Some(_) => return Ok(Outcome::KeyReused),
        None => {}
    }
    let rows: Vec<&Row> = batch.rows.iter().collect();
    let first_id = insert(&mut *conn, &rows, None).await?;
    sqlx::query(
        "insert or replace into idempotencia (chave, impressao, primeiro_id, inseridos, criado_em) values (?, ?, ?, ?, ?)",
    )
    .bind(key)
    .bind(fingerprint)
    .bind(first_id)
    .bind(rows.len() as i64)
    .bind(now.to_sql())
    .execute(conn)
    .await?;
    Ok(Outcome::Stored { first_id, inserted: rows.len() as u64, duplicates: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::connect;
    use std::sync::Arc;

    fn batch(valor: &str, origin: Origin) -> Batch {
        let row = Row {
            valor: valor.into(),
            timestamp: Arc::from("2026-11-23 03:21:45.678"),
            topico: None,
            qos: None,
            retido: None,
            dup: None,
            formato: None,
        };
        Batch { rows: vec![row; 3], origin }
    }

    fn key(fingerprint: u8) -> Origin {
        Origin::Key { key: "k".to_owned(), fingerprint: [fingerprint; 32] }
    }

    async fn open(dir: &tempfile::TempDir) -> Writer {
        connect(&format!("sqlite:{}/dados.db", dir.path().display()), 1).await.unwrap().0
    }

    #[tokio::test]
    async fn every_batch_of_a_transaction_learns_its_own_ids() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(&dir).await;
        let uuid = uuid::Uuid::from_u128(1);
        let batches = [
            batch("a", Origin::Unmarked),
            batch("b", Origin::Unmarked),
            batch("c", Origin::Producer { uuid, first_sequence: 1 }),
            batch("c", Origin::Producer { uuid, first_sequence: 3 }),
            batch("d", Origin::Unmarked),
        ];
        let outcomes = writer.write(&batches.each_ref(), Timestamp::now()).await.unwrap();
        let stored = |first_id, inserted| Outcome::Stored { first_id, inserted, duplicates: 3 - inserted };
        assert_eq!(outcomes, [stored(1, 3), stored(4, 3), stored(7, 3), stored(10, 2), stored(12, 3)]);
    }

    #[tokio::test]
    async fn a_key_is_forgotten_after_its_life() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(&dir).await;
        let mut write = async |origin, ms| {
            let now = Timestamp::from_ms(ms).unwrap();
            writer.write(&[&batch("a", origin)], now).await.unwrap()[0]
        };
        assert_eq!(write(key(1), 0).await, Outcome::Stored { first_id: 1, inserted: 3, duplicates: 0 });
        assert_eq!(write(key(1), KEY_LIFE_MS).await, Outcome::Replayed { first_id: 1, inserted: 3 });
        assert_eq!(write(key(2), KEY_LIFE_MS).await, Outcome::KeyReused);
        let later = write(key(2), KEY_LIFE_MS + 1).await;
        assert_eq!(later, Outcome::Stored { first_id: 4, inserted: 3, duplicates: 0 });
    }

    #[tokio::test]
    async fn after_an_error_the_writer_works_again_and_nothing_was_stored() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = open(&dir).await;
        sqlx::raw_sql("create temp trigger refuse before insert on dados begin select raise(abort, 'no'); end")
            .execute(writer.connection().await.unwrap())
            .await
            .unwrap();
        let one = batch("a", Origin::Unmarked);
        assert!(matches!(writer.write(&[&one], Timestamp::now()).await, Err(StoreError::Unexpected(_))));
        writer.probe().await.unwrap();
        let outcomes = writer.write(&[&one], Timestamp::now()).await.unwrap();
        assert_eq!(outcomes, [Outcome::Stored { first_id: 1, inserted: 3, duplicates: 0 }]);
        writer.close().await.unwrap();
    }
}
