//! One row a request on many connections: durable answers of the API, against a handler that stores nothing.

use std::sync::Arc;

use anyhow::ensure;
use harness::system::Api;

use super::turn::{self, CONNECTIONS, Side};
use super::{Figures, empty, request};
use crate::table::{Limit, Table};
use crate::{Cli, TOPICS, progress};

/// Different requests; a multiple of the topics.
const REQUESTS: usize = 1_000;

/// Measures both in each round.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let mut rounds = Vec::new();
    for number in 0..cli.rounds {
        let figures = round(usize::from(number) % 2).await?;
        progress(&format!("single {}: {}", number + 1, figures.summary()));
        rounds.push(figures);
    }
    let work = format!("POST of one object, {CONNECTIONS} connections, durable");
    super::tell(table, "single", work, "an empty handler", Limit::AtLeast { must: 0.5, aim: 0.8 }, &rounds);
    Ok(())
}

/// One round, with fresh processes and files; ours is the side with the number 0.
async fn round(first: usize) -> anyhow::Result<Figures> {
    let dir = tempfile::tempdir()?;
    let mut api = Api::start(dir.path()).await?;
    let (empty_addr, empty) = empty::start(dir.path()).await?;
    let addr = api.addr();
    let requests: Arc<[_]> = (0..REQUESTS).map(|number| request(addr, "application/json", &body(number))).collect();
    let mut sides = [
        Side::stopped(addr, api.process()?, None, requests.clone())?,
        Side::stopped(empty_addr, &empty, None, requests)?,
    ];
    turn::take(&mut sides, first).await?;
    let [mut ours, mut reference] = sides;
    let figures = Figures {
        ours: ours.rows_per_s(),
        reference: reference.rows_per_s(),
        cpu_us: vec![
            ("ponte-api", ours.micros_each(ours.server_s)),
            ("load on ponte-api", ours.micros_each(ours.generator_s)),
            ("empty handler", reference.micros_each(reference.server_s)),
            ("load on empty handler", reference.micros_each(reference.generator_s)),
        ],
        ours_latency: ours.latency()?,
        reference_latency: Some(reference.latency()?),
    };
    let answers = ours.answers;
    let stored = api.rows().newest_id().await?;
    ensure!(stored == answers as i64, "{stored} rows of {answers} answers");
    Ok(figures)
}

/// A reading as an HTTP client sends it: `valor` is JSON, not a text with JSON in it.
pub(super) fn body(number: usize) -> Vec<u8> {
    let topic = number % TOPICS;
    let valor = format!(r#"{{"temperatura":21.5,"umidade":55.0,"bateria":3.71,"contador":{number}}}"#);
    format!(r#"{{"topico":"bench/{topic}","valor":{valor}}}"#).into_bytes()
}
