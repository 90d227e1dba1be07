//! The one connection that writes: batches in a transaction, each told from its own repetition, and reports.

use std::sync::Arc;

use dados::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::insert::{Within, insert};
use super::key;
use super::lock::OwnerLock;
use super::open_files::OpenFiles;
use super::sequence::{self, Known, Sequenced};
use super::{producers, store_error, write_error};
use crate::store::{Batch, Denial, Kept, Origin, Outcome, Report, Row, Sender, StoreError};

/// The one connection that writes. After a failed transaction it is closed and opened again, since nobody can say
/// what state an I/O error left it in.
pub(crate) struct Writer {
    pub(super) options: SqliteConnectOptions,
    /// Away while it is at work, so that work that is given up half-way ends the connection too, which rolls back.
    session: Option<Session>,
    files: Arc<OpenFiles>,
    /// Whether one of them was not at its path at the last look.
    is_misplaced: bool,
    _lock: OwnerLock,
}

/// A connection, and what is known as long as it lives.
pub(super) struct Session {
    pub(super) conn: SqliteConnection,
    known: Known,
}

impl Writer {
    pub(super) fn new(
        options: SqliteConnectOptions,
        conn: SqliteConnection,
        files: Arc<OpenFiles>,
        lock: OwnerLock,
    ) -> Self {
        let session = Some(Session { conn, known: Known::default() });
        Self { options, session, files, is_misplaced: false, _lock: lock }
    }

    /// The files that it has open.
    pub(crate) fn files(&self) -> Arc<OpenFiles> {
        self.files.clone()
    }

    /// Stores all batches in one transaction, durable on return; on an error nothing of it is stored.
    pub(crate) async fn write(&mut self, batches: &[&Batch], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let mut session = self.take().await?;
        let result = session.write(batches, now).await;
        self.settle(session, result).await.map_err(write_error)
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
        self.settle(session, result).await.map_err(write_error)
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

    /// The connection, if the files that it has open are at their paths.
    pub(super) async fn take(&mut self) -> Result<Session, StoreError> {
        self.look_at_files().await?;
        match self.session.take() {
            Some(session) => Ok(session),
            None => {
                let conn = self.options.connect().await.map_err(store_error)?;
                Ok(Session { conn, known: Known::default() })
            }
        }
    }

    /// Gives the connection back. What was committed while a file was taken away is not done: nobody may be told that it is
    /// stored, since the next start would not find it.
    pub(super) async fn settle<T>(
        &mut self,
        session: Session,
        result: Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        match result {
            Ok(value) => {
                self.session = Some(session);
                self.look_at_files().await?;
                Ok(value)
            }
            Err(error) => {
                // Closing rolls back; that it fails too is no news.
                let _ = session.conn.close().await;
                Err(store_error(error))
            }
        }
    }

    async fn look_at_files(&mut self) -> Result<(), StoreError> {
        let looked = self.files.check();
        let was_misplaced = std::mem::replace(&mut self.is_misplaced, looked.is_err());
        if looked.is_err() && !was_misplaced {
            self.empty_log().await;
        }
        looked
    }

    /// Moves what the log has into the file of the database, wherever that is now: so that file is whole, a log that was
    /// removed takes nothing along, and one that stayed does not end up in the file that has taken the place. What cannot
    /// be moved stays where it was.
    async fn empty_log(&mut self) {
        if let Some(Session { conn, .. }) = &mut self.session {
            let _ = sqlx::query("pragma wal_checkpoint(truncate)").execute(conn).await;
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
        let outcomes = store_all(&mut tx, known, batches, now).await?;
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
}

/// Stores all batches inside the open transaction.
pub(super) async fn store_all(
    tx: &mut SqliteConnection,
    known: &mut Known,
    batches: &[&Batch],
    now: Timestamp,
) -> Result<Vec<Outcome>, sqlx::Error> {
    let mut outcomes = Vec::with_capacity(batches.len());
    for run in batches.chunk_by(|a, b| is_unmarked(a) && is_unmarked(b)) {
        match &run[0].origin {
            Origin::Unmarked => outcomes.extend(store_unmarked(tx, run, Within::Open).await?),
            Origin::Producer { uuid, first_sequence, sender } => {
                let sent = Sequenced { batch: run[0], uuid: *uuid, first_sequence: *first_sequence, sender };
                outcomes.push(sequence::store(tx, known, sent, now).await?);
            }
            Origin::Key(key) => outcomes.push(key::store(tx, (run[0], key), now).await?),
        }
    }
    Ok(outcomes)
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
