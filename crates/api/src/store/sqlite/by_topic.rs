//! The index of the topics, which follows the rows: it takes them up by the thousand, so that its pages are shared.
//!
//! An index that SQLite keeps dirties a page a topic at every commit; with rows of fifty topics that is more than the
//! rows themselves. This one lags behind, up to a cursor that moves in the same transaction as the entries, and whoever
//! reads by topic looks through the rows beyond the cursor one by one. Both are read in one statement, hence of one
//! snapshot, and so the answer is the same at any lag.

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::read::COLUMNS;
use super::unsynced::unsynced;
use super::write::Writer;
use crate::store::{Indexed, StoreError};

/// Rows that one step takes up at most, and that are worth one: a few milliseconds to write, and to read through.
pub(crate) const STEP_ROWS: u64 = 16_384;
/// Topics that one step takes up at most, nearly: each has a page of its own, and a batch may wait for the step.
const STEP_TOPICS: i64 = 512;

/// Rows whose topics are counted first. Of 512 rows, half as many topics are no more than [`STEP_TOPICS`] in all, if the
/// rest is like them.
const SAMPLE_ROWS: i64 = 512;

/// How far it has come. Who has emptied `projecoes` by hand has it begin anew.
const CURSOR: &str = "coalesce((select ultimo_id from projecoes where nome = 'dados_por_topico'), 0)";

impl Writer {
    /// How far the index has come.
    pub(crate) async fn indexed(&mut self) -> Result<Indexed, StoreError> {
        let mut session = self.take().await?;
        let result = progress(&mut session.conn).await;
        self.settle(session, result).await
    }

    /// Takes up the next [`STEP_ROWS`] rows, or as many as there are, in a transaction of its own; fewer where they are
    /// of many topics. On an error nothing has changed.
    pub(crate) async fn index_topics(&mut self) -> Result<Indexed, StoreError> {
        self.index_rows(STEP_ROWS.cast_signed()).await
    }

    async fn index_rows(&mut self, rows_max: i64) -> Result<Indexed, StoreError> {
        let mut session = self.take().await?;
        let result = unsynced(&mut session.conn, async |tx| index(tx, rows_max).await).await;
        self.settle(session, result).await
    }
}

async fn index(conn: &mut SqliteConnection, rows_max: i64) -> Result<Indexed, sqlx::Error> {
    let mut at = progress(conn).await?;
    if let Some(until) = end_of_step(conn, at.last_id, rows_max).await? {
        // In the index's order: every page is written once. An entry may be there: see the triggers.
        sqlx::query(
            "insert or ignore into dados_por_topico (topico, dado_id)
             select topico, id from dados where id > ? and id <= ? and topico is not null order by topico, id",
        )
        .bind(at.last_id)
        .bind(until)
        .execute(&mut *conn)
        .await?;
        sqlx::query(
            "insert into projecoes (nome, ultimo_id) values ('dados_por_topico', ?)
             on conflict (nome) do update set ultimo_id = excluded.ultimo_id",
        )
        .bind(until)
        .execute(&mut *conn)
        .await?;
        at.last_id = until;
    }
    Ok(at)
}

/// The last row of a step; none where there are no rows after `last_id`.
async fn end_of_step(conn: &mut SqliteConnection, last_id: i64, rows_max: i64) -> Result<Option<i64>, sqlx::Error> {
    let (until, rows, topics) = count(conn, last_id, rows_max.min(SAMPLE_ROWS)).await?;
    // Where the first rows share their topics, as they nearly always do, the others are not counted.
    if until.is_none() || topics <= rows / 2 {
        return last(conn, last_id, rows_max).await;
    }
    let (until, rows, topics) = count(conn, last_id, rows_max).await?;
    if topics <= STEP_TOPICS {
        return Ok(until);
    }
    // Never none: there are at least as many rows as topics.
    last(conn, last_id, rows * STEP_TOPICS / topics).await
}

/// Of so many rows after `last_id`: the last one's id, how many there are, and of how many topics.
async fn count(
    conn: &mut SqliteConnection,
    last_id: i64,
    rows_max: i64,
) -> Result<(Option<i64>, i64, i64), sqlx::Error> {
    let sql = "select max(id), count(*), count(distinct topico)
               from (select id, topico from dados where id > ? order by id limit ?)";
    sqlx::query_as(sql).bind(last_id).bind(rows_max).fetch_one(conn).await
}

async fn last(conn: &mut SqliteConnection, last_id: i64, rows_max: i64) -> Result<Option<i64>, sqlx::Error> {
    let sql = "select max(id) from (select id from dados where id > ? order by id limit ?)";
    sqlx::query_scalar(sql).bind(last_id).bind(rows_max).fetch_one(conn).await
}

async fn progress(conn: &mut SqliteConnection) -> Result<Indexed, sqlx::Error> {
    let sql = format!("select {CURSOR}, coalesce((select max(id) from dados), 0)");
    let (last_id, newest_id) = sqlx::query_as(AssertSqlSafe(sql)).fetch_one(conn).await?;
    Ok(Indexed { last_id, newest_id })
}

/// The rows of a topic, newest first: parameters are the topic, the id that all are below, and how many.
///
/// SQLite merges both parts as they come, each in the order of its key, and stops at the limit: no sort. The topic of
/// an indexed row is looked at once more, so that no entry can show a row that is of another topic by now.
pub(super) fn select() -> String {
    format!(
        "select id, {COLUMNS} from dados where topico = ?1 collate binary and id < ?2 and id > {CURSOR}
         union all
         select dado_id, {COLUMNS}
         from (select dado_id from dados_por_topico where topico = ?1 and dado_id < min(?2, {CURSOR} + 1))
         cross join dados on id = dado_id and topico = ?1 collate binary
         order by 1 desc limit ?3"
    )
}

#[cfg(test)]
mod tests;
