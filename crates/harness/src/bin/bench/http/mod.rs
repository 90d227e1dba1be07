//! `POST /dados` without MQTT: one row a request, and many.
//!
//! - [`single`]: one row a request, against a handler that stores nothing ([`empty`])
//! - [`bulk`]: many rows a request, against a loop of prepared inserts without HTTP ([`bare`])
//! - [`load`]: the closed loop that sends the requests; [`answer`]: what it reads of an answer

mod answer;
mod bare;
pub(crate) mod bulk;
pub(crate) mod empty;
mod load;
pub(crate) mod single;

use std::net::SocketAddr;

pub(crate) use self::load::Latency;

/// What one round has measured, both sides in the order asked.
pub(crate) struct Figures {
    /// Rows a second: stored durably and answered.
    pub(crate) ours: f64,
    /// Rows a second of the reference.
    pub(crate) reference: f64,
    /// What a request took at ours.
    pub(crate) ours_latency: Latency,
    /// What a request took at the reference, where it takes requests.
    pub(crate) reference_latency: Option<Latency>,
    /// Seconds of processor time while the clock ran, by who had them.
    pub(crate) usage: Vec<(&'static str, f64)>,
}

/// A whole request, its body as it is.
fn request(host: SocketAddr, media_type: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST /dados HTTP/1.1\r\nhost: {host}\r\ncontent-type: {media_type}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}
