//! Readings derived while nothing comes, whatever the messages look like, against a bare loop of inserts of the same readings.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use dados::Timestamp;
use harness::generate;
use harness::system::Api;
use rusqlite::{Connection, params};

use super::table::{Limit, Row, Table};
use super::{Cli, progress};

/// Fields of a message, and topics.
const SHAPES: [(usize, usize); 5] = [(2, 1), (2, 1_000), (16, 50), (64, 1), (64, 1_000)];
/// Readings of a round.
const READINGS: usize = 1_000_000;
/// Rows of a request.
const REQUEST_ROWS: usize = 2_000;
/// Readings of a transaction of the reference.
const STEP_READINGS: usize = 4_096;
const CAPTURED_MS: i64 = 1_795_404_105_678;
/// What the metrics say of readings.
const COUNTER: &str = "ponte_api_readings_total ";

/// Measures both in each round, for each shape.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    for (fields, topics) in SHAPES {
        let mut rounds = Vec::new();
        for number in 0..cli.rounds {
            let (ours, memory_mib) = ours(fields, topics).await?;
            let reference = tokio::task::spawn_blocking(move || reference(fields, topics)).await??;
            progress(&format!(
                "readings {}, {fields} fields, {topics} topics: {:.0} k/s, bare loop {:.0} k/s, {memory_mib:.0} MiB",
                number + 1,
                ours / 1e3,
                reference / 1e3
            ));
            rounds.push((ours, reference, memory_mib));
        }
        let work = format!("readings derived while nothing comes, {fields} fields a message, {topics} topics");
        let limit = Limit::AtLeast { must: 150_000.0, aim: 300_000.0 };
        table.push(Row::figure(work, "readings/s", rounds.iter().map(|(ours, ..)| *ours), limit));
        let pairs: Vec<(f64, f64)> = rounds.iter().map(|(ours, reference, _)| (*ours, *reference)).collect();
        let reference = "a bare loop of inserts, no lists, no roll-ups";
        table.push(Row::rates("the same", "readings/s", reference, &pairs, Limit::None));
        let memory = rounds.iter().map(|(.., memory)| *memory);
        table.explain("readings", format!("{fields} fields, {topics} topics: API, peak memory, MiB"), memory);
    }
    Ok(())
}

/// Readings a second from the moment that the last message is stored, and the peak of memory.
async fn ours(fields: usize, topics: usize) -> anyhow::Result<(f64, f64)> {
    let dir = tempfile::tempdir()?;
    let mut api = Api::start(dir.path()).await?;
    let (client, messages) = (reqwest::Client::new(), READINGS / fields);
    for first in (0..messages).step_by(REQUEST_ROWS) {
        let mut body = String::new();
        for number in first..messages.min(first + REQUEST_ROWS) {
            message(&mut body, number, fields, topics)?;
        }
        let request = client.post(format!("{}/dados", api.url())).header("content-type", "application/x-ndjson");
        request.body(body).send().await?.error_for_status()?;
    }
    let (before, began) = (readings(&api.url()).await?, Instant::now());
    generate::projected(&api.url(), true).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = readings(&api.url()).await?;
    Ok(((after - before) / seconds, super::mib(api.process()?.resident_kib_max()?)))
}

/// A line of NDJSON.
fn message(body: &mut String, number: usize, fields: usize, topics: usize) -> anyhow::Result<()> {
    let time = Timestamp::from_ms(CAPTURED_MS + number as i64)?;
    write!(body, r#"{{"topico":"{}","timestamp":"{time}","valor":{{"#, topic(number % topics))?;
    for field in 0..fields {
        let comma = if field == 0 { "" } else { "," };
        write!(body, r#"{comma}"{}":{:.2}"#, name(field), value(number, field))?;
    }
    body.push_str("}}\n");
    Ok(())
}

fn topic(number: usize) -> String {
    format!("fabrica/linha-{number:04}")
}

fn name(field: usize) -> String {
    format!("campo_{field:02}")
}

fn value(number: usize, field: usize) -> f64 {
    20.0 + ((number * 7 + field) % 1_000) as f64 / 37.0
}

/// How many the API has derived.
async fn readings(api: &str) -> anyhow::Result<f64> {
    let metrics = reqwest::get(format!("{api}/metrics")).await?.error_for_status()?.text().await?;
    let value = metrics.lines().find_map(|line| line.strip_prefix(COUNTER));
    Ok(value.with_context(|| format!("no {COUNTER}"))?.trim().parse()?)
}

/// The same readings into the same table, a field at a time, in transactions that do not wait for the disk either.
fn reference(fields: usize, topics: usize) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir()?;
    let conn = open(dir.path())?;
    let sql = "insert into leituras (topico, campo, timestamp, dado_id, numero) values (?, ?, ?, ?, ?)";
    let mut insert = conn.prepare(sql)?;
    // As many at once as the API has of a topic.
    let messages = READINGS / fields;
    let stretch = (65_536 / fields).max(topics);
    let began = Instant::now();
    conn.execute_batch("begin")?;
    let mut count = 0;
    for first in (0..messages).step_by(stretch) {
        for (topic_number, field) in (0..topics).flat_map(|topic| (0..fields).map(move |field| (topic, field))) {
            let (topico, campo) = (topic(topic_number), name(field));
            for number in (first + topic_number..messages.min(first + stretch)).step_by(topics) {
                let time = Timestamp::from_ms(CAPTURED_MS + number as i64)?.to_sql();
                insert.execute(params![topico, campo, time, number as i64, value(number, field)])?;
                count += 1;
                if count % STEP_READINGS == 0 {
                    conn.execute_batch("commit; begin")?;
                }
            }
        }
    }
    conn.execute_batch("commit")?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

/// The table as the API has it.
fn open(dir: &Path) -> anyhow::Result<Connection> {
    let conn = Connection::open(dir.join("bare.db"))?;
    conn.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = normal; pragma cache_size = -8192;
         create table leituras (topico text not null, campo text not null, timestamp datetime not null,
             dado_id integer not null, numero real, texto text, capturado datetime,
             primary key (topico, campo, timestamp, dado_id)) without rowid",
    )?;
    Ok(conn)
}
