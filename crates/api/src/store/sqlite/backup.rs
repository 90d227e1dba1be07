//! A copy of the whole database, made while others read and write.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::store_error;
use crate::store::{Location, StoreError};

/// Writes what is committed now into an empty file, and reads it back. It is one read of the database: writers go on, and
/// the log grows as long as it takes. The copy is not synced.
///
/// Gives how many messages it has, and the last one's id. On an error the file has anything.
pub(crate) async fn back_up(from: &Location, to: &Path) -> Result<(i64, i64), StoreError> {
    let copied = async {
        let mut conn = from.options.clone().read_only(true).connect().await?;
        sqlx::query("vacuum into ?").bind(to.to_string_lossy()).execute(&mut conn).await?;
        conn.close().await?;
        let mut copy = SqliteConnectOptions::new().filename(to).read_only(true).connect().await?;
        let verdict: String = sqlx::query_scalar("pragma quick_check(1)").fetch_one(&mut copy).await?;
        if verdict != "ok" {
            return Err(sqlx::Error::Io(std::io::Error::other(format!("the copy is damaged: {verdict}"))));
        }
        let counted = sqlx::query_as("select count(*), coalesce(max(id), 0) from dados").fetch_one(&mut copy).await?;
        copy.close().await?;
        Ok(counted)
    };
    copied.await.map_err(store_error)
}
