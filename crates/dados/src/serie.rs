//! One field over time, a point a step, as `GET /series` shows it.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// The numbers of a topic's field, from `desde` to before `ate`, both on a step's edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Serie {
    /// Null for the messages without a topic.
    #[cfg_attr(feature = "openapi", schema(required, examples("casa/sala")))]
    pub topico: Option<String>,
    /// `valor` where the messages have no fields.
    #[cfg_attr(feature = "openapi", schema(examples("temperatura")))]
    pub campo: String,
    /// The length of a step: `1m`, `5m`, `15m`, `1h`, `6h` or `1d`.
    #[cfg_attr(feature = "openapi", schema(examples("1h")))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ponto {
    /// The beginning of the step.
    pub inicio: Timestamp,
    /// How many readings.
    #[cfg_attr(feature = "openapi", schema(examples(60)))]
    pub n: u64,
    /// Null where their sum is larger than a number can be.
    #[cfg_attr(feature = "openapi", schema(required, examples(21.4)))]
    pub media: Option<f64>,
    /// The least of them.
    #[cfg_attr(feature = "openapi", schema(examples(20.9)))]
    pub minimo: f64,
    /// The largest of them.
    #[cfg_attr(feature = "openapi", schema(examples(22.0)))]
    pub maximo: f64,
}
