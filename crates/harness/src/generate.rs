//! Makes a database of many readings as the API would have it: they come in over HTTP, spread over days.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use dados::{Inseridos, NovoDado, Timestamp, Valor};

use crate::PATIENCE;

/// Rows of a request.
const REQUEST_ROWS: u64 = 5_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// What the metrics say of rows that the projections do not have yet.
const GAUGE: &str = "ponte_api_unprojected_rows ";
/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// What to make. The same options give the same rows in the same order.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many readings, at least one.
    pub messages: u64,
    /// Of so many topics in turn, at least one.
    pub topics: u64,
    /// Over so many days, at the same distance from one another.
    pub days: u64,
    /// When the first one was captured.
    pub from: Timestamp,
    /// Of the noise in the values.
    pub seed: u64,
}

impl Options {
    /// When the last day ends.
    pub fn until(&self) -> anyhow::Result<Timestamp> {
        self.after_ms(self.days.checked_mul(DAY_MS).context("too many days")?)
    }

    /// The name of a topic by its number.
    pub fn topic(number: u64) -> String {
        format!("gerado/{number:02}")
    }

    /// A reading by its number: two fields that go up and down with the day.
    pub fn reading(&self, number: u64) -> anyhow::Result<NovoDado<'static>> {
        let span_ms = u128::from(self.days) * u128::from(DAY_MS);
        let at_ms = u64::try_from(u128::from(number) * span_ms / u128::from(self.messages))?;
        let timestamp = self.after_ms(at_ms)?;
        let topic = number % self.topics;
        // Each reading has its own, so that it does not depend on how many were made before.
        let mut noise = fastrand::Rng::with_seed(self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // From 0 at midnight to 1 at noon: no sine, which is not the same to the last digit everywhere.
        let day = (at_ms % DAY_MS) as f64 / DAY_MS as f64;
        let height = 1.0 - (2.0 * day - 1.0).abs();
        let temperature = 12.0 + (topic % 10) as f64 + 10.0 * height + noise.f64();
        let humidity = 80.0 - 30.0 * height + 2.0 * noise.f64();
        Ok(NovoDado {
            valor: Valor(Cow::Owned(format!(r#"{{"temperatura":{temperature:.2},"umidade":{humidity:.1}}}"#))),
            topico: Some(Cow::Owned(Self::topic(topic))),
            timestamp: Some(timestamp),
            qos: Some(1),
            retido: Some(false),
            dup: Some(false),
            formato: None,
            hora_corrigida: None,
        })
    }

    fn after_ms(&self, ms: u64) -> anyhow::Result<Timestamp> {
        let ms = i64::try_from(ms)?.checked_add(self.from.as_ms()).context("a time beyond all times")?;
        Ok(Timestamp::from_ms(ms)?)
    }

    /// So many readings as NDJSON, from one on.
    fn body(&self, first: u64) -> anyhow::Result<(u64, Vec<u8>)> {
        let rows = REQUEST_ROWS.min(self.messages - first);
        let mut body = Vec::new();
        for number in first..first + rows {
            serde_json::to_writer(&mut body, &self.reading(number)?)?;
            body.push(b'\n');
        }
        Ok((rows, body))
    }
}

/// Posts all readings to the API at this base, one request after another, so that ids are in their order too.
/// `progress` hears how many are stored.
pub async fn fill(api: &str, options: &Options, mut progress: impl FnMut(u64)) -> anyhow::Result<()> {
    ensure!(options.messages > 0 && options.topics > 0, "there must be something to make");
    let client = reqwest::Client::new();
    let build = |first: u64| {
        let options = options.clone();
        tokio::task::spawn_blocking(move || options.body(first))
    };
    let mut stored = 0;
    let mut next = build(0);
    while stored < options.messages {
        let (rows, body) = next.await??;
        // The next body is made while this one is stored.
        next = build((stored + rows).min(options.messages));
        let request = client.post(format!("{api}/dados")).header("content-type", "application/x-ndjson").body(body);
        let response = request.send().await?.error_for_status()?;
        let answer: Inseridos = serde_json::from_str(&response.text().await?)?;
        ensure!(answer.inseridos == rows, "{} of {rows} rows were stored", answer.inseridos);
        stored += rows;
        progress(stored);
    }
    Ok(())
}

/// Waits until the projections have all rows, for as long as they get on. An API that does not say how far they are is
/// an error where it `must` say so; else nobody waits.
pub async fn projected(api: &str, must: bool) -> anyhow::Result<()> {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        let metrics = reqwest::get(format!("{api}/metrics")).await?.error_for_status()?.text().await?;
        match unprojected(&metrics)? {
            None if must => bail!("the API does not say how many rows its projections lack ({})", GAUGE.trim_end()),
            None | Some(0) => return Ok(()),
            Some(rows) if rows < least => (least, since) = (rows, Instant::now()),
            Some(rows) => ensure!(since.elapsed() < PATIENCE, "the projections stand still, {rows} rows behind"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// What the metrics say of it, if they do.
fn unprojected(metrics: &str) -> anyhow::Result<Option<u64>> {
    let Some(value) = metrics.lines().find_map(|line| line.strip_prefix(GAUGE)) else { return Ok(None) };
    let rows: f64 = value.trim().parse().with_context(|| format!("{GAUGE}{value}"))?;
    Ok(Some(rows as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(messages: u64) -> Options {
        Options { messages, topics: 50, days: 30, from: "2026-10-01T00:00:00Z".parse().unwrap(), seed: 7 }
    }

    #[test]
    fn readings_are_spread_over_days_and_topics() {
        let options = options(1_000);
        let readings: Vec<_> = (0..1_000).map(|number| options.reading(number).unwrap()).collect();
        let times: Vec<_> = readings.iter().map(|reading| reading.timestamp.unwrap()).collect();
        assert!(times.is_sorted_by(|one, other| one < other));
        assert_eq!(times[0], options.from);
        assert_eq!(times[500].to_string(), "2026-10-16T00:00:00.000Z");
        assert!(times[999] < options.until().unwrap());
        assert_eq!(options.until().unwrap().to_string(), "2026-10-31T00:00:00.000Z");
        let topics: std::collections::BTreeSet<_> = readings.iter().map(|reading| reading.topico.clone()).collect();
        assert_eq!(topics.len(), 50);
        assert!(topics.contains(&Some(Options::topic(7).into())));
    }

    #[test]
    fn the_same_seed_gives_the_same_readings() {
        let (one, other) = (options(9_000), Options { seed: 8, ..options(9_000) });
        let (rows, body) = one.body(5_000).unwrap();
        assert_eq!((rows, &body), (4_000, &one.clone().body(5_000).unwrap().1));
        assert_ne!(body, other.body(5_000).unwrap().1);
        let first = str::from_utf8(&body).unwrap().lines().next().unwrap();
        assert_eq!(serde_json::from_str::<NovoDado<'_>>(first).unwrap(), one.reading(5_000).unwrap());
        assert_eq!(one.body(9_000).unwrap(), (0, Vec::new()));
    }

    #[test]
    fn what_the_metrics_say_is_read() {
        let metrics = |line: &str| format!("# TYPE ponte_api_unprojected_rows gauge\n{line}\n# EOF\n");
        assert_eq!(unprojected(&metrics("ponte_api_unprojected_rows 16384")).unwrap(), Some(16_384));
        assert_eq!(unprojected(&metrics("ponte_api_unprojected_rows 0.0")).unwrap(), Some(0));
        assert_eq!(unprojected(&metrics("ponte_api_unindexed_rows 5")).unwrap(), None);
        assert!(unprojected(&metrics("ponte_api_unprojected_rows x")).is_err());
    }
}
