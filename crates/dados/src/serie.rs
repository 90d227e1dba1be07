//! One field over time, a point a step, as `GET /series` shows it.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The numbers of a topic's field, from `desde` to before `ate`, both on a step's edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Serie {
    /// Null for the messages without a topic.
    pub topico: Option<String>,
    /// `valor` where the messages have no fields.
    pub campo: String,
    /// The length of a step: `1m`, `5m`, `15m`, `1h`, `6h` or `1d`.
    pub passo: String,
    /// The beginning of the first step.
    pub desde: Timestamp,
    /// The end of the last one.
    pub ate: Timestamp,
    /// In the order of time; a step without readings has none.
    pub pontos: Vec<Ponto>,
}

/// The readings of one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ponto {
    /// The beginning of the step.
    pub inicio: Timestamp,
    /// How many readings.
    pub n: u64,
    /// Null where their sum is larger than a number can be.
    pub media: Option<f64>,
    /// The least of them.
    pub minimo: f64,
    /// The largest of them.
    pub maximo: f64,
}
