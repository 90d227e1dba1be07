//! What SQLite itself does with the same rows: prepared inserts in this process, without HTTP and JSON.

use std::path::Path;
use std::time::Instant;

use anyhow::ensure;
use dados::NovoDado;
use harness::process::thread_cpu_seconds;
use rusqlite::{Connection, params};

/// As in the API's `store/sqlite.rs`.
const WAL_BYTES_KEPT: i64 = 64 << 20;
const WRITE_CACHE_KIB: i64 = 8 << 10;
const INSERT: &str = "insert into dados \
    (valor, timestamp, topico, qos, retido, dup, formato, produtor_id, sequencia) values (?,?,?,?,?,?,?,?,?)";

/// Rows that the API's `store/sqlite/by_topic.rs` takes into the index of the topics at once.
const STEP_ROWS: usize = 16_384;
/// The same step; the ids are those that this loop has given.
const STEP: &str = "pragma synchronous = normal;
    begin immediate;
    insert or ignore into dados_por_topico (topico, dado_id)
    select topico, id from dados
    where id > (select ultimo_id from projecoes where nome = 'dados_por_topico') and topico is not null
    order by topico, id;
    update projecoes set ultimo_id = (select max(id) from dados) where nome = 'dados_por_topico';
    commit;
    pragma synchronous = full";

/// A row as the statement takes it.
struct Row<'a> {
    valor: &'a str,
    timestamp: Option<String>,
    topico: Option<&'a str>,
    qos: Option<u8>,
    retido: Option<bool>,
    dup: Option<bool>,
    formato: Option<&'static str>,
}

/// What the loop took.
pub(super) struct Took {
    pub(super) seconds: f64,
    pub(super) cpu_seconds: f64,
}

/// Inserts the rows into a database that the API has made, so many in each durable transaction, and keeps the index of
/// the topics as far behind as the API does. It blocks.
pub(super) fn insert(database: &Path, dados: &[NovoDado<'_>], rows_per_transaction: usize) -> anyhow::Result<Took> {
    let rows: Vec<_> = dados.iter().map(row).collect();
    let conn = open(database)?;
    let mut statement = conn.prepare(INSERT)?;
    let (began, cpu_before) = (Instant::now(), thread_cpu_seconds()?);
    let mut unindexed = 0;
    for chunk in rows.chunks(rows_per_transaction) {
        conn.execute_batch("begin immediate")?;
        for row in chunk {
            let Row { valor, timestamp, topico, qos, retido, dup, formato } = row;
            let none = None::<i64>;
            statement.execute(params![valor, timestamp, topico, qos, retido, dup, formato, none, none])?;
        }
        conn.execute_batch("commit")?;
        unindexed += chunk.len();
        if unindexed >= STEP_ROWS {
            conn.execute_batch(STEP)?;
            unindexed = 0;
        }
    }
    let took = Took { seconds: began.elapsed().as_secs_f64(), cpu_seconds: thread_cpu_seconds()? - cpu_before };
    let stored: i64 = conn.query_row("select count(*) from dados", [], |row| row.get(0))?;
    ensure!(stored == rows.len() as i64, "{stored} rows of {}", rows.len());
    Ok(took)
}

fn row<'a>(novo: &'a NovoDado<'_>) -> Row<'a> {
    Row {
        valor: &novo.valor.0,
        timestamp: novo.timestamp.map(dados::Timestamp::to_sql),
        topico: novo.topico.as_deref(),
        qos: novo.qos,
        retido: novo.retido,
        dup: novo.dup,
        formato: novo.formato.map(dados::Formato::as_str),
    }
}

/// As the API's writer opens it.
fn open(database: &Path) -> anyhow::Result<Connection> {
    let conn = Connection::open(database)?;
    conn.pragma_update(None, "journal_mode", "wal")?;
    conn.pragma_update(None, "synchronous", "full")?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cache_size", -WRITE_CACHE_KIB)?;
    conn.pragma_update(None, "journal_size_limit", WAL_BYTES_KEPT)?;
    let journal: String = conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = conn.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    ensure!((journal.as_str(), synchronous) == ("wal", 2), "journal_mode {journal}, synchronous {synchronous}");
    Ok(conn)
}
