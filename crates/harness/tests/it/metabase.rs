//! What Metabase sees of the SQLite database, asked with the JDBC driver that it uses.
//!
//! The SQL is what Metabase makes: modules/drivers/sqlite/src/metabase/driver/sqlite.clj of github's metabase/metabase.
//! What JDBC calls DATE or TIMESTAMP is read there with `getObject`, and the text that it gives is parsed by Metabase.

mod probe;
mod projections;
mod shared;

use std::collections::BTreeMap;
use std::fs;

use anyhow::ensure;
use harness::system::Api;
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Result;
use probe::{Driver, Probe, READ_ONLY, READ_WRITE};

/// An API on a database of its own, and the driver.
struct Bench {
    driver: Driver,
    api: Api,
    _dir: TempDir,
}

impl Bench {
    /// All of it, on a database that the seed's script has made; none where the driver is missing and may be.
    async fn start(seed: &str) -> Result<Option<Self>> {
        harness::install_tls();
        let dir = tempfile::tempdir()?;
        let Some(driver) = Driver::prepare(dir.path())? else { return Ok(None) };
        let data = dir.path().join("data");
        fs::create_dir(&data)?;
        if !seed.is_empty() {
            Connection::open(data.join("dados.db"))?.execute_batch(seed)?;
        }
        let api = Api::start(&data).await?;
        Ok(Some(Self { driver, api, _dir: dir }))
    }

    /// The driver on the database, with nothing in its way.
    fn probe(&self) -> Result<Probe> {
        self.driver.start(&self.api.database(), &READ_ONLY)
    }
}

/// Posts and waits until it is acknowledged.
async fn post(api: &str, body: &Value) -> Result {
    let request = reqwest::Client::new().post(format!("{api}/dados")).header("content-type", "application/json");
    let response = request.body(body.to_string()).send().await?;
    let status = response.status();
    ensure!(status.is_success(), "{status}: {}", response.text().await?);
    Ok(())
}

/// What Metabase takes a declared type for: `database-type->base-type`, the first pattern that it has.
fn base_type(declared: &str) -> &'static str {
    const PATTERNS: [(&str, &str); 17] = [
        ("BIGINT", "BigInteger"),
        ("BIG INT", "BigInteger"),
        ("INT", "Integer"),
        ("CHAR", "Text"),
        ("TEXT", "Text"),
        ("CLOB", "Text"),
        ("BLOB", UNUSABLE),
        ("REAL", "Float"),
        ("DOUB", "Float"),
        ("FLOA", "Float"),
        ("NUMERIC", "Float"),
        ("DECIMAL", "Decimal"),
        ("BOOLEAN", "Boolean"),
        ("TIMESTAMP", "DateTime"),
        ("DATETIME", "DateTime"),
        ("DATE", "Date"),
        ("TIME", "Time"),
    ];
    PATTERNS.iter().find(|(pattern, _)| declared.contains(pattern)).map_or(UNUSABLE, |(_, base_type)| base_type)
}

/// Neither charts nor filters take such a column.
const UNUSABLE: &str = "*";

/// The columns of which charts and lists are made.
const COLUMNS: &str = "
    dados: id Integer, valor Text, timestamp DateTime, topico Text, qos Integer, retido Boolean, dup Boolean,
        formato Text, produtor_id Integer, sequencia Integer, hora_corrigida Boolean
    produtores: id Integer, uuid Text, nome Text, ultima_sequencia Integer, recebidas Integer, quarentena Integer,
        visto_em DateTime, armazenadas Integer, confirmadas Integer, danificadas Integer, criado_em DateTime
    leituras: topico Text, campo Text, timestamp DateTime, dado_id Integer, numero Float, texto Text,
        capturado DateTime
    topicos: topico Text, ultimo_id Integer, ultimo_valor Text, ultimo_numero Float, ultimo_timestamp DateTime,
        mensagens Integer, apagadas Integer, desvio_ms Integer, sem_hora Integer
    campos: topico Text, campo Text, ultimo_id Integer, ultimo_numero Float, ultimo_texto Text,
        ultimo_timestamp DateTime, leituras Integer
    leituras_minuto: topico Text, campo Text, minuto DateTime, n Integer, soma Float, minimo Float, maximo Float
    leituras_hora: topico Text, campo Text, hora DateTime, n Integer, soma Float, minimo Float, maximo Float
";

/// [`COLUMNS`] as table, column and type.
fn expected_columns() -> Vec<[&'static str; 3]> {
    let mut table = "";
    let mut columns = Vec::new();
    for line in COLUMNS.lines().filter(|line| !line.trim().is_empty()) {
        let (name, rest) = line.split_once(':').unwrap_or((table, line));
        table = name.trim();
        let pairs = rest.split(',').filter_map(|pair| pair.trim().split_once(' '));
        columns.extend(pairs.map(|(column, base_type)| [table, column, base_type]));
    }
    columns
}

/// On a database that the API has made and on one that it has taken over.
#[tokio::test(flavor = "multi_thread")]
async fn columns_have_the_types_that_charts_need() -> Result {
    for seed in ["", SEED] {
        let Some(bench) = Bench::start(seed).await? else { return Ok(()) };
        let found = bench.probe()?.columns().await?;
        let mut types = BTreeMap::new();
        let mut unusable = Vec::new();
        for (table, column, declared) in &found {
            let base_type = base_type(declared);
            types.insert((table.as_str(), column.as_str()), base_type);
            if base_type == UNUSABLE {
                unusable.push(format!("{table}.{column}"));
            }
        }
        for [table, column, base_type] in expected_columns() {
            assert_eq!(types.get(&(table, column)), Some(&base_type), "{table}.{column}");
        }
        assert_eq!(unusable, ["_sqlx_migrations.checksum", "idempotencia.impressao"], "nobody's to read");
    }
    Ok(())
}

/// Before it takes a database, Metabase makes a connection of the details that it was given and asks for a 1. With
/// `read-only?` that goes through `Connection.setReadOnly`, which the driver refuses unless it has opened the file so.
#[tokio::test(flavor = "multi_thread")]
async fn the_details_for_metabase_pass_its_connection_test() -> Result {
    let Some(bench) = Bench::start("").await? else { return Ok(()) };
    let answer = bench.probe()?.ask("test").await?;
    assert_eq!(answer["rows"], json!([[1]]), "{answer}");
    let answer = bench.driver.start(&bench.api.database(), &READ_WRITE)?.ask("test").await?;
    let error = answer["error"].as_str().unwrap_or_else(|| panic!("{answer}"));
    assert!(error.starts_with("Cannot change read-only flag"), "not without open_mode: {error}");
    Ok(())
}

/// The seed's own statement, and rows with the times that it gives: no milliseconds.
const SEED: &str = "CREATE TABLE dados (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    valor TEXT,
    timestamp DATETIME DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO dados (valor, timestamp) VALUES
    ('2026-11-23 01:59:59', '2026-11-23 01:59:59'),
    ('2026-11-23 02:00:00', '2026-11-23 02:00:00'),
    ('2026-11-23 02:59:59', '2026-11-23 02:59:59'),
    ('2026-11-23 03:00:00', '2026-11-23 03:00:00');";

/// Times around the ends of an hour and of a day, as clients write them, and what they are in UTC.
const POSTED: [(&str, &str); 14] = [
    ("2026-11-22T23:59:59.999Z", "2026-11-22 23:59:59.999"),
    ("2026-11-23T00:00:00Z", "2026-11-23 00:00:00.000"),
    ("2026-11-23T00:00:00.001Z", "2026-11-23 00:00:00.001"),
    ("2026-11-23T01:59:59.999Z", "2026-11-23 01:59:59.999"),
    ("2026-11-23T02:00:00.000Z", "2026-11-23 02:00:00.000"),
    ("2026-11-23T02:00:00.001Z", "2026-11-23 02:00:00.001"),
    ("2026-11-22T23:30:00-03:00", "2026-11-23 02:30:00.000"),
    ("2026-11-23T08:00:59.9999+05:30", "2026-11-23 02:30:59.999"),
    ("2026-11-23 02:59:59.999", "2026-11-23 02:59:59.999"),
    ("2026-11-23T00:00:00-03:00", "2026-11-23 03:00:00.000"),
    ("2026-11-23T03:00:00.001Z", "2026-11-23 03:00:00.001"),
    ("2026-11-23 03:00:01", "2026-11-23 03:00:01.000"),
    ("2026-11-23T23:59:59.999Z", "2026-11-23 23:59:59.999"),
    ("2026-11-24T00:00:00Z", "2026-11-24 00:00:00.000"),
];

/// A database with the rows of [`SEED`] and [`POSTED`], each of which has its time as its value too.
async fn rows_at_the_edges() -> Result<Option<(Bench, Vec<String>)>> {
    let Some(bench) = Bench::start(SEED).await? else { return Ok(None) };
    let rows = POSTED.iter().map(|(posted, utc)| json!({"topico": "t", "valor": utc, "timestamp": posted}));
    post(&bench.api.url(), &rows.collect()).await?;
    let seeds = SEED.lines().filter_map(|line| line.trim().strip_prefix("('")?.get(..19));
    let mut times: Vec<_> = POSTED.iter().map(|(_, utc)| *utc).chain(seeds).map(str::to_owned).collect();
    times.sort();
    assert_eq!(times.len(), POSTED.len() + 4);
    Ok(Some((bench, times)))
}

#[tokio::test(flavor = "multi_thread")]
async fn times_fall_into_their_own_minute_hour_and_day() -> Result {
    let Some((bench, times)) = rows_at_the_edges().await? else { return Ok(()) };
    let mut probe = bench.probe()?;
    let (types, rows) = probe.table(r#"SELECT "dados"."timestamp", "dados"."valor" FROM "dados""#).await?;
    assert_eq!(types, ["DATE", "VARCHAR"], "the first is read as a time");
    assert_eq!(rows.len(), times.len());
    assert!(rows.iter().all(|row| row[0] == row[1]), "what was posted is what is read: {rows:?}");

    for (bucket, cut, zeros) in [(MINUTE, 16, ":00"), (HOUR, 13, ":00:00"), (DAY, 10, "")] {
        let bucket = bucket.replace('$', r#""dados"."timestamp""#);
        let sql = format!(
            r#"SELECT {bucket} AS "timestamp", COUNT(*) AS "count" FROM "dados" GROUP BY {bucket}
               ORDER BY {bucket} ASC"#
        );
        let mut expected: BTreeMap<String, u64> = BTreeMap::new();
        for time in &times {
            *expected.entry(time[..cut].to_owned() + zeros).or_default() += 1;
        }
        let expected: Vec<_> = expected.into_iter().map(|(bucket, count)| vec![json!(bucket), json!(count)]).collect();
        assert_eq!(probe.rows(&sql).await?, expected, "{bucket}");
    }
    Ok(())
}

/// `sql.qp/date` for `:minute`, `:hour` and `:day`.
const MINUTE: &str = "DATETIME(STRFTIME('%Y-%m-%d %H:%M', $))";
const HOUR: &str = "DATETIME(STRFTIME('%Y-%m-%d %H:00', $))";
const DAY: &str = "DATE($)";

/// The seed's script has every row's time from SQLite's clock.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_seeds_script_inserts_has_a_minute() -> Result {
    let Some(bench) = Bench::start(SEED).await? else { return Ok(()) };
    // The API holds the database meanwhile; SQLite lets others write between its commits.
    Connection::open(bench.api.database())?.execute("insert into dados (valor) values ('agora')", [])?;
    let minute = MINUTE.replace('$', "timestamp");
    let sql = format!("SELECT timestamp, {minute}, timestamp <= DATETIME('now') FROM dados WHERE valor = 'agora'");
    let rows = bench.probe()?.rows(&sql).await?;
    let text = rows[0][0].as_str().unwrap();
    assert_eq!(text.len(), "2026-11-23 02:59:59".len());
    assert_eq!(rows, [vec![json!(text), json!(text[..16].to_owned() + ":00"), json!(1)]]);
    Ok(())
}

/// A range filter compares texts: the bound has no milliseconds, and is a date alone where it is midnight.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_for_an_hour_or_a_day_takes_its_rows_and_no_other() -> Result {
    let Some((bench, times)) = rows_at_the_edges().await? else { return Ok(()) };
    let mut probe = bench.probe()?;
    // "Previous hour", by the clock: `add-interval-honeysql-form` on `DATETIME('now')`. Its now is ours.
    let now = "DATETIME('2026-11-23 03:21:45')";
    let this_hour = HOUR.replace('$', now);
    let last_hour = HOUR.replace('$', &format!("DATETIME({now}, '-1 hours')"));
    let next_hour = HOUR.replace('$', &format!("DATETIME({now}, '+1 hours')"));
    let minute = |time: &str| MINUTE.replace('$', &format!("DATETIME('{time}')"));
    let filters = [
        ("2026-11-23 02", "DATETIME('2026-11-23 02:00:00')".to_owned(), "DATETIME('2026-11-23 03:00:00')".to_owned()),
        ("2026-11-23 02", last_hour, this_hour.clone()),
        ("2026-11-23 03", this_hour, next_hour),
        ("2026-11-23 02:59", minute("2026-11-23 02:59:30"), minute("2026-11-23 03:00:30")),
        ("2026-11-23 00", "DATE('2026-11-23')".to_owned(), "DATETIME('2026-11-23 01:00:00')".to_owned()),
        ("2026-11-23", "DATE('2026-11-23')".to_owned(), "DATE('2026-11-24')".to_owned()),
        ("2026-11-22", "DATE(DATE('2026-11-23'), '-1 days')".to_owned(), "DATE('2026-11-23')".to_owned()),
    ];
    for (period, from, until) in filters {
        let expected: Vec<_> = times.iter().filter(|time| time.starts_with(period)).map(|time| json!(time)).collect();
        assert!(!expected.is_empty());
        let sql = format!(
            r#"SELECT "dados"."valor" FROM "dados"
               WHERE ("dados"."timestamp" >= {from}) AND ("dados"."timestamp" < {until})
               ORDER BY "dados"."timestamp" ASC"#
        );
        assert_eq!(probe.rows(&sql).await?.concat(), expected, "{from} to {until}");
    }
    Ok(())
}
