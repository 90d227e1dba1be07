//! Rows into `dados` by multi-row statements: five times the speed of row by row.

use std::sync::LazyLock;

use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, SqliteConnection};

use crate::store::Row;

/// The sizes of statement, in rows: any count is a sum of few of them, and each is prepared once a connection.
const CHUNK_ROWS: [usize; 10] = [512, 256, 128, 64, 32, 16, 8, 4, 2, 1];
/// Parameters a row; the largest statement has 4608 of SQLite's 32766.
const COLUMNS: usize = 9;

static STATEMENTS: LazyLock<[String; CHUNK_ROWS.len()]> = LazyLock::new(|| {
    CHUNK_ROWS.map(|rows| {
        let values = vec!["(?,?,?,?,?,?,?,?,?)"; rows].join(",");
        format!(
            "insert into dados (valor, timestamp, topico, qos, retido, dup, formato, produtor_id, sequencia) values {values}"
        )
    })
});

/// Who sent the rows: the producer's key in `produtores` and the sequence of the first of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) producer_id: i64,
    pub(super) first_sequence: i64,
}

/// Inserts at least one row inside the open transaction and gives the id of the first; the others follow it.
pub(super) async fn insert(
    conn: &mut SqliteConnection,
    mut rows: &[&Row],
    mut sent: Option<Sent>,
) -> Result<i64, sqlx::Error> {
    let inserted = rows.len();
    let mut last_id = 0;
    for (chunk_rows, statement) in CHUNK_ROWS.into_iter().zip(STATEMENTS.iter()) {
        while rows.len() >= chunk_rows {
            let (chunk, rest) = rows.split_at(chunk_rows);
            let result = sqlx::query_with(statement.as_str(), arguments(chunk, sent)?).execute(&mut *conn).await?;
            last_id = result.last_insert_rowid();
            rows = rest;
            if let Some(sent) = &mut sent {
                sent.first_sequence += chunk_rows as i64;
            }
        }
    }
    // One writer inside one transaction: SQLite gives consecutive ids.
    Ok(last_id + 1 - inserted as i64)
}

fn arguments(rows: &[&Row], sent: Option<Sent>) -> Result<SqliteArguments, sqlx::Error> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(rows.len() * COLUMNS, 0);
    for (offset, row) in (0i64..).zip(rows) {
        // A shared text is bound without a copy.
        arguments.add(row.valor.clone()).map_err(sqlx::Error::Encode)?;
        arguments.add(row.timestamp.clone()).map_err(sqlx::Error::Encode)?;
        arguments.add(row.topico.clone()).map_err(sqlx::Error::Encode)?;
        arguments.add(row.qos).map_err(sqlx::Error::Encode)?;
        arguments.add(row.retido).map_err(sqlx::Error::Encode)?;
        arguments.add(row.dup).map_err(sqlx::Error::Encode)?;
        arguments.add(row.formato.map(dados::Formato::as_str)).map_err(sqlx::Error::Encode)?;
        arguments.add(sent.map(|sent| sent.producer_id)).map_err(sqlx::Error::Encode)?;
        arguments.add(sent.map(|sent| sent.first_sequence + offset)).map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
