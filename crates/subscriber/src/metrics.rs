//! What the subscriber counts, for `/metrics`; nothing is labelled by topic or device.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// Seconds of one commit, from writing to the end of the sync.
const COMMIT_SECONDS: [f64; 12] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];
/// Messages of one commit.
const COMMIT_MESSAGES: [f64; 10] = [0.0, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 2048.0, 4096.0, 8192.0];

/// Counters of this process, and histograms.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// PUBLISH packets.
    pub received: Counter,
    /// Those that were stored already, or will be: acknowledged only.
    pub repeated: Counter,
    /// Retained messages that MQTT_RETAINED leaves out.
    pub retained_skipped: Counter,
    /// PUBACK and PUBREC handed to the connection.
    pub acknowledged: Counter,
    /// Messages that are durable in the spool.
    pub captured: Counter,
    /// Connections that the broker accepted.
    pub connects: Counter,
    /// Times that the broker had forgotten the session.
    pub sessions_lost: Counter,
    /// Commits that the disk or the limit refused, attempts included.
    pub commit_failures: Counter,
    /// Messages that the API has stored for us.
    pub delivered: Counter,
    /// Messages that the API had stored before.
    pub duplicates: Counter,
    /// Requests to the API that failed and are tried again.
    pub delivery_failures: Counter,
    /// Times that another copy of the spool made this one take a new name.
    pub renamed: Counter,
    /// Duration of a commit.
    pub commit_seconds: Histogram,
    /// Messages of a commit.
    pub commit_messages: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            received: Counter::default(),
            repeated: Counter::default(),
            retained_skipped: Counter::default(),
            acknowledged: Counter::default(),
            captured: Counter::default(),
            connects: Counter::default(),
            sessions_lost: Counter::default(),
            commit_failures: Counter::default(),
            delivered: Counter::default(),
            duplicates: Counter::default(),
            delivery_failures: Counter::default(),
            renamed: Counter::default(),
            commit_seconds: Histogram::new(COMMIT_SECONDS),
            commit_messages: Histogram::new(COMMIT_MESSAGES),
        }
    }
}
