//! What the API counts of itself, and `GET /metrics`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use service::metrics::Metrics;

use crate::ingest::Ingest;
use crate::limits::Memory;
use crate::live::Live;
use crate::openapi::bodies;
use crate::producers::totals::Ledger;
use crate::projector::{Losses, Projection};
use crate::router::App;
use crate::store::{Failure, Outcome, Reader};

const PREFIX: &str = "ponte_api";
/// Upper bounds of a commit's duration: from a good SSD to a card that is failing.
const COMMIT_BUCKETS_S: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of a commit's rows.
const ROWS_BUCKETS: [f64; 9] = [0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0];

/// What the writer counts: atomics, and a lock for each histogram that no other writer wants.
#[derive(Clone, Debug)]
pub(crate) struct Commits {
    rows: Counter,
    duplicates: Counter,
    batches: Counter,
    replayed: Counter,
    failed: Family<[(&'static str, &'static str); 1], Counter>,
    duration: Histogram,
    sizes: Histogram,
}

impl Commits {
    pub(crate) fn new() -> Self {
        let commits = Self {
            rows: Counter::default(),
            duplicates: Counter::default(),
            batches: Counter::default(),
            replayed: Counter::default(),
            failed: Family::default(),
            duration: Histogram::new(COMMIT_BUCKETS_S),
            sizes: Histogram::new(ROWS_BUCKETS),
        };
        // There from the start, so that the first failure is an increase.
        for kind in Failure::NAMES {
            drop(commits.failed.get_or_create(&[("kind", kind)]));
        }
        commits
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("rows_stored", "Rows stored", self.rows.clone());
        let help = "Rows of a producer that were stored before, and skipped";
        registry.register("duplicates_dropped", help, self.duplicates.clone());
        registry.register("batches", "Requests whose rows were stored or skipped", self.batches.clone());
        registry.register(
            "keys_replayed",
            "Requests whose idempotency key had been used for them",
            self.replayed.clone(),
        );
        registry.register("transactions_failed", "Transactions that were not committed, by kind", self.failed.clone());
        let help = "How long transactions of rows took, until they were durable";
        registry.register_with_unit("commit_duration", help, Unit::Seconds, self.duration.clone());
        registry.register("commit_rows", "Rows that one transaction stored", self.sizes.clone());
    }

    pub(crate) fn committed(&self, outcomes: &[Outcome], duration_s: f64) {
        let mut rows = 0;
        for outcome in outcomes {
            match outcome {
                Outcome::Stored { inserted, duplicates, .. } => {
                    rows += inserted;
                    self.duplicates.inc_by(*duplicates);
                    self.batches.inc();
                }
                Outcome::Replayed { .. } => {
                    self.replayed.inc();
                }
                // The HTTP counter has it as a 409 or 403.
                Outcome::KeyReused | Outcome::Denied(_) => {}
            }
        }
        self.rows.inc_by(rows);
        self.duration.observe(duration_s);
        self.sizes.observe(rows as f64);
    }

    pub(crate) fn failed(&self, failure: Failure) {
        self.failed.get_or_create(&[("kind", failure.as_str())]).inc();
    }
}

/// What the projector counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Projections {
    messages: Counter,
    readings: Counter,
    lost: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Projections {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("messages_projected", "Messages that readings were derived from", self.messages.clone());
        registry.register("readings", "Readings derived from them", self.readings.clone());
        let help = "What no reading came of, by kind: messages without a time, times of devices that were not readable, \
                    fields beyond the limits of a message (field) and of a topic (new_field)";
        registry.register("readings_lost", help, self.lost.clone());
        self.count(Losses::default());
    }

    pub(crate) fn projected(&self, messages: usize, readings: usize, losses: Losses) {
        self.messages.inc_by(messages as u64);
        self.readings.inc_by(readings as u64);
        self.count(losses);
    }

    fn count(&self, Losses { untimed, unreadable_times, omitted_fields, refused_fields }: Losses) {
        for (kind, count) in [
            ("untimed", untimed),
            ("device_time", unreadable_times),
            ("field", omitted_fields),
            ("new_field", refused_fields),
        ] {
            self.lost.get_or_create(&[("kind", kind)]).inc_by(count);
        }
    }
}

/// What readers of new rows were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deliveries {
    rows: Counter,
    losses: Counter,
    missed: Counter,
}

impl Deliveries {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("live_rows_sent", "Rows sent to those who follow new rows, each to each", self.rows.clone());
        let help = "How often one of them was too slow, and told what it missed (perdidos)";
        registry.register("live_losses", help, self.losses.clone());
        registry.register("live_rows_missed", "Rows missed by them, by ids, each by each", self.missed.clone());
    }

    pub(crate) fn sent(&self, rows: u64) {
        self.rows.inc_by(rows);
    }

    /// The rows with these ids, both included.
    pub(crate) fn missed(&self, from: i64, to: i64) {
        self.losses.inc();
        self.missed.inc_by(to.abs_diff(from) + 1);
    }
}

/// What is looked at when somebody asks.
#[derive(Debug)]
pub(crate) struct Levels {
    pub(crate) ingest: Ingest,
    pub(crate) projection: Projection,
    pub(crate) live: Live,
    pub(crate) memory: Memory,
    pub(crate) reader: Reader,
    pub(crate) ledger: Ledger,
}

impl Levels {
    pub(crate) fn register(self, registry: &mut Registry) {
        registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(self));
    }
}

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, unit: Option<&Unit>, value: u64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        let bytes = Some(&Unit::Bytes);
        let (waiting, waiting_max) = self.ingest.queue();
        gauge("queue_length", "Batches and reports that wait for the writer", None, waiting as u64)?;
        gauge("queue_length_max", "As many may wait", None, waiting_max as u64)?;
        gauge(
            "writer_healthy",
            "1 unless a transaction has failed since rows were last stored",
            None,
            self.ingest.is_healthy().into(),
        )?;
        let help = "Rows that the indexes of topics and of time have not taken up yet, by ids";
        gauge("unindexed_rows", help, None, self.ingest.unindexed())?;
        let help = "Rows that no readings have been derived from yet, by ids";
        gauge("unprojected_rows", help, None, self.projection.lag())?;
        let help = "Rows that reproject has not come to yet, by ids; 0 where it is not at work";
        gauge("reproject_rows", help, None, self.projection.rebuild_lag().unwrap_or(0))?;
        gauge("live_readers", "Who follows new rows (GET /dados/ao-vivo)", None, self.live.readers() as u64)?;
        gauge(
            "body_memory",
            "Memory that request bodies hold until they are stored",
            bytes,
            self.memory.held() as u64,
        )?;
        gauge("body_memory_max", "As much may be held", bytes, self.memory.max() as u64)?;
        let (held, max) = self.memory.answers();
        gauge("answer_memory", "Memory that answers hold until clients have taken them", bytes, held as u64)?;
        gauge("answer_memory_max", "As much may be held", bytes, max as u64)?;
        let (database, log) = self.reader.file_bytes();
        gauge("database", "Size of the database's file", bytes, database)?;
        gauge("wal", "Size of its write-ahead log", bytes, log)?;
        let help = "Write-ahead log that grows because a program reads an old state of the database; 0 below 128 MiB";
        gauge("wal_held", help, bytes, self.ingest.held_log_bytes())?;
        if let Some(totals) = self.ledger.known() {
            gauge("producers", "Producers in the ledger", None, totals.total)?;
            gauge("missing_messages", "Messages that no ledger accounts for (faltando)", None, totals.faltando)?;
            let help = "Producers whose ledgers do not come out even, too few or too many";
            gauge("producers_with_difference", help, None, totals.com_diferenca)?;
        }
        Ok(())
    }
}

/// What is counted, for Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "operação",
    responses((status = 200, description = "OpenMetrics 1.0", content_type = "application/openmetrics-text", body = String,
        example = json!(bodies::METRICS)))
)]
pub(crate) async fn scrape(State(app): State<Arc<App>>) -> Response {
    // Collectors cannot wait: what they tell of the ledger is brought up to date before.
    app.ledger.totals().await;
    app.metrics.answer()
}

/// Everything that the API counts.
pub(crate) fn metrics(
    commits: &Commits,
    projections: &Projections,
    deliveries: &Deliveries,
    levels: Levels,
) -> Metrics {
    let mut metrics = Metrics::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    commits.register(metrics.registry());
    projections.register(metrics.registry());
    deliveries.register(metrics.registry());
    levels.register(metrics.registry());
    metrics
}
