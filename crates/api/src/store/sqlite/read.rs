//! The pool of read-only connections.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dados::{Dado, timestamp};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::Semaphore;

use super::open_files::OpenFiles;
use super::{beside, selection, store_error};
use crate::store::{LARGE_VALUE_BYTES, LargeValue, Page, Selection, StoreError};

/// How long a read may wait for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a read may take in all.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Rows that the driver reads ahead of us: with [`LARGE_VALUE_BYTES`] each, what a connection may hold.
const ROWS_AHEAD: usize = 16;
/// Pieces that are read of large values at the same time: SQLite has the whole value in memory for each.
const PIECES_AT_ONCE: usize = 1;

/// What `dado` reads after the id. Other programs may have written any type into any column, bytes that are no UTF-8
/// included: the casts leave nothing to chance. The length of a value is known without reading it.
pub(super) fn columns() -> String {
    format!(
        "cast(cast(topico as text) as blob),
         case when octet_length(valor) <= {LARGE_VALUE_BYTES} then cast(cast(valor as text) as blob) end,
         cast(cast(timestamp as text) as blob), cast(qos as integer), cast(retido as integer), cast(dup as integer),
         cast(cast(formato as text) as blob), octet_length(valor), cast(hora_corrigida as integer)"
    )
}

/// Reads committed rows.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(super) pool: SqlitePool,
    files: Arc<Files>,
    /// Turns to read a piece of a large value.
    pieces: Arc<Semaphore>,
}

/// Where the database is on the disk.
#[derive(Debug)]
struct Files {
    database: PathBuf,
    log: PathBuf,
}

impl Files {
    fn new(database: &Path) -> Self {
        Self { database: beside(database, ""), log: beside(database, "-wal") }
    }
}

impl Reader {
    pub(super) async fn open(
        options: SqliteConnectOptions,
        connections_max: u32,
        open_files: Arc<OpenFiles>,
    ) -> Result<Self, sqlx::Error> {
        let files = Arc::new(Files::new(options.get_filename()));
        // At least one connection stays open for the process's life: the last one to close would delete the log and
        // the shared memory, which a Metabase with a read-only mount cannot do without.
        let pool = PoolOptions::new()
            .min_connections(1)
            .max_connections(connections_max)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(move |conn, _| {
                let files = open_files.clone();
                Box::pin(async move {
                    // It opens the log only when it reads.
                    sqlx::query("select 1 from sqlite_master limit 1").fetch_optional(conn).await?;
                    // A new connection to another file would answer beside those to the former one.
                    files.check().map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))
                })
            })
            .connect_with(options.read_only(true).row_buffer_size(ROWS_AHEAD))
            .await?;
        Ok(Self { pool, files, pieces: Arc::new(Semaphore::new(PIECES_AT_ONCE)) })
    }

    /// Sizes of the database's file and of its write-ahead log.
    pub(crate) fn file_bytes(&self) -> (u64, u64) {
        let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        (bytes(&self.files.database), bytes(&self.files.log))
    }

    /// One row; without its value, where that is large.
    pub(crate) async fn get(&self, id: i64) -> Result<Option<(Dado, Option<LargeValue>)>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(format!("select id, {} from dados where id = ?", columns()))).bind(id);
        let row = bounded(query.fetch_optional(&self.pool)).await?;
        row.as_ref().map(dado).transpose().map_err(store_error)
    }

    /// Bytes of a large value from an offset on, as many as are wanted or as it has. Fails where the row is gone.
    pub(crate) async fn piece(&self, id: i64, offset: usize, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        // It is never closed.
        let _turn = self.pieces.acquire().await.ok();
        let sql = "select substr(cast(valor as blob), ?, ?) from dados where id = ?";
        let query = sqlx::query_scalar(sql).bind(offset as i64 + 1).bind(bytes_max as i64).bind(id);
        let piece: Option<Vec<u8>> = bounded(query.fetch_one(&self.pool)).await?;
        Ok(piece.unwrap_or_default())
    }

    /// The selected rows, up to the selection's limits or what a page may cost.
    pub(crate) async fn list(&self, selection: &Selection) -> Result<Page, StoreError> {
        let read = async {
            let mut tx = self.pool.begin().await?;
            let page = selection::page(&mut tx, selection).await?;
            tx.commit().await?;
            Ok(page)
        };
        bounded(read).await
    }

    /// The newest row's id; 0 where there is none.
    pub(crate) async fn newest_id(&self) -> Result<i64, StoreError> {
        let query = sqlx::query_scalar("select coalesce(max(id), 0) from dados");
        bounded(query.fetch_one(&self.pool)).await
    }

    /// Waits for the reads under way, then closes.
    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

pub(super) async fn bounded<T>(read: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StoreError> {
    match tokio::time::timeout(READ_TIMEOUT, read).await {
        Ok(result) => result.map_err(store_error),
        Err(_) => Err(StoreError::Slow),
    }
}

/// A text that was read as a blob, since another program may have written bytes that are no UTF-8.
pub(super) fn text(row: &SqliteRow, column: usize) -> Result<Option<String>, sqlx::Error> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    Ok(bytes.map(|bytes| match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }))
}

/// A row, and its value apart where that is large.
pub(super) fn dado(row: &SqliteRow) -> Result<(Dado, Option<LargeValue>), sqlx::Error> {
    let flag = |column: usize| -> Result<Option<bool>, sqlx::Error> {
        Ok(row.try_get::<Option<i64>, _>(column)?.map(|number| number != 0))
    };
    let (id, bytes) = (row.try_get(0)?, row.try_get::<Option<i64>, _>(8)?);
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > LARGE_VALUE_BYTES);
    let dado = Dado {
        id,
        topico: text(row, 1)?,
        valor: text(row, 2)?,
        timestamp: text(row, 3)?.map(|stored| timestamp::sql_to_wire(&stored)),
        qos: row.try_get(4)?,
        retido: flag(5)?,
        dup: flag(6)?,
        formato: text(row, 7)?,
        hora_corrigida: flag(9)?,
    };
    Ok((dado, bytes.map(|bytes| LargeValue { id, bytes })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::adopt;
    use sqlx::{Connection as _, SqliteConnection};

    #[tokio::test]
    async fn whatever_another_program_wrote_is_shown() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        adopt::migrate(&mut conn).await.unwrap();
        sqlx::raw_sql("insert into dados (valor, timestamp, qos, dup) values (null, null, 'x', 'y'), (x'61ff', 1700000000, 1.5, 1)")
            .execute(&mut conn)
            .await
            .unwrap();
        let sql = format!("select id, {} from dados order by id", columns());
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut conn).await.unwrap();
        let rows: Vec<Dado> = rows.iter().map(|row| dado(row).unwrap().0).collect();
        assert_eq!(
            (&rows[0].valor, &rows[0].timestamp, rows[0].qos, rows[0].dup),
            (&None, &None, Some(0), Some(false))
        );
        assert_eq!(rows[1].valor.as_deref(), Some("a\u{fffd}"));
        assert_eq!(rows[1].timestamp.as_deref(), Some("1700000000"));
    }
}
