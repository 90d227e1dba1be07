//! A transaction that does not wait for the disk: for tables that can be made anew from `dados`.

use sqlx::{Connection as _, SqliteConnection};

/// Runs the work in a transaction of its own. What a power cut takes of it is whole transactions, the cursors with them,
/// and the sync of the next batch takes this along. On an error the connection must be closed: nothing of it is done
/// then, and the setting ends with the connection.
pub(super) async fn unsynced<T>(
    conn: &mut SqliteConnection,
    work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut tx = conn.begin_with("pragma synchronous = normal; begin immediate").await?;
    let done = work(&mut tx).await?;
    tx.commit().await?;
    sqlx::query("pragma synchronous = full").execute(conn).await?;
    Ok(done)
}
