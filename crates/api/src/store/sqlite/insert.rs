//! Rows into `dados` by multi-row statements, several of them in one text: five times the speed of row by row.

use std::ops::Range;

use dados::Formato;
use sqlx::encode::Encode;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Sqlite, SqliteConnection, Type};

use crate::store::Row;

/// A group of up to so many rows, which is what waits while a commit runs, fits one statement whatever its size.
const EXACT_ROWS_MAX: usize = 64;
/// The largest statement: 4608 parameters of SQLite's 32766.
const STATEMENT_ROWS_MAX: usize = 512;
/// The largest text: some milliseconds of SQLite's thread, beside which waking it costs little.
const TEXT_ROWS_MAX: usize = 4 * STATEMENT_ROWS_MAX;
/// Texts that a connection keeps prepared: the common ones of 70 sizes, and a few others.
pub(super) const TEXTS_MAX: usize = 256;

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
    /// One of their own, which the first text begins and the last commits: no round trip is for that alone.
    Own,
}

/// Inserts at least one row, and gives the id of the first; the others follow it. While SQLite's thread is at one text,
/// the next is made.
pub(super) async fn insert(
    conn: &mut SqliteConnection,
    rows: &[&Row],
    sent: Option<Sent<'_>>,
    within: Within,
) -> Result<i64, sqlx::Error> {
    let mut done = 0;
    let mut next = || {
        let part = done..done + chunk(rows.len() - done);
        done = part.end;
        (!part.is_empty()).then(|| text(rows, part, sent, within))
    };
    let mut last_id = 0;
    let mut made = next();
    while let Some(text) = made {
        let (sql, arguments) = text?;
        // It is made of what stands in this file, in few forms, so that the connection keeps it prepared.
        let executed = sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *conn);
        let (executed, following) = tokio::join!(biased; executed, async { next() });
        last_id = executed?.last_insert_rowid();
        made = following;
    }
    // One writer inside one transaction: SQLite gives consecutive ids.
    Ok(last_id + 1 - rows.len() as i64)
}

/// How many of so many rows the next text takes: all, or the largest power of two below a statement's most, or whole
/// statements.
fn chunk(rows: usize) -> usize {
    if rows <= EXACT_ROWS_MAX {
        rows
    } else if rows < STATEMENT_ROWS_MAX {
        1 << rows.ilog2()
    } else {
        rows.min(TEXT_ROWS_MAX) / STATEMENT_ROWS_MAX * STATEMENT_ROWS_MAX
    }
}

/// One round trip to the connection's thread: what inserts a part of the rows, and what it binds. Of several statements
/// in one text the connection prepares each in turn, and hands it its share of the arguments.
fn text(
    rows: &[&Row],
    part: Range<usize>,
    sent: Option<Sent<'_>>,
    within: Within,
) -> Result<(String, SqliteArguments), sqlx::Error> {
    // One statement is a transaction without saying so.
    let alone = sent.is_none() && part.len() == rows.len() && part.len() <= STATEMENT_ROWS_MAX;
    let own = within == Within::Own && !alone;
    let (begins, commits) = (own && part.start == 0, own && part.end == rows.len());
    let mut statements = Vec::with_capacity(3 + part.len().div_ceil(STATEMENT_ROWS_MAX));
    let mut arguments = SqliteArguments::default();
    arguments.reserve(part.len() * 9 + 7, 0);
    if begins {
        statements.push("begin immediate".to_owned());
    }
    if let Some(sent) = sent {
        statements.push(LEDGER.to_owned());
        add_ledger(&mut arguments, sent, &part)?;
    }
    for rows in rows[part.clone()].chunks(STATEMENT_ROWS_MAX) {
        statements.push(if sent.is_some() { sent_sql(rows.len()) } else { unmarked_sql(rows.len()) });
    }
    for (number, row) in part.clone().zip(&rows[part]) {
        add_row(&mut arguments, row)?;
        if let Some(sent) = sent {
            add(&mut arguments, sent.producer_id)?;
            add(&mut arguments, sent.first_sequence + number as i64)?;
        }
    }
    if commits {
        statements.push("commit".to_owned());
    }
    Ok((statements.join(";"), arguments))
}

/// The watermark is not taken on trust: where the database has another than the last parameter, `case` gives null, which
/// the column refuses, and with it falls the transaction. A row that was deleted by hand is made anew.
const LEDGER: &str = "insert into produtores (id, uuid, ultima_sequencia, armazenadas, criado_em, visto_em)
    values (?, ?, ?, ?, ?, ?)
    on conflict (uuid) do update set
        ultima_sequencia = case when ultima_sequencia = ? then excluded.ultima_sequencia end,
        armazenadas = armazenadas + excluded.armazenadas, visto_em = excluded.visto_em";

fn add_ledger(arguments: &mut SqliteArguments, sent: Sent<'_>, part: &Range<usize>) -> Result<(), sqlx::Error> {
    // The texts before this one have moved it.
    let before = if part.start == 0 { sent.last_sequence } else { sent.first_sequence + part.start as i64 - 1 };
    add(arguments, sent.producer_id)?;
    add(arguments, sent.uuid)?;
    add(arguments, sent.first_sequence + part.end as i64 - 1)?;
    add(arguments, part.len() as i64)?;
    add(arguments, sent.now)?;
    add(arguments, sent.now)?;
    add(arguments, before)
}

fn unmarked_sql(rows: usize) -> String {
    let values = values("(?,?,?,?,?,?,?)", rows);
    format!("insert into dados (valor, timestamp, topico, qos, retido, dup, formato) values {values}")
}

fn sent_sql(rows: usize) -> String {
    let values = values("(?,?,?,?,?,?,?,?,?)", rows);
    format!(
        "insert into dados (valor, timestamp, topico, qos, retido, dup, formato, produtor_id, sequencia) values {values}"
    )
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
            let (mut left, mut chunks) = (rows, 0);
            while left > 0 {
                let now = chunk(left);
                assert!((1..=left.min(TEXT_ROWS_MAX)).contains(&now), "{now} of {left}");
                // No text is of more than two kinds of statement, its rows' and its transaction's.
                assert!(now <= STATEMENT_ROWS_MAX || now.is_multiple_of(STATEMENT_ROWS_MAX), "{now} of {left}");
                sizes.insert(now);
                left -= now;
                chunks += 1;
            }
            assert!(chunks <= 8, "{chunks} for {rows}");
        }
        assert!(sizes.len() * 3 < TEXTS_MAX, "{} sizes", sizes.len());
    }
}
