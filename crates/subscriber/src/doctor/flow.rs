//! How many messages come, and how large they are: as the subscriber counts, or as the API has stored.

use dados::{Dado, Timestamp};
use service::doctor::words::span;

/// A subscriber that has just started is still catching up.
const UPTIME_MIN_S: f64 = 60.0;

/// How many messages come, and who says so.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Flow {
    pub(super) per_second: f64,
    pub(super) source: String,
}

/// The mean of topic and payload together, and who says so.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weight {
    pub(super) bytes: f64,
    pub(super) source: String,
}

impl Flow {
    /// What a running subscriber has captured since its start; none where that was a moment ago.
    pub(super) fn of_metrics(text: &str, now_ms: i64) -> Option<Self> {
        let sample = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let captured = sample("ponte_subscriber_captured_total ")?;
        let up_s = now_ms as f64 / 1e3 - sample("process_start_time_seconds ")?;
        let source = format!("counted by the running subscriber since its start, {} ago", span(up_s));
        (up_s >= UPTIME_MIN_S && captured > 0.0).then(|| Self { per_second: captured / up_s, source })
    }

    /// What the API has stored lately, up to now: a flow that has stopped counts less and less.
    pub(super) fn of_rows(rows: &[Dado], now_ms: i64) -> Option<Self> {
        let times = rows.iter().filter_map(|row| row.timestamp.as_deref()?.parse::<Timestamp>().ok());
        let elapsed_s = (now_ms - times.map(Timestamp::as_ms).min()?) as f64 / 1e3;
        // Clocks that differ leave nothing to count by.
        (elapsed_s > 0.0).then(|| Self {
            per_second: rows.len() as f64 / elapsed_s,
            source: format!(
                "the newest {} that the API has stored, from all senders, in {}",
                rows.len(),
                span(elapsed_s)
            ),
        })
    }
}

impl Weight {
    /// The mean of the same rows.
    pub(super) fn of_rows(rows: &[Dado]) -> Option<Self> {
        let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let all: usize = rows.iter().map(|row| bytes(&row.valor) + bytes(&row.topico)).sum();
        (!rows.is_empty()).then(|| Self {
            bytes: all as f64 / rows.len() as f64,
            source: "the mean of the newest that the API has stored".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(timestamp: &str, valor: &str) -> Dado {
        serde_json::from_value(serde_json::json!({"id": 1, "topico": "t", "valor": valor, "timestamp": timestamp}))
            .unwrap()
    }

    #[test]
    fn a_subscribers_counters_are_read_by_their_names() {
        let text = "# HELP ponte_subscriber_captured_total x\nponte_subscriber_captured_total 1200\n\
                    process_start_time_seconds 1000.5\n";
        let flow = Flow::of_metrics(text, 1_100_500).unwrap();
        assert_eq!(flow.per_second, 12.0);
        assert!(flow.source.contains("100 s ago"), "{flow:?}");
        for (text, now_ms) in [
            (text, 1_030_000),
            ("", 1_100_500),
            ("ponte_subscriber_captured_total 0\nprocess_start_time_seconds 1\n", 1_100_500),
        ] {
            assert_eq!(Flow::of_metrics(text, now_ms), None);
        }
    }

    #[test]
    fn rows_tell_rate_and_size() {
        let rows = [row("1970-01-01T00:00:10.000Z", "12345"), row("1970-01-01T00:00:05.000Z", "123"), row("?", "1")];
        let flow = Flow::of_rows(&rows, 15_000).unwrap();
        assert_eq!(flow.per_second, 0.3);
        assert_eq!(Weight::of_rows(&rows).unwrap().bytes, 4.0);
        assert_eq!(Flow::of_rows(&rows, 5_000), None);
        assert_eq!(Flow::of_rows(&[], 5_000), None);
        assert_eq!(Weight::of_rows(&[]), None);
    }
}
