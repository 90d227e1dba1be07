//! Whether a write would be taken now: asked by doing one and taking it back.

use std::sync::Arc;

use dados::Timestamp;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use uuid::Uuid;

use super::room::check_room;
use super::sequence::Known;
use super::write::{Writer, store_all};
use super::{store_error, write_error};
use crate::store::{Batch, Key, Origin, Row, Sender, StoreError};

impl Writer {
    /// Stores a row of each origin and takes them back, then commits a page: so it fails where a write would, by a trigger
    /// or by a disk that takes none.
    pub(crate) async fn probe(&mut self) -> Result<(), StoreError> {
        let mut session = self.take().await?;
        let result = probe(&mut session.conn, Timestamp::now()).await;
        self.settle(session, result).await.map_err(write_error)
    }

    /// Fails if the disk has no room for a large batch.
    pub(crate) async fn check_room(&self) -> Result<(), StoreError> {
        check_room(self.options.get_filename()).await.map_err(|error| store_error(error.into()))
    }
}

async fn probe(conn: &mut SqliteConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    let batches = batches(now);
    let mut tx = conn.begin_with("begin immediate").await?;
    store_all(&mut tx, &mut Known::default(), &batches.iter().collect::<Vec<_>>(), now).await?;
    tx.rollback().await?;
    let mut tx = conn.begin_with("begin immediate").await?;
    // The one write that leaves no trace in a table: the first page again, with the value that it has.
    let version: i32 = sqlx::query_scalar("pragma user_version").fetch_one(&mut *tx).await?;
    sqlx::query(AssertSqlSafe(format!("pragma user_version = {version}"))).execute(&mut *tx).await?;
    tx.commit().await
}

/// One of each origin, of a producer and a key that nobody has.
fn batches(now: Timestamp) -> [Batch; 3] {
    let row = Row {
        valor: Arc::from("ponte: readiness probe"),
        timestamp: now.to_sql().into(),
        topico: None,
        qos: None,
        retido: None,
        dup: None,
        formato: None,
        hora_corrigida: None,
    };
    let (uuid, key, sender) = (Uuid::new_v4(), Uuid::new_v4().to_string(), Sender::default());
    let key = Key { key, fingerprint: [0; 32], sender: sender.clone(), route: "GET /readyz" };
    let origins = [Origin::Unmarked, Origin::Producer { uuid, first_sequence: 1, sender }, Origin::Key(key)];
    origins.map(|origin| Batch { rows: vec![row.clone()], origin })
}
