//! `POST /dados` without MQTT: one row a request, and many.
//!
//! - [`single`]: one row a request, against a handler that stores nothing ([`empty`])
//! - [`bulk`]: many rows a request, against a loop of prepared inserts without HTTP ([`bare`])
//! - [`live`]: one row a request while a thousand follow new rows, against the same while nobody does
//! - [`turn`]: which side has the machine when
//! - [`load`]: the closed loop that sends the requests; [`answer`]: what it reads of an answer; [`poll`]: looks for rows

mod answer;
mod bare;
pub(crate) mod bulk;
pub(crate) mod empty;
pub(crate) mod live;
mod load;
pub(crate) mod poll;
pub(crate) mod single;
mod turn;

use std::net::SocketAddr;

use self::load::Latency;
use crate::table::{Limit, Row, Table};

/// What one round has measured, both sides in the order asked.
struct Figures {
    /// Rows a second: stored durably and answered.
    ours: f64,
    /// Rows a second of the reference.
    reference: f64,
    /// What a request took at ours.
    ours_latency: Latency,
    /// What a request took at the reference, where it takes requests.
    reference_latency: Option<Latency>,
    /// Microseconds of processor time a row, by who had them.
    cpu_us: Vec<(&'static str, f64)>,
}

impl Figures {
    fn summary(&self) -> String {
        format!("{:.0} rows/s, reference {:.0}, {:.2} ×", self.ours, self.reference, self.ours / self.reference)
    }
}

/// Puts the rounds into the table.
fn tell(table: &mut Table, of: &'static str, work: String, reference: &'static str, limit: Limit, rounds: &[Figures]) {
    let pairs: Vec<_> = rounds.iter().map(|round| (round.ours, round.reference)).collect();
    table.push(Row::rates(work, "rows/s", reference, &pairs, limit));
    let latency = |name: &str, percent: u8| format!("{name}: p{percent} of a request, ms");
    let each = |figure: fn(&Figures) -> f64| rounds.iter().map(figure);
    table.explain(of, latency("ponte-api", 50), each(|round| round.ours_latency.p50_ms));
    table.explain(of, latency("ponte-api", 99), each(|round| round.ours_latency.p99_ms));
    let theirs: Vec<Latency> = rounds.iter().filter_map(|round| round.reference_latency).collect();
    if !theirs.is_empty() {
        table.explain(of, latency(reference, 50), theirs.iter().map(|latency| latency.p50_ms));
        table.explain(of, latency(reference, 99), theirs.iter().map(|latency| latency.p99_ms));
    }
    for (index, (name, _)) in rounds.first().map(|round| round.cpu_us.as_slice()).unwrap_or_default().iter().enumerate()
    {
        table.explain(of, format!("{name}: CPU µs a row"), rounds.iter().map(|round| round.cpu_us[index].1));
    }
}

/// A whole request, its body as it is.
fn request(host: SocketAddr, media_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /dados HTTP/1.1\r\nhost: {host}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
