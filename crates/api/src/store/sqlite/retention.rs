//! What is too old is counted by a reader, and goes a piece at a time, and gives its space back.

use std::time::Duration;

use dados::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::projection::{CURRENT, cursor};
use super::read::{Reader, bounded};
use super::rebuild;
use super::unsynced::unsynced;
use super::write::Writer;
use super::{by_time, store_error};
use crate::store::StoreError;
use crate::store::retention::{Aged, Cutoff, Gone, Place};

/// Rows that are looked at, or go, at once: some milliseconds.
const PIECE_ROWS: i64 = 500;
/// Rows of `dados` in a row that are not too old, after which the rest is taken to be newer. Rows lie in the order of
/// their coming: one that came late with an old time goes with its neighbours.
const YOUNG_ROWS_MAX: i64 = 16 * PIECE_ROWS;
/// Free pages that are given back at once.
const PIECE_PAGES: i64 = 256;
/// `pragma auto_vacuum` of a database that can give space back.
const INCREMENTAL: i64 = 2;
/// How long counting may take: nobody waits for it.
const COUNT_TIMEOUT: Duration = Duration::from_secs(600);
/// Of so many messages that came last the latest time is taken.
const NEWEST_ROWS: i64 = 1_000;
/// In `retencao`: a time that the clock showed when it was believed.
const CLOCK: &str = "relogio";

/// Rows of `dados` that are too old; `?1` is [`Cutoff::before`], `?2` is [`Cutoff::arrived_before`]. What is no time is
/// not too old, and was not counted: years begin with a digit. No clock that is right was before 2001: one that was never
/// set begins at 1970 or 2000.
const OLD_MESSAGE: &str = "timestamp < ?1 and (timestamp >= '2001-' or timestamp >= '0000-' and id < ?2)";
/// The same for readings.
const OLD_READING: &str = "timestamp < ?1 and (timestamp >= '2001-' or dado_id < ?2)";

/// The column of a table's times, and its key.
fn columns(aged: Aged) -> (&'static str, &'static str) {
    match aged {
        Aged::Messages => ("timestamp", "id"),
        Aged::Readings => ("timestamp", "topico, campo, timestamp, dado_id"),
        Aged::Minutes => ("minuto", "topico, campo, minuto"),
        Aged::Hours => ("hora", "topico, campo, hora"),
    }
}

/// Which rows of a field are too old. The message of a roll-up is not known: one of an implausible time stays.
fn old(aged: Aged) -> String {
    match aged {
        Aged::Messages => OLD_MESSAGE.to_owned(),
        Aged::Readings => OLD_READING.to_owned(),
        Aged::Minutes | Aged::Hours => {
            let (time, _) = columns(aged);
            format!("{time} < ?1 and {time} >= '2001-' and ?2 is not null")
        }
    }
}

impl Reader {
    /// The latest time among the messages that came last; none where there is none.
    pub(crate) async fn newest_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "select max(cast(timestamp as text)) from (select timestamp from dados order by id desc limit ?)";
        let read = sqlx::query_scalar::<_, Option<String>>(sql).bind(NEWEST_ROWS).fetch_one(&self.pool);
        Ok(bounded(read).await?.and_then(|text| text.parse().ok()))
    }

    /// A time that the clock showed when it was last believed; none where it never was.
    pub(crate) async fn believed_time(&self) -> Result<Option<Timestamp>, StoreError> {
        let read = sqlx::query_scalar::<_, String>("select ate from retencao where tabela = ?").bind(CLOCK);
        Ok(bounded(read.fetch_optional(&self.pool)).await?.and_then(|text| text.parse().ok()))
    }

    /// What is too old, if rows may not be of `before`.
    pub(crate) async fn cutoff(&self, before: Timestamp, ahead: Timestamp) -> Result<Cutoff, StoreError> {
        // The first block of ids that has a row which is not too old; rows beyond the cursor are in none.
        let sql = "select coalesce(
                       (select bloco << 10 from dados_por_tempo where maximo >= ? order by bloco limit 1),
                       (select ultimo_id + 1 from projecoes where nome = ?), 0)";
        let read = sqlx::query_scalar(sql).bind(before.to_sql()).bind(by_time::NAME).fetch_one(&self.pool);
        Ok(Cutoff { before, ahead, arrived_before: bounded(read).await? })
    }

    /// How many rows of a table are too old.
    pub(crate) async fn count_old(&self, aged: Aged, cutoff: &Cutoff) -> Result<u64, StoreError> {
        match aged {
            Aged::Messages => self.count_old_messages(cutoff).await,
            _ => {
                let (table, old) = (aged.as_str(), old(aged));
                let sql = format!(
                    "select coalesce(sum((select count(*) from {table} as t
                         where t.topico = c.topico and t.campo = c.campo and {old})), 0) from campos as c"
                );
                self.count(&sql, &[cutoff.before.to_sql()], Some(cutoff.arrived_before)).await
            }
        }
    }

    /// How many rows a table has, but no more than `rows_max`.
    pub(crate) async fn count_rows(&self, aged: Aged, rows_max: u64) -> Result<u64, StoreError> {
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX);
        let sql = format!("select count(*) from (select 1 from {} limit ?)", aged.as_str());
        self.count(&sql, &[], Some(limit)).await
    }

    /// A look goes on until so many rows in a row are young that the rest must be.
    async fn count_old_messages(&self, cutoff: &Cutoff) -> Result<u64, StoreError> {
        let (mut count, mut after_id) = (0, 0);
        let sql = format!(
            "select coalesce(sum({OLD_MESSAGE}), 0), max(id), coalesce(max(timestamp >= ?1 and timestamp < ?3), 0)
             from (select id, timestamp from dados where id > ?4
                       and id <= (select ultimo_id from projecoes where nome = ?5) order by id limit ?6)"
        );
        loop {
            let look = sqlx::query_as(AssertSqlSafe(sql.clone()))
                .bind(cutoff.before.to_sql())
                .bind(cutoff.arrived_before)
                .bind(cutoff.ahead.to_sql())
                .bind(after_id)
                .bind(CURRENT)
                .bind(YOUNG_ROWS_MAX);
            let (old, last_id, is_young): (i64, Option<i64>, bool) = bounded(look.fetch_one(&self.pool)).await?;
            count += old.max(0).unsigned_abs();
            match last_id {
                Some(last_id) if old > 0 || !is_young => after_id = last_id,
                _ => return Ok(count),
            }
        }
    }

    async fn count(&self, sql: &str, texts: &[String], number: Option<i64>) -> Result<u64, StoreError> {
        let mut query = sqlx::query_scalar::<_, i64>(AssertSqlSafe(sql.to_owned()));
        for text in texts {
            query = query.bind(text);
        }
        let read = query.bind(number).fetch_one(&self.pool);
        let count = tokio::time::timeout(COUNT_TIMEOUT, read).await.map_err(|_| StoreError::Slow)?;
        Ok(count.map_err(store_error)?.max(0).unsigned_abs())
    }
}

impl Writer {
    /// Deletes rows that are too old: at most [`PIECE_ROWS`], and `rows_max`. Of `dados` those among the next after an id,
    /// and none that something has still to be derived from; of the others those of the first field from a place on.
    pub(crate) async fn retire(
        &mut self,
        aged: Aged,
        from: &Place,
        cutoff: &Cutoff,
        rows_max: u64,
    ) -> Result<Gone, StoreError> {
        let limit = i64::try_from(rows_max).unwrap_or(i64::MAX).min(PIECE_ROWS);
        let work = self.unsynced(async |tx| match aged {
            Aged::Messages => retire_messages(tx, from.dado_id, cutoff, limit).await,
            _ => retire_of_field(tx, aged, from, cutoff, limit).await,
        });
        work.await
    }

    /// Remembers a time that the clock shows and that is believed.
    pub(crate) async fn believe(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let sql = "insert into retencao (tabela, ate) values (?, ?) on conflict do update set ate = excluded.ate";
        let work = self.unsynced(async |tx| sqlx::query(sql).bind(CLOCK).bind(now.to_sql()).execute(tx).await);
        work.await.map(drop)
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
    cutoff: &Cutoff,
    limit: i64,
) -> Result<Gone, sqlx::Error> {
    let done = Gone { rows: 0, next: None };
    if rebuild::next(conn).await?.is_some() {
        return Ok(done);
    }
    let until_id = cursor(conn, CURRENT).await?.unwrap_or_default();
    let sql = format!(
        "select id, {OLD_MESSAGE} from (select id, timestamp from dados where id > ?3 and id <= ?4 order by id limit ?5)"
    );
    let before = cutoff.before.to_sql();
    let piece: Vec<(i64, Option<bool>)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(&before)
        .bind(cutoff.arrived_before)
        .bind(after_id)
        .bind(until_id)
        .bind(PIECE_ROWS)
        .fetch_all(&mut *conn)
        .await?;
    // Up to the last row that may go; where fewer may than are too old, that is not the end of the piece.
    let old = piece.iter().filter(|(_, is_old)| *is_old == Some(true)).take(limit.max(0).unsigned_abs() as usize);
    let Some(last_id) = old.last().or(piece.last()).map(|(id, _)| *id) else { return Ok(done) };
    let counted = format!(
        "update topicos set apagadas = apagadas + gone.n
         from (select coalesce(topico, '') as topico, count(*) as n from dados
               where id > ?3 and id <= ?4 and {OLD_MESSAGE} group by 1) as gone
         where gone.topico = topicos.topico"
    );
    let deleted = format!("delete from dados where id > ?3 and id <= ?4 and {OLD_MESSAGE}");
    let mut rows = 0;
    for sql in [counted, deleted] {
        let query = sqlx::query(AssertSqlSafe(sql)).bind(&before).bind(cutoff.arrived_before);
        rows = query.bind(after_id).bind(last_id).execute(&mut *conn).await?.rows_affected();
    }
    if rows > 0 {
        let horizon = "insert into retencao (tabela, ate) values ('dados', ?)
                       on conflict do update set ate = max(ate, excluded.ate)";
        sqlx::query(horizon).bind(&before).execute(conn).await?;
    }
    Ok(Gone { rows, next: Some(Place { dado_id: last_id, ..Place::default() }) })
}

async fn retire_of_field(
    conn: &mut SqliteConnection,
    aged: Aged,
    from: &Place,
    cutoff: &Cutoff,
    limit: i64,
) -> Result<Gone, sqlx::Error> {
    // Each is deleted in the order of its key, in which one field's rows are together and by time.
    let (table, (time, key), old) = (aged.as_str(), columns(aged), old(aged));
    let field = "select topico, campo from campos where (topico, campo) > (?, ?) order by topico, campo limit 1";
    let field = sqlx::query_as(field).bind(&from.topico).bind(&from.campo);
    let Some((topico, campo)): Option<(String, String)> = field.fetch_optional(&mut *conn).await? else {
        return Ok(Gone { rows: 0, next: None });
    };
    let sql = format!(
        "delete from {table} where ({key}) in
             (select {key} from {table} where topico = ?3 and campo = ?4 and {old} order by {time} limit ?5)"
    );
    let deleted = sqlx::query(AssertSqlSafe(sql))
        .bind(cutoff.before.to_sql())
        .bind(cutoff.arrived_before)
        .bind(&topico)
        .bind(&campo)
        .bind(limit);
    let rows = deleted.execute(conn).await?.rows_affected();
    let is_done = rows < limit.unsigned_abs();
    Ok(Gone { rows, next: Some(if is_done { Place { dado_id: 0, topico, campo } } else { from.clone() }) })
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
