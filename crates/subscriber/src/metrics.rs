//! What the subscriber counts, for `/metrics`; nothing is labelled by topic or device.

use std::sync::Arc;
use std::time::Duration;

use dados::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use service::metrics::Metrics;

use crate::status::Status;

const PREFIX: &str = "ponte_subscriber";
/// Upper bounds of a commit's duration, to the end of the sync: from a good SSD to a card that is failing.
const COMMIT_BUCKETS_S: [f64; 12] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];
/// Upper bounds of a commit's messages.
const MESSAGES_BUCKETS: [f64; 9] = [0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 8192.0];
/// Upper bounds of a request's duration, to the end of the answer.
const REQUEST_BUCKETS_S: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0];

/// Counters and histograms: atomics, and a lock for each histogram that nobody else wants.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) received: Counter,
    pub(crate) repeated: Counter,
    pub(crate) retained_skipped: Counter,
    pub(crate) acknowledged: Counter,
    pub(crate) connects: Counter,
    pub(crate) sessions_lost: Counter,
    captured: Counter,
    pub(crate) commits_failed: Counter,
    commit_duration: Histogram,
    commit_messages: Histogram,
    pub(crate) delivered: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) renamed: Counter,
    requests: Family<[(&'static str, &'static str); 1], Counter>,
    request_duration: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            repeated: Counter::default(),
            retained_skipped: Counter::default(),
            acknowledged: Counter::default(),
            connects: Counter::default(),
            sessions_lost: Counter::default(),
            captured: Counter::default(),
            commits_failed: Counter::default(),
            commit_duration: Histogram::new(COMMIT_BUCKETS_S),
            commit_messages: Histogram::new(MESSAGES_BUCKETS),
            delivered: Counter::default(),
            duplicates: Counter::default(),
            renamed: Counter::default(),
            requests: Family::default(),
            request_duration: Histogram::new(REQUEST_BUCKETS_S),
        }
    }
}

impl Counts {
    /// A commit of so many messages is durable.
    pub(crate) fn committed(&self, messages: u64, elapsed: Duration) {
        self.captured.inc_by(messages);
        self.commit_messages.observe(messages as f64);
        self.commit_duration.observe(elapsed.as_secs_f64());
    }

    /// A batch was posted: taken, refused, or failed.
    pub(crate) fn requested(&self, outcome: &'static str, elapsed: Duration) {
        self.requests.get_or_create(&[("outcome", outcome)]).inc();
        self.request_duration.observe(elapsed.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix(PREFIX);
        for (name, help, counter) in [
            ("received", "Messages that the broker sent", &self.received),
            ("repeated", "Messages that were stored already, and only acknowledged again", &self.repeated),
            ("retained_skipped", "Retained messages that MQTT_RETAINED leaves out", &self.retained_skipped),
            ("acknowledged", "Acknowledgements (PUBACK, PUBREC) that were due after a commit", &self.acknowledged),
            ("connects", "Connections that the broker accepted", &self.connects),
            ("sessions_lost", "Times that the broker had forgotten the session", &self.sessions_lost),
            ("captured", "Messages that became durable in the spool", &self.captured),
            ("commits_failed", "Commits that the disk or SPOOL_MAX_BYTES refused, each attempt", &self.commits_failed),
            ("delivered", "Messages that the API stored", &self.delivered),
            ("duplicates_dropped", "Messages that the API had stored before", &self.duplicates),
            ("renamed", "Times that another copy of the spool was found at work", &self.renamed),
        ] {
            registry.register(name, help, counter.clone());
        }
        let help = "How long commits took, until they were durable";
        registry.register_with_unit("commit_duration", help, Unit::Seconds, self.commit_duration.clone());
        registry.register("commit_messages", "Messages that one commit stored", self.commit_messages.clone());
        // There from the start, so that the first failure is an increase.
        for outcome in ["taken", "refused", "failed"] {
            drop(self.requests.get_or_create(&[("outcome", outcome)]));
        }
        registry.register("api_requests", "Batches posted, by outcome: taken, refused, failed", self.requests.clone());
        let help = "How long the API took to answer a batch";
        registry.register_with_unit("api_request_duration", help, Unit::Seconds, self.request_duration.clone());
    }
}

/// What is looked at when somebody asks.
#[derive(Debug)]
struct Levels(Arc<Status>);

impl Collector for Levels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, unit: Option<&Unit>, value: f64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, unit, metric.metric_type())?)
        };
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        let levels = self.0.levels();
        let usage = levels.usage;
        let age_ms = usage.oldest_ms.map_or(0, |oldest| (Timestamp::now().as_ms() - oldest).max(0));
        gauge("ready", "1 if messages are taken and kept", None, f64::from(levels.ready))?;
        gauge("broker_connected", "1 if the broker is connected", None, f64::from(levels.connected))?;
        gauge("spool", "Segments and quarantine", bytes, usage.bytes as f64)?;
        gauge("spool_max", "SPOOL_MAX_BYTES", bytes, usage.bytes_max as f64)?;
        gauge("spool_waiting", "Messages that wait for the API", None, usage.waiting as f64)?;
        gauge("spool_oldest_age", "Age of the oldest message that waits", seconds, age_ms as f64 / 1e3)?;
        gauge("sequence", "The highest sequence given to a message", None, (usage.next_sequence - 1) as f64)?;
        gauge("quarantined", "Messages in quarantine now", None, levels.quarantined as f64)?;
        gauge("damaged", "Messages that the disk gave back damaged", None, usage.progress.damaged as f64)?;
        if let Some(missing) = levels.missing {
            gauge("missing_messages", "What the API's ledger misses of this producer", None, missing as f64)?;
        }
        Ok(())
    }
}

/// Everything that `/metrics` tells.
pub(crate) fn metrics(status: &Arc<Status>) -> Metrics {
    let mut metrics = Metrics::new("ponte-subscriber", env!("CARGO_PKG_VERSION"));
    let registry = metrics.registry();
    status.counts.register(registry);
    registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(Levels(status.clone())));
    metrics
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::spool::{self, Durability, Entry, Message};

    /// An outage that began before this process did is as old as the oldest message that waits.
    #[test]
    fn what_waits_has_an_age_before_the_api_was_reached() {
        let dir = tempfile::tempdir().unwrap();
        let settings =
            spool::Settings { dir: dir.path().to_owned(), bytes_max: 1 << 20, durability: Durability::Write };
        let (mut writer, _reader, gauge, _) = spool::open(settings).unwrap();
        let message = Message {
            topic: Bytes::from_static(b"t"),
            payload: Bytes::new(),
            qos: 1,
            retain: false,
            dup: false,
            captured_ms: Timestamp::now().as_ms() - 3_600_000,
            clock: Default::default(),
        };
        writer.append([Entry::Message(&message)].into_iter()).unwrap();
        let levels = Status::new(gauge).levels();
        assert_eq!(levels.usage.waiting, 1);
        assert!(levels.usage.oldest_ms.is_some(), "spool_oldest_age is 0 seconds, though a message waits for an hour");
    }
}
