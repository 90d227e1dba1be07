//! Projections made anew beside those that are read, and the swap.
//!
//! The next generation's tables have a prefix, and a cursor of their own once they are ready to be filled. The swap is
//! a renaming, in one transaction; what was current then goes piece by piece.

use dados::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::projection::{CURRENT, NEXT, TABLES, cursor, execute, position, set_cursor};
use super::write::Writer;
use crate::store::StoreError;
use crate::store::projection::{Carried, Next};

/// The prefix of what was current.
const OLD: &str = "velha_";
/// How far the current generation had come when it was carried over.
const SINCE: &str = "refeita_desde";
/// In `retencao`: up to when it was carried over.
const UNTIL: &str = "refeita";
/// Rows that go, or are carried over, at once.
const PIECE_ROWS: i64 = 2_000;

/// What is carried over, by the columns of each key, the time the third: roll-ups, and readings whose message is gone.
const CARRIED: [(&str, &str, &str); 3] = [
    ("leituras", "topico, campo, timestamp, dado_id", "and not exists (select 1 from dados where id = dado_id)"),
    ("leituras_minuto", "topico, campo, minuto, n", ""),
    ("leituras_hora", "topico, campo, hora, n", ""),
];

/// Where carrying over goes on: in which table, and after which key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CarriedTo {
    table: usize,
    key: (String, String, String, i64),
}

impl Writer {
    /// Makes the next generation's tables, empty, and drops what an earlier start has left of them. Gives before when
    /// rows of `dados` may be gone; none where all are there.
    pub(crate) async fn begin_next(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let work = self.unsynced(async |tx| {
            for table in TABLES {
                execute(tx, format!("drop table if exists {NEXT}{table}")).await?;
                let columns = columns(tx, table).await?;
                execute(tx, format!("create table {NEXT}{table} {columns}")).await?;
            }
            until(tx, "dados").await
        });
        work.await
    }

    /// Carries over the next piece of what has no messages any more, up to a moment; none once there is no more.
    pub(crate) async fn carry_over(&mut self, to: &CarriedTo, end: Timestamp) -> Result<Option<CarriedTo>, StoreError> {
        self.unsynced(async |tx| carry_over(tx, to, end).await).await
    }

    /// From here on the next generation can be filled, from the first message on.
    pub(crate) async fn next_is_ready(&mut self, carried_until: Option<Timestamp>) -> Result<(), StoreError> {
        let work = self.unsynced(async |tx| {
            let since = cursor(tx, CURRENT).await?.unwrap_or_default();
            set_cursor(tx, SINCE, since).await?;
            sqlx::query("delete from retencao where tabela = ?").bind(UNTIL).execute(&mut *tx).await?;
            if let Some(until) = carried_until {
                let sql = "insert into retencao (tabela, ate) values (?, ?)";
                sqlx::query(sql).bind(UNTIL).bind(until.to_sql()).execute(&mut *tx).await?;
            }
            set_cursor(tx, &format!("{NEXT}{CURRENT}"), 0).await
        });
        work.await
    }

    /// Makes the next generation the current one, if it has come as far; whether it has.
    pub(crate) async fn swap(&mut self) -> Result<bool, StoreError> {
        self.unsynced(async |tx| swap(tx).await).await
    }

    /// Deletes a piece of what was current before the swap; whether there may be more.
    pub(crate) async fn sweep_old(&mut self) -> Result<bool, StoreError> {
        self.unsynced(async |tx| sweep(tx).await).await
    }
}

/// The next generation's state; none where there is none, or it is not ready.
pub(super) async fn next(conn: &mut SqliteConnection) -> Result<Option<Next>, sqlx::Error> {
    let Some(at) = position(conn, &format!("{NEXT}{CURRENT}")).await? else { return Ok(None) };
    let since_id = cursor(conn, SINCE).await?.unwrap_or_default();
    Ok(Some(Next { at, carried: Carried { since_id, until: until(conn, UNTIL).await? } }))
}

async fn until(conn: &mut SqliteConnection, name: &str) -> Result<Option<Timestamp>, sqlx::Error> {
    let text: Option<String> =
        sqlx::query_scalar("select ate from retencao where tabela = ?").bind(name).fetch_optional(conn).await?;
    text.map(|text| text.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))).transpose()
}

/// What stands behind a table's name where it was created: a renaming leaves it as it is.
async fn columns(conn: &mut SqliteConnection, table: &str) -> Result<String, sqlx::Error> {
    let sql: String =
        sqlx::query_scalar("select sql from sqlite_master where name = ?").bind(table).fetch_one(conn).await?;
    let begin = sql.find('(').ok_or(sqlx::Error::RowNotFound)?;
    Ok(sql[begin..].to_owned())
}

async fn carry_over(
    conn: &mut SqliteConnection,
    to: &CarriedTo,
    end: Timestamp,
) -> Result<Option<CarriedTo>, sqlx::Error> {
    let Some((table, key, condition)) = CARRIED.get(to.table) else { return Ok(None) };
    let time = key.split(", ").nth(2).unwrap_or_default();
    let (topico, campo, moment, id) = &to.key;
    // A roll-up's key ends with its time, which no count comes after.
    let sql = format!(
        "insert into {NEXT}{table} select * from {table}
         where ({key}) > (?, ?, ?, ?) and {time} < ? {condition} order by {key} limit {PIECE_ROWS} returning {key}"
    );
    let carried: Vec<(String, String, String, i64)> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(topico)
        .bind(campo)
        .bind(moment)
        .bind(if to.table == 0 { *id } else { i64::MAX })
        .bind(end.to_sql())
        .fetch_all(conn)
        .await?;
    Ok(Some(match carried.into_iter().max() {
        Some(key) => CarriedTo { table: to.table, key },
        None => CarriedTo { table: to.table + 1, ..CarriedTo::default() },
    }))
}

async fn swap(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let next = position(conn, &format!("{NEXT}{CURRENT}")).await?;
    let is_whole = next.as_ref().is_some_and(|next| next.ahead.is_none());
    if !is_whole || next != position(conn, CURRENT).await? {
        return Ok(false);
    }
    // Messages that are gone still count, and what was newest of a topic or a field without any other still is.
    for sql in [
        "update refeita_topicos set mensagens = refeita_topicos.mensagens + gone.apagadas, apagadas = gone.apagadas
         from topicos as gone where gone.topico = refeita_topicos.topico and gone.apagadas > 0",
        "insert or ignore into refeita_topicos select * from topicos where apagadas > 0",
        "insert or ignore into refeita_campos select * from campos
         where exists (select 1 from retencao where tabela = 'refeita')",
    ] {
        sqlx::query(sql).execute(&mut *conn).await?;
    }
    for table in TABLES {
        execute(conn, format!("alter table {table} rename to {OLD}{table}")).await?;
        execute(conn, format!("alter table {NEXT}{table} rename to {table}")).await?;
    }
    sqlx::query("delete from projecoes where nome in (?, ?)")
        .bind(format!("{NEXT}{CURRENT}"))
        .bind(SINCE)
        .execute(&mut *conn)
        .await?;
    sqlx::query("delete from retencao where tabela = ?").bind(UNTIL).execute(conn).await?;
    Ok(true)
}

async fn sweep(conn: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let table: Option<String> =
        sqlx::query_scalar("select name from sqlite_master where type = 'table' and name glob ? limit 1")
            .bind(format!("{OLD}*"))
            .fetch_optional(&mut *conn)
            .await?;
    let Some(table) = table else { return Ok(false) };
    let key: Vec<String> = sqlx::query_scalar("select name from pragma_table_info(?) where pk > 0 order by pk")
        .bind(&table)
        .fetch_all(&mut *conn)
        .await?;
    let key = key.join(", ");
    let sql = format!("delete from {table} where ({key}) in (select {key} from {table} limit {PIECE_ROWS})");
    if execute(conn, sql).await? == 0 {
        execute(conn, format!("drop table {table}")).await?;
    }
    Ok(true)
}
