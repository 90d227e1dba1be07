//! Rows into `dados` by multi-row statements, several of them in one text: five times the speed of row by row.
//!
//! The database says how many rows each statement changed: a trigger that somebody has added may leave rows out
//! (`raise(ignore)`) without an error, and these would be answered for and counted as stored.

use std::ops::Range;

use dados::Formato;
use sqlx::SqliteConnection;

use super::text::Text;
use crate::store::Row;

/// A group of up to so many rows, which is what waits while a commit runs, fits one statement whatever its size.
const EXACT_ROWS_MAX: usize = 64;
/// The largest statement: 5120 parameters of SQLite's 32766.
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
    /// Whose the producer is.
    pub(super) token: Option<&'a str>,
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
        let executed = text?.execute(&mut *conn);
        let (executed, following) = tokio::join!(biased; executed, async { next() });
        last_id = executed.map_err(left_out)?.last_insert_rowid();
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

/// What inserts a part of the rows.
fn text(rows: &[&Row], part: Range<usize>, sent: Option<Sent<'_>>, within: Within) -> Result<Text, sqlx::Error> {
    let own = within == Within::Own;
    let (begins, commits) = (own && part.start == 0, own && part.end == rows.len());
    let mut text = Text::default();
    // So few rows have a corrected time that the others do not name the column.
    let corrected = rows[part.clone()].iter().any(|row| row.hora_corrigida.is_some());
    text.reserve(part.len() * 10 + 8 + 1 + TEXT_ROWS_MAX / STATEMENT_ROWS_MAX);
    if begins {
        text.say("begin immediate");
    }
    if let Some(sent) = sent {
        text.say(LEDGER);
        add_ledger(&mut text, sent, &part)?;
        text.expect_changes(1)?;
    }
    let mut number = part.start as i64;
    for rows in rows[part.clone()].chunks(STATEMENT_ROWS_MAX) {
        text.say(&sql(sent.is_some(), corrected, rows.len()));
        for row in rows {
            add_row(&mut text, row)?;
            if let Some(sent) = sent {
                text.bind(sent.producer_id)?;
                text.bind(sent.first_sequence + number)?;
            }
            if corrected {
                text.bind(row.hora_corrigida)?;
            }
            number += 1;
        }
        text.expect_changes(rows.len())?;
    }
    if commits {
        text.say("commit");
    }
    Ok(text)
}

/// Watermark and token are not taken on trust: where the database has others, `case` gives null, which the column refuses,
/// and with it falls the transaction. A row that was deleted by hand is made anew.
const LEDGER: &str = "insert into produtores (id, uuid, token, ultima_sequencia, armazenadas, criado_em, visto_em)
    values (?, ?, ?, ?, ?, ?, ?)
    on conflict (uuid) do update set
        ultima_sequencia =
            case when ultima_sequencia = ? and token is excluded.token then excluded.ultima_sequencia end,
        armazenadas = armazenadas + excluded.armazenadas, visto_em = excluded.visto_em";

fn add_ledger(text: &mut Text, sent: Sent<'_>, part: &Range<usize>) -> Result<(), sqlx::Error> {
    // The texts before this one have moved it.
    let before = if part.start == 0 { sent.last_sequence } else { sent.first_sequence + part.start as i64 - 1 };
    text.bind(sent.producer_id)?;
    text.bind(sent.uuid)?;
    text.bind(sent.token)?;
    text.bind(sent.first_sequence + part.end as i64 - 1)?;
    text.bind(part.len() as i64)?;
    text.bind(sent.now)?;
    text.bind(sent.now)?;
    text.bind(before)
}

/// `abs` of the least integer is an error, and the transaction falls with it: only a trigger could raise one of its own.
const EXPECT_CHANGES: &str = "select abs(iif(changes() = ?, 0, -9223372036854775807 - 1))";
/// What SQLite says then; no other statement in this file computes anything that could overflow.
const OVERFLOW: &str = "integer overflow";

impl Text {
    /// Fails unless the statement before changed so many rows.
    fn expect_changes(&mut self, rows: usize) -> Result<(), sqlx::Error> {
        self.say(EXPECT_CHANGES);
        self.bind(rows as i64)
    }
}

/// Tells the error of [`EXPECT_CHANGES`] from all others.
fn left_out(error: sqlx::Error) -> sqlx::Error {
    match error.as_database_error() {
        Some(cause) if cause.message() == OVERFLOW => rows_left_out(),
        _ => error,
    }
}

/// The database stored fewer rows than it was given, and said nothing.
pub(super) fn rows_left_out() -> sqlx::Error {
    sqlx::Error::Protocol(
        "a trigger left rows out (raise(ignore)) that would have been acknowledged; see: \
         select name, tbl_name, sql from sqlite_master where type = 'trigger'"
            .to_owned(),
    )
}

fn sql(sent: bool, corrected: bool, rows: usize) -> String {
    let (of_sent, of_corrected) =
        (if sent { ", produtor_id, sequencia" } else { "" }, if corrected { ", hora_corrigida" } else { "" });
    let width = 7 + if sent { 2 } else { 0 } + usize::from(corrected);
    let values = values(&format!("({}?)", "?,".repeat(width - 1)), rows);
    format!(
        "insert into dados (valor, timestamp, topico, qos, retido, dup, formato{of_sent}{of_corrected}) values {values}"
    )
}

fn values(row: &str, rows: usize) -> String {
    let mut values = format!("{row},").repeat(rows);
    values.pop();
    values
}

fn add_row(text: &mut Text, row: &Row) -> Result<(), sqlx::Error> {
    // A shared text is bound without a copy.
    text.bind(row.valor.clone())?;
    text.bind(row.timestamp.clone())?;
    text.bind(row.topico.clone())?;
    text.bind(row.qos)?;
    text.bind(row.retido)?;
    text.bind(row.dup)?;
    text.bind(row.formato.map(Formato::as_str))
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
