//! Rows into `dados` by multi-row statements: five times the speed of row by row.

use dados::Formato;
use sqlx::encode::Encode;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Sqlite, SqliteConnection, Type};

use crate::store::Row;

/// A group of up to so many rows, which is what waits while a commit runs, fits one statement whatever its size.
const EXACT_ROWS_MAX: usize = 64;
/// The largest statement: 4608 parameters and a few, of SQLite's 32766.
const CHUNK_ROWS_MAX: usize = 512;
/// Statements that a connection keeps prepared: three texts for each of 67 sizes, and a few others.
pub(super) const STATEMENTS_MAX: usize = 256;

/// Who sent the rows, and how far the producer's watermark moves with them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    /// The producer's key in `produtores`.
    pub(super) producer_id: i64,
    pub(super) uuid: &'a str,
    /// The watermark before these rows.
    pub(super) last_sequence: i64,
    /// The sequence of the first of them.
    pub(super) first_sequence: i64,
    /// In the database's form.
    pub(super) now: &'a str,
}

/// In which transaction rows and watermark are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Within {
    /// The one that is open.
    Open,
    /// One of their own, which begins and commits in the same round trip to the connection's thread.
    Own,
}

/// How many of so many rows the next statement takes: all, or the largest power of two that a statement may have.
pub(super) fn chunk(rows: usize) -> usize {
    if rows <= EXACT_ROWS_MAX { rows } else { 1 << rows.min(CHUNK_ROWS_MAX).ilog2() }
}

/// One round trip to the connection's thread: a text, what it binds, and how many rows it inserts.
pub(super) struct Statement {
    sql: String,
    arguments: SqliteArguments,
    rows: usize,
}

/// Executes at least one statement in turn, and gives the id of the first row; the others follow it. While SQLite's
/// thread is at one, the next is made.
pub(super) async fn execute(
    conn: &mut SqliteConnection,
    mut statements: impl Iterator<Item = Result<Statement, sqlx::Error>>,
) -> Result<i64, sqlx::Error> {
    let mut first_id = None;
    let mut next = statements.next();
    while let Some(statement) = next {
        let Statement { sql, arguments, rows } = statement?;
        // The text is made of what stands in this file, each in few forms, so that the connection keeps it prepared.
        let executed = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *conn);
        let (executed, following) = tokio::join!(biased; executed, async { statements.next() });
        // One writer inside one transaction: SQLite gives consecutive ids.
        first_id = first_id.or(Some(executed?.last_insert_rowid() + 1 - rows as i64));
        next = following;
    }
    Ok(first_id.unwrap_or_default())
}

/// Inserts at least one row of no producer and gives the id of the first; the others follow it. What is one [`chunk`]
/// needs no open transaction: one statement is one.
pub(super) async fn insert(conn: &mut SqliteConnection, rows: &[&Row]) -> Result<i64, sqlx::Error> {
    let mut rest = rows;
    let statements = std::iter::from_fn(|| {
        let (now, later) = rest.split_at(chunk(rest.len()));
        rest = later;
        (!now.is_empty()).then(|| unmarked(now))
    });
    execute(conn, statements).await
}

fn unmarked(rows: &[&Row]) -> Result<Statement, sqlx::Error> {
    let values = values("(?,?,?,?,?,?,?)", rows.len());
    let sql = format!("insert into dados (valor, timestamp, topico, qos, retido, dup, formato) values {values}");
    let mut arguments = SqliteArguments::default();
    arguments.reserve(rows.len() * 7, 0);
    for row in rows {
        add_row(&mut arguments, row)?;
    }
    Ok(Statement { sql, arguments, rows: rows.len() })
}

/// What inserts one [`chunk`] of a producer's rows, with what they change in the ledger.
///
/// The watermark is not taken on trust: where the database has another than `last_sequence`, `case` gives null, which
/// the column refuses, and with it falls the transaction. A row that was deleted by hand is made anew.
pub(super) fn sent(rows: &[Row], sent: Sent<'_>, within: Within) -> Result<Statement, sqlx::Error> {
    let values = values("(?,?,?,?,?,?,?,?,?)", rows.len());
    let (begin, commit) = match within {
        Within::Open => ("", ""),
        Within::Own => ("begin immediate;", "; commit"),
    };
    // Several statements in one text: the connection prepares them in turn and hands each its share of the arguments.
    let sql = format!(
        "{begin}
         insert into produtores (id, uuid, ultima_sequencia, armazenadas, criado_em, visto_em)
         values (?, ?, ?, ?, ?, ?)
         on conflict (uuid) do update set
             ultima_sequencia = case when ultima_sequencia = ? then excluded.ultima_sequencia end,
             armazenadas = armazenadas + excluded.armazenadas, visto_em = excluded.visto_em;
         insert into dados (valor, timestamp, topico, qos, retido, dup, formato, produtor_id, sequencia)
         values {values}
         {commit}"
    );
    let count = rows.len() as i64;
    let mut arguments = SqliteArguments::default();
    arguments.reserve(rows.len() * 9 + 7, 0);
    add(&mut arguments, sent.producer_id)?;
    add(&mut arguments, sent.uuid)?;
    add(&mut arguments, sent.first_sequence + count - 1)?;
    add(&mut arguments, count)?;
    add(&mut arguments, sent.now)?;
    add(&mut arguments, sent.now)?;
    add(&mut arguments, sent.last_sequence)?;
    for (sequence, row) in (sent.first_sequence..).zip(rows) {
        add_row(&mut arguments, row)?;
        add(&mut arguments, sent.producer_id)?;
        add(&mut arguments, sequence)?;
    }
    Ok(Statement { sql, arguments, rows: rows.len() })
}

fn values(row: &str, rows: usize) -> String {
    let mut values = format!("{row},").repeat(rows);
    values.pop();
    values
}

fn add_row(arguments: &mut SqliteArguments, row: &Row) -> Result<(), sqlx::Error> {
    // A shared text is bound without a copy.
    add(arguments, row.valor.clone())?;
    add(arguments, row.timestamp.clone())?;
    add(arguments, row.topico.clone())?;
    add(arguments, row.qos)?;
    add(arguments, row.retido)?;
    add(arguments, row.dup)?;
    add(arguments, row.formato.map(Formato::as_str))
}

fn add<'t>(arguments: &mut SqliteArguments, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> Result<(), sqlx::Error> {
    arguments.add(value).map_err(sqlx::Error::Encode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_count_is_a_sum_of_few_chunks() {
        let mut sizes = std::collections::BTreeSet::new();
        for rows in 1..=8192 {
            let mut left = rows;
            while left > 0 {
                let now = chunk(left);
                assert!((1..=left.min(CHUNK_ROWS_MAX)).contains(&now), "{now} of {left}");
                sizes.insert(now);
                left -= now;
            }
        }
        assert!(sizes.len() * 3 < STATEMENTS_MAX, "{} sizes", sizes.len());
    }
}
