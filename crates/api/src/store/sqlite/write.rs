//! The one connection that writes: batches in a transaction, each told from its own repetition, and reports.

use dados::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::insert::{Within, insert};
use super::key;
use super::lock::OwnerLock;
use super::room::check_room;
use super::sequence::{self, Known, Sequenced};
use super::{producers, store_error};
use crate::store::{Batch, Denial, Kept, Origin, Outcome, Report, Row, Sender, StoreError};

/// The one connection that writes. After a failed transaction it is closed and opened again, since nobody can say
/// what state an I/O error left it in.
pub(crate) struct Writer {
    pub(super) options: SqliteConnectOptions,
    /// Away while it is at work, so that work that is given up half-way ends the connection too, which rolls back.
    session: Option<Session>,
    _lock: OwnerLock,
}

/// A connection, and what is known as long as it lives.
pub(super) struct Session {
    pub(super) conn: SqliteConnection,
    known: Known,
}

impl Writer {
    pub(super) fn new(options: SqliteConnectOptions, conn: SqliteConnection, lock: OwnerLock) -> Self {
        Self { options, session: Some(Session { conn, known: Known::default() }), _lock: lock }
    }

    /// Stores all batches in one transaction, durable on return; on an error nothing of it is stored.
    pub(crate) async fn write(&mut self, batches: &[&Batch], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let mut session = self.take().await?;
        let result = session.write(batches, now).await;
        self.settle(session, result).await
    }

    /// Takes all reports in one transaction, durable on return; gives what is kept of each producer then, or why its
    /// sender may not report as that one.
    pub(crate) async fn report(
        &mut self,
        reports: &[(Report, Sender)],
        now: Timestamp,
    ) -> Result<Vec<Result<Kept, Denial>>, StoreError> {
        let mut session = self.take().await?;
        let result = session.report(reports, now).await;
        self.settle(session, result).await
    }

    /// Commits a page of its own, to see whether the disk takes writes, and whether it has room for more.
    pub(crate) async fn probe(&mut self) -> Result<(), StoreError> {
        check_room(self.options.get_filename()).await.map_err(|error| store_error(error.into()))?;
        let mut session = self.take().await?;
        let result = session.probe().await;
        self.settle(session, result).await
    }

    /// Moves the log into the database and closes it.
    pub(crate) async fn close(mut self) -> Result<(), StoreError> {
        let Some(Session { mut conn, .. }) = self.session.take() else { return Ok(()) };
        let result = async {
            sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut conn).await?;
            conn.close().await
        };
        result.await.map_err(store_error)
    }

    #[cfg(test)]
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        let session = self.take().await?;
        Ok(&mut self.session.insert(session).conn)
    }

    pub(super) async fn take(&mut self) -> Result<Session, StoreError> {
        match self.session.take() {
            Some(session) => Ok(session),
            None => {
                let conn = self.options.connect().await.map_err(store_error)?;
                Ok(Session { conn, known: Known::default() })
            }
        }
    }

    pub(super) async fn settle<T>(
        &mut self,
        session: Session,
        result: Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        match result {
            Ok(value) => {
                self.session = Some(session);
                Ok(value)
            }
            Err(error) => {
                // Closing rolls back; that it fails too is no news.
                let _ = session.conn.close().await;
                Err(store_error(error))
            }
        }
    }
}

impl Session {
    async fn write(&mut self, batches: &[&Batch], now: Timestamp) -> Result<Vec<Outcome>, sqlx::Error> {
        if let Some(outcomes) = self.write_at_once(batches, now).await? {
            return Ok(outcomes);
        }
        let Self { conn, known } = self;
        let mut tx = conn.begin_with("begin immediate").await?;
        let mut outcomes = Vec::with_capacity(batches.len());
        for run in batches.chunk_by(|a, b| is_unmarked(a) && is_unmarked(b)) {
            match &run[0].origin {
                Origin::Unmarked => outcomes.extend(store_unmarked(&mut tx, run, Within::Open).await?),
                Origin::Producer { uuid, first_sequence, sender } => {
                    let sent = Sequenced { batch: run[0], uuid: *uuid, first_sequence: *first_sequence, sender };
                    outcomes.push(sequence::store(&mut tx, known, sent, now).await?);
                }
                Origin::Key(key) => outcomes.push(key::store(&mut tx, (run[0], key), now).await?),
            }
        }
        tx.commit().await?;
        Ok(outcomes)
    }

    /// What is common costs no round trip to the connection's thread for its transaction, since two wake-ups cost more
    /// than many rows: requests that nothing is to be known of, and a batch of a producer that is known.
    async fn write_at_once(&mut self, batches: &[&Batch], now: Timestamp) -> Result<Option<Vec<Outcome>>, sqlx::Error> {
        let Self { conn, known } = self;
        if let [batch] = batches
            && let Origin::Producer { uuid, first_sequence, sender } = &batch.origin
        {
            let sent = Sequenced { batch, uuid: *uuid, first_sequence: *first_sequence, sender };
            let outcome = sequence::store_alone(conn, known, sent, now).await?;
            return Ok(outcome.map(|outcome| vec![outcome]));
        }
        if batches.iter().all(|batch| is_unmarked(batch)) {
            return store_unmarked(conn, batches, Within::Own).await.map(Some);
        }
        Ok(None)
    }

    async fn report(
        &mut self,
        reports: &[(Report, Sender)],
        now: Timestamp,
    ) -> Result<Vec<Result<Kept, Denial>>, sqlx::Error> {
        let Self { conn, known } = self;
        let mut tx = conn.begin_with("begin immediate").await?;
        let mut kept = Vec::with_capacity(reports.len());
        for report in reports {
            kept.push(producers::report(&mut tx, report, now).await?);
            known.forget(report.0.uuid);
        }
        tx.commit().await?;
        Ok(kept)
    }

    async fn probe(&mut self) -> Result<(), sqlx::Error> {
        let mut tx = self.conn.begin_with("begin immediate").await?;
        // The one write that leaves no trace in a table: the first page again, with the value it has by default.
        sqlx::query("pragma user_version = 0").execute(&mut *tx).await?;
        tx.commit().await
    }
}

fn is_unmarked(batch: &Batch) -> bool {
    matches!(batch.origin, Origin::Unmarked)
}

/// Many small requests become one statement.
async fn store_unmarked(
    conn: &mut SqliteConnection,
    run: &[&Batch],
    within: Within,
) -> Result<Vec<Outcome>, sqlx::Error> {
    let rows: Vec<&Row> = run.iter().flat_map(|batch| &batch.rows).collect();
    let mut next_id = insert(conn, &rows, None, within).await?;
    let outcomes = run.iter().map(|batch| {
        let first_id = next_id;
        next_id += batch.rows.len() as i64;
        Outcome::Stored { first_id, inserted: batch.rows.len() as u64, duplicates: 0 }
    });
    Ok(outcomes.collect())
}

#[cfg(test)]
mod tests;
