//! `GET /series` of one topic and field, 30 days by hour, against the same answer made of raw rows by SQL.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use dados::Serie;
use harness::generate::{self, Options};
use harness::system::Api;
use rusqlite::{Connection, OpenFlags, params};

use super::http::poll::Client;
use super::spread::percentile;
use super::table::{Limit, Row, Table};
use super::{Cli, TOPICS, progress};

const DAYS: u64 = 30;
const FROM: &str = "2026-10-01T00:00:00Z";
/// The topic that is read.
const TOPIC: u64 = 7;
/// Its field; the references have it in their text, since a path that is put together would be read anew for each row.
const FIELD: &str = "temperatura";
/// Requests of a round, whose median counts; the first few, which fill caches, do not.
const REQUESTS: usize = 101;
const WARM_UP: usize = 5;
/// The same for the reference, which takes far longer.
const QUERIES: usize = 3;
/// 720 points have some 90 KB.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// What is lost by adding in another order.
const MEAN_TOLERANCE: f64 = 1e-9;

/// What both references do with the rows of the topic. All of it is SQL, as a question in Metabase would be.
const GROUPED: &str = "select substr(timestamp, 1, 13), count(x), avg(x), min(x), max(x) from rows_of_topic
    where x is not null group by 1 order by 1";
/// The rows as anyone would ask for them: SQLite has no index of its own on the topic, so all rows are looked through.
const ALL_ROWS: &str = "select timestamp, json_extract(valor, '$.temperatura') as x from dados
    where topico = ?1 and timestamp >= ?2 and timestamp < ?3";
/// The rows by our own index of the topics, and those beyond what it has taken up: what the API itself does for
/// `GET /dados?topico=`. This is the fairer reference.
const BY_TOPIC: &str = "select timestamp, json_extract(valor, '$.temperatura') as x
    from dados_por_topico as p cross join dados as d on d.id = p.dado_id and d.topico = ?1
    where p.topico = ?1 and p.dado_id <= (select ultimo_id from projecoes where nome = 'dados_por_topico')
        and timestamp >= ?2 and timestamp < ?3
    union all
    select timestamp, json_extract(valor, '$.temperatura') from dados
    where id > (select ultimo_id from projecoes where nome = 'dados_por_topico') and topico = ?1
        and timestamp >= ?2 and timestamp < ?3";

/// One hour, as the reference has it.
#[derive(Debug)]
struct Hour {
    /// `YYYY-MM-DD HH`
    hour: String,
    count: u64,
    mean: f64,
    least: f64,
    most: f64,
}

/// Milliseconds.
struct Round {
    ours: f64,
    by_topic: f64,
    all_rows: f64,
}

/// Makes the database once, then measures all in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let rows = cli.series_rows;
    let options = Options { messages: rows, topics: TOPICS as u64, days: DAYS, from: FROM.parse()?, seed: 1 };
    let dir = tempfile::tempdir()?;
    let api = Api::start(dir.path()).await?;
    let began = Instant::now();
    generate::fill(&api.url(), &options, |_| {}).await?;
    let stored_s = began.elapsed().as_secs_f64();
    generate::projected(&api.url(), true).await?;
    let made_s = began.elapsed().as_secs_f64();
    let bytes = std::fs::metadata(api.database())?.len();
    progress(&format!(
        "series: {rows} rows, {} MiB, stored in {stored_s:.0} s, projected at {made_s:.0} s",
        bytes >> 20
    ));
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let (addr, database, options, ours_first) = (api.addr(), api.database(), options.clone(), number % 2 == 1);
        // Nothing of it waits for anything but the answer.
        let round = tokio::task::spawn_blocking(move || round(addr, database, &options, ours_first)).await??;
        let Round { ours, by_topic, all_rows } = round;
        progress(&format!("series {}: {ours:.2} ms, raw rows {by_topic:.0} and {all_rows:.0} ms", number + 1));
        rounds.push(round);
    }
    let pairs =
        |reference: fn(&Round) -> f64| rounds.iter().map(|round| (round.ours, reference(round))).collect::<Vec<_>>();
    let limit = Limit::AtLeast { must: 50.0, aim: 200.0 };
    let work = format!("`GET /series`, {DAYS} days by hour, {rows} rows");
    let of_topic = pairs(|round| round.by_topic);
    table.push(Row::times(work, "json_extract of the topic's rows, by dados_por_topico", &of_topic, limit));
    let of_all = pairs(|round| round.all_rows);
    table.push(Row::times("the same", "json_extract, no index on the topic", &of_all, Limit::None));
    table.explain("series", "size of the database, bytes a row", [bytes as f64 / rows as f64]);
    table.explain("series", "projections ready after the last row was stored, s", [made_s - stored_s]);
    Ok(())
}

/// Measures all in turn, and compares the answers.
fn round(api: SocketAddr, database: PathBuf, options: &Options, ours_first: bool) -> anyhow::Result<Round> {
    let early = if ours_first { Some(ours(api, options)?) } else { None };
    let (by_topic_ms, by_topic) = reference(&database, BY_TOPIC, options)?;
    let (all_rows_ms, all_rows) = reference(&database, ALL_ROWS, options)?;
    let (ours_ms, serie) = match early {
        Some(early) => early,
        None => ours(api, options)?,
    };
    check(&serie, &by_topic)?;
    check(&serie, &all_rows)?;
    Ok(Round { ours: ours_ms, by_topic: by_topic_ms, all_rows: all_rows_ms })
}

/// From the request's first byte to the answer's last, on an open connection.
fn ours(api: SocketAddr, options: &Options) -> anyhow::Result<(f64, Serie)> {
    let (topic, until) = (Options::topic(TOPIC), options.until()?);
    let path = format!("/series?topico={topic}&campo={FIELD}&passo=1h&desde={}&ate={until}", options.from);
    let mut client = Client::asking(api, &path, ANSWER_BYTES_MAX)?;
    for _ in 0..WARM_UP {
        client.ask()?;
    }
    let ms = median_ms(REQUESTS, || client.ask().map(drop))?;
    let (_, body) = client.ask()?.split_once("\r\n\r\n").context("an answer without a body")?;
    Ok((ms, serde_json::from_str(body)?))
}

/// The median of some runs, after one that fills the caches.
fn reference(database: &Path, rows_of_topic: &str, options: &Options) -> anyhow::Result<(f64, Vec<Hour>)> {
    let conn = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut statement = conn.prepare(&format!("with rows_of_topic as ({rows_of_topic}) {GROUPED}"))?;
    let (from, until) = (options.from.to_sql(), options.until()?.to_sql());
    let mut run = || -> rusqlite::Result<Vec<Hour>> {
        let hour = |row: &rusqlite::Row<'_>| {
            let (hour, count, mean) = (row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs(), row.get(2)?);
            Ok(Hour { hour, count, mean, least: row.get(3)?, most: row.get(4)? })
        };
        statement.query_map(params![Options::topic(TOPIC), from, until], hour)?.collect()
    };
    let hours = run()?;
    let ms = median_ms(QUERIES, || Ok(run().map(drop)?))?;
    Ok((ms, hours))
}

fn median_ms(times: usize, mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut all = Vec::with_capacity(times);
    for _ in 0..times {
        let began = Instant::now();
        work()?;
        all.push(began.elapsed().as_secs_f64() * 1e3);
    }
    all.sort_by(f64::total_cmp);
    Ok(percentile(&all, 50.0))
}

/// A wrong answer is no fast one.
fn check(serie: &Serie, hours: &[Hour]) -> anyhow::Result<()> {
    ensure!(!hours.is_empty(), "the reference has found nothing");
    ensure!(serie.pontos.len() == hours.len(), "{} points, and {} of the reference", serie.pontos.len(), hours.len());
    for (ponto, hour) in serie.pontos.iter().zip(hours) {
        let mean = ponto.media.unwrap_or(f64::NAN);
        let is_same = ponto.inicio.to_sql().starts_with(&hour.hour)
            && ponto.n == hour.count
            && (ponto.minimo, ponto.maximo) == (hour.least, hour.most)
            && (mean - hour.mean).abs() <= MEAN_TOLERANCE * hour.mean.abs().max(1.0);
        ensure!(is_same, "{ponto:?} is not {hour:?}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dados::Ponto;

    use super::*;

    fn hour(hour: &str) -> Hour {
        Hour { hour: hour.to_owned(), count: 3, mean: 0.3 / 3.0, least: 0.1, most: 0.1 }
    }

    fn serie() -> Serie {
        let at = |text: &str| text.parse().unwrap();
        let point =
            |text| Ponto { inicio: at(text), n: 3, media: Some((0.1 + 0.1 + 0.1) / 3.0), minimo: 0.1, maximo: 0.1 };
        let pontos = vec![point("2026-10-01T00:00:00Z"), point("2026-10-01T02:00:00Z")];
        let (desde, ate) = (at(FROM), at("2026-10-31T00:00:00Z"));
        Serie { topico: None, campo: FIELD.to_owned(), passo: "1h".to_owned(), desde, ate, pontos }
    }

    #[test]
    fn answers_that_differ_are_no_measurement() {
        assert!(check(&serie(), &[hour("2026-10-01 00"), hour("2026-10-01 02")]).is_ok());
        for hours in [
            vec![],
            vec![hour("2026-10-01 00")],
            vec![hour("2026-10-01 00"), hour("2026-10-01 03")],
            vec![hour("2026-10-01 00"), Hour { count: 2, ..hour("2026-10-01 02") }],
            vec![hour("2026-10-01 00"), Hour { mean: 0.1001, ..hour("2026-10-01 02") }],
            vec![hour("2026-10-01 00"), Hour { least: 0.0, ..hour("2026-10-01 02") }],
            vec![hour("2026-10-01 00"), Hour { most: 0.2, ..hour("2026-10-01 02") }],
        ] {
            assert!(check(&serie(), &hours).is_err(), "{hours:?}");
        }
    }

    #[test]
    fn a_median_is_of_all_runs() {
        let mut runs = 0;
        assert!(
            median_ms(5, || {
                runs += 1;
                Ok(())
            })
            .unwrap()
                >= 0.0
        );
        assert_eq!(runs, 5);
    }
}
