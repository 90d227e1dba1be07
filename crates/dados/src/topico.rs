//! One topic with its newest message and its fields, as `GET /topicos` shows it.

use serde::{Deserialize, Serialize};

/// A topic that has had messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Topico {
    /// Null for the messages without a topic, all of them together.
    pub topico: Option<String>,
    /// How many there have been.
    pub mensagens: u64,
    /// The newest by the time of its capture.
    pub ultimo_id: i64,
    /// At most its first 1,024 characters.
    pub ultimo_valor: Option<String>,
    /// Where the whole message is a number.
    pub ultimo_numero: Option<f64>,
    /// RFC 3339, UTC, milliseconds.
    pub ultimo_timestamp: String,
    /// The device's clock less ours, in milliseconds; null where no message has had the device's time.
    pub desvio_ms: Option<i64>,
    /// Messages in which the device's time was looked for and could not be read.
    pub sem_hora: u64,
    /// By name.
    pub campos: Vec<Campo>,
}

/// The newest reading of one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Campo {
    /// `valor` where the message has no fields.
    pub campo: String,
    /// None where it is no number.
    pub numero: Option<f64>,
    /// What is no number, or the digits of a number that `numero` cannot hold exactly; at most its first 1,024
    /// characters.
    pub texto: Option<String>,
    /// RFC 3339, UTC, milliseconds.
    pub timestamp: String,
    /// How many there have been.
    pub leituras: u64,
}
