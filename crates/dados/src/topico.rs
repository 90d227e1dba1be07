//! One topic with its newest message and its fields, as `GET /topicos` shows it.

use serde::{Deserialize, Serialize};

/// A topic that has had messages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Topico {
    /// Null for the messages without a topic, all of them together.
    #[cfg_attr(feature = "openapi", schema(required, examples("casa/sala")))]
    pub topico: Option<String>,
    /// How many there have been.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub mensagens: u64,
    /// The message that arrived last, of those whose time is at most 5 min ahead of the API's clock; where there is none,
    /// of all.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub ultimo_id: i64,
    /// At most its first 1,024 characters.
    #[cfg_attr(feature = "openapi", schema(required, examples("{\"temperatura\": 21.5}")))]
    pub ultimo_valor: Option<String>,
    /// Where the whole message is a number.
    #[cfg_attr(feature = "openapi", schema(required, examples(json!(null))))]
    pub ultimo_numero: Option<f64>,
    /// RFC 3339, UTC, milliseconds.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:45.678Z")))]
    pub ultimo_timestamp: String,
    /// The device's clock less ours, in milliseconds; null where no message has had the device's time.
    #[cfg_attr(feature = "openapi", schema(required, examples(-120)))]
    pub desvio_ms: Option<i64>,
    /// Messages in which the device's time was looked for and could not be read.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub sem_hora: u64,
    /// By name.
    pub campos: Vec<Campo>,
}

/// The newest reading of one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Campo {
    /// `valor` where the message has no fields.
    #[cfg_attr(feature = "openapi", schema(examples("temperatura")))]
    pub campo: String,
    /// None where it is no number.
    #[cfg_attr(feature = "openapi", schema(required, examples(21.5)))]
    pub numero: Option<f64>,
    /// What is no number, or the digits of a number that `numero` cannot hold exactly; at most its first 1,024
    /// characters.
    #[cfg_attr(feature = "openapi", schema(required, examples(json!(null))))]
    pub texto: Option<String>,
    /// RFC 3339, UTC, milliseconds.
    #[cfg_attr(feature = "openapi", schema(examples("2026-11-23T03:21:45.678Z")))]
    pub timestamp: String,
    /// How many there have been.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub leituras: u64,
}
