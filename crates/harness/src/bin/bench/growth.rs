//! Whether the API slows down as its table grows: the same rows into an empty database and into a large one.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use harness::system::Api;
use rusqlite::Connection;

use super::http::bulk;
use super::table::{Limit, Row, Table};
use super::{Cli, TOPICS, message, progress};

/// Rows of one filling transaction.
const FILL_ROWS: i64 = 500_000;
/// Milliseconds between two readings, so that the large table spans months.
const FILL_STEP_MS: i64 = 1_000;

/// Measures both in each round; the large table goes on growing.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let mut large = Api::start(dir.path()).await?;
    large.process()?.terminate()?;
    let (database, rows) = (large.database(), cli.rows);
    let began = Instant::now();
    tokio::task::spawn_blocking(move || fill(&database, rows)).await??;
    let mib = std::fs::metadata(large.database())?.len() >> 20;
    progress(&format!("growth: {rows} rows, {mib} MiB, made in {:.0} s", began.elapsed().as_secs_f64()));
    large.restart().await?;
    let mut pairs = Vec::new();
    for number in 0..cli.rounds {
        let (on_large, on_empty) = if number % 2 == 1 {
            let on_large = bulk::post(&mut large, bulk::ROWS).await?.seconds;
            (on_large, on_empty().await?)
        } else {
            let on_empty = on_empty().await?;
            (bulk::post(&mut large, bulk::ROWS).await?.seconds, on_empty)
        };
        progress(&format!("growth {}: {:.2} ×", number + 1, on_empty / on_large));
        pairs.push((bulk::ROWS as f64 / on_large, bulk::ROWS as f64 / on_empty));
    }
    let work = format!("the same on a table of {rows} rows");
    table.push(Row::rates(work, "rows/s", "an empty table", &pairs, Limit::AtLeast { must: 0.8, aim: 1.0 }));
    table.explain("growth", "size of the large database, bytes a row", [(mib << 20) as f64 / rows as f64]);
    Ok(())
}

async fn on_empty() -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    Ok(bulk::post(&mut Api::start(dir.path()).await?, bulk::ROWS).await?.seconds)
}

/// Fills the table that the API has made, as it would have over months. It blocks.
fn fill(database: &Path, rows: i64) -> anyhow::Result<()> {
    let conn = Connection::open(database)?;
    // Nothing of it is measured, and nobody would miss it.
    conn.execute_batch("pragma synchronous = off")?;
    let payload = String::from_utf8(message(0).payload)?;
    let insert = "insert into dados (valor, timestamp, topico, qos, retido, dup)
        with recursive number (n) as (select ?1 union all select n + 1 from number where n + 1 < ?2)
        select ?3, strftime('%Y-%m-%d %H:%M:%f', 1.7e9 + n * ?4 / 1000.0, 'unixepoch'), 'bench/' || (n % ?5), 1, 0, 0
        from number";
    for first in (0..rows).step_by(FILL_ROWS as usize) {
        let end = rows.min(first + FILL_ROWS);
        conn.execute(insert, rusqlite::params![first, end, payload, FILL_STEP_MS, TOPICS as i64])?;
    }
    let newest: i64 = conn.query_row("select max(id) from dados", [], |row| row.get(0))?;
    ensure!(newest == rows, "{newest} rows of {rows}");
    Ok(())
}
