//! A transaction that does not wait for the disk: for tables that can be made anew from `dados`.

use sqlx::{Connection as _, SqliteConnection};

use super::write::Writer;
use crate::store::StoreError;

/// What begins such a transaction, and what ends it.
pub(super) const BEGIN: &str = "pragma synchronous = normal; begin immediate";
pub(super) const END: &str = "commit; pragma synchronous = full";

impl Writer {
    /// Has the work done in a transaction of its own that does not wait for the disk; on an error nothing has changed.
    pub(super) async fn unsynced<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let mut session = self.take().await?;
        let result = unsynced(&mut session.conn, work).await;
        self.settle(session, result).await
    }
}

/// Runs the work in a transaction of its own. What a power cut takes of it is whole transactions, the cursors with them,
/// and the sync of the next batch takes this along. On an error the connection must be closed: nothing of it is done
/// then, and the setting ends with the connection.
pub(super) async fn unsynced<T>(
    conn: &mut SqliteConnection,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut tx = conn.begin_with(BEGIN).await?;
    let done = work(&mut tx).await?;
    tx.commit().await?;
    sqlx::query("pragma synchronous = full").execute(conn).await?;
    Ok(done)
}
