//! What is too old goes, a piece at a time, and gives its space back.

use dados::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::projection::{CURRENT, cursor};
use super::rebuild;
use super::unsynced::unsynced;
use super::write::Writer;
use crate::store::StoreError;
use crate::store::retention::{Aged, Gone, Place};

/// Rows that are looked at, or go, at once: some milliseconds.
const PIECE_ROWS: i64 = 500;
/// Free pages that are given back at once.
const PIECE_PAGES: i64 = 256;
/// `pragma auto_vacuum` of a database that can give space back.
const INCREMENTAL: i64 = 2;

impl Writer {
    /// Deletes the rows of `dados` that were captured before a moment, among the next [`PIECE_ROWS`] after an id. None
    /// goes that something has still to be derived from.
    pub(crate) async fn retire_messages(&mut self, after_id: i64, before: Timestamp) -> Result<Gone<i64>, StoreError> {
        self.unsynced(async |tx| retire_messages(tx, after_id, before).await).await
    }

    /// Deletes up to [`PIECE_ROWS`] rows of a field that are of before a moment, of the first field after a place.
    pub(crate) async fn retire_readings(
        &mut self,
        aged: Aged,
        after: &Place,
        before: Timestamp,
    ) -> Result<Gone<Place>, StoreError> {
        self.unsynced(async |tx| retire_readings(tx, aged, after, before).await).await
    }

    /// Gives a piece of the free space back to the file system; whether there may be more. A database that was made
    /// without `auto_vacuum` keeps its size and fills the space anew.
    pub(crate) async fn give_back(&mut self) -> Result<bool, StoreError> {
        let mut session = self.take().await?;
        let result = give_back(&mut session.conn).await;
        self.settle(session, result).await
    }
}

async fn retire_messages(
    conn: &mut SqliteConnection,
    after_id: i64,
    before: Timestamp,
) -> Result<Gone<i64>, sqlx::Error> {
    if rebuild::next(conn).await?.is_some() {
        return Ok(Gone { rows: 0, next: None });
    }
    let until_id = cursor(conn, CURRENT).await?.unwrap_or_default();
    let piece = "select max(id) from (select id from dados where id > ? and id <= ? order by id limit ?)";
    let piece = sqlx::query_scalar(piece).bind(after_id).bind(until_id).bind(PIECE_ROWS);
    let Some(last_id): Option<i64> = piece.fetch_one(&mut *conn).await? else {
        return Ok(Gone { rows: 0, next: None });
    };
    // What is no time is not too old, and was not counted. Years begin with a digit.
    const OLD: &str = "id > ?1 and id <= ?2 and timestamp >= '0' and timestamp < ?3";
    let before = before.to_sql();
    let counted = format!(
        "update topicos set apagadas = apagadas + gone.n
         from (select coalesce(topico, '') as topico, count(*) as n from dados where {OLD} group by 1) as gone
         where gone.topico = topicos.topico"
    );
    let deleted = format!("delete from dados where {OLD}");
    let mut rows = 0;
    for sql in [counted, deleted] {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(after_id).bind(last_id).bind(&before);
        rows = query.execute(&mut *conn).await?.rows_affected();
    }
    if rows > 0 {
        let horizon = "insert into retencao (tabela, ate) values ('dados', ?)
                       on conflict do update set ate = max(ate, excluded.ate)";
        sqlx::query(horizon).bind(&before).execute(conn).await?;
    }
    Ok(Gone { rows, next: Some(last_id) })
}

async fn retire_readings(
    conn: &mut SqliteConnection,
    aged: Aged,
    after: &Place,
    before: Timestamp,
) -> Result<Gone<Place>, sqlx::Error> {
    // Each is deleted in the order of its key, in which one field's rows are together and by time.
    let (table, time, key) = match aged {
        Aged::Readings => ("leituras", "timestamp", "topico, campo, timestamp, dado_id"),
        Aged::Minutes => ("leituras_minuto", "minuto", "topico, campo, minuto"),
        Aged::Hours => ("leituras_hora", "hora", "topico, campo, hora"),
    };
    let field = "select topico, campo from campos where (topico, campo) > (?, ?) order by topico, campo limit 1";
    let field = sqlx::query_as(field).bind(&after.topico).bind(&after.campo);
    let Some((topico, campo)): Option<(String, String)> = field.fetch_optional(&mut *conn).await? else {
        return Ok(Gone { rows: 0, next: None });
    };
    let sql = format!(
        "delete from {table} where ({key}) in
             (select {key} from {table} where topico = ? and campo = ? and {time} < ? order by {time} limit ?)"
    );
    let deleted = sqlx::query(AssertSqlSafe(sql)).bind(&topico).bind(&campo).bind(before.to_sql()).bind(PIECE_ROWS);
    let rows = deleted.execute(conn).await?.rows_affected();
    let is_done = rows < PIECE_ROWS.unsigned_abs();
    Ok(Gone { rows, next: Some(if is_done { Place { topico, campo } } else { after.clone() }) })
}

async fn give_back(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let mode: i64 = sqlx::query_scalar("pragma auto_vacuum").fetch_one(&mut *conn).await?;
    let free: i64 = sqlx::query_scalar("pragma freelist_count").fetch_one(&mut *conn).await?;
    if mode != INCREMENTAL || free == 0 {
        return Ok(false);
    }
    unsynced(conn, async |tx| {
        // It gives back a page a row, and so the rows are to be fetched.
        let sql = format!("pragma incremental_vacuum({PIECE_PAGES})");
        sqlx::query(AssertSqlSafe(sql)).fetch_all(tx).await
    })
    .await?;
    Ok(free > PIECE_PAGES)
}
