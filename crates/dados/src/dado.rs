//! One stored row as `GET /dados` shows it, and the answer to a batch.

use serde::{Deserialize, Serialize};

/// A stored row. What came by no MQTT message has no `qos`, `retido` or `dup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dado {
    /// Grows by one a row, in the order of storing.
    #[cfg_attr(feature = "openapi", schema(examples(1)))]
    pub id: i64,
    /// The topic; null for rows of the seed's script.
    #[cfg_attr(feature = "openapi", schema(required, examples("casa/sala")))]
    pub topico: Option<String>,
    /// Exactly what is stored; null only where another program stored null.
    #[cfg_attr(feature = "openapi", schema(required, examples("23.5")))]
    pub valor: Option<String>,
    /// RFC 3339, UTC, milliseconds; null only where another program stored null.
    #[cfg_attr(feature = "openapi", schema(required, examples("2026-11-23T03:21:45.678Z")))]
    pub timestamp: Option<String>,
    /// MQTT's quality of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, examples(1)))]
    pub qos: Option<i64>,
    /// Sent by the broker as a retained message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, examples(false)))]
    pub retido: Option<bool>,
    /// May repeat another row (MQTT's DUP flag).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, examples(false)))]
    pub dup: Option<bool>,
    /// `base64` where the payload was no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub formato: Option<String>,
    /// The message was captured before the clock was set, and `timestamp` was corrected once it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub hora_corrigida: Option<bool>,
}

/// The answer to a batch. A batch that inserted nothing has no ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Inseridos {
    /// Rows stored now.
    #[cfg_attr(feature = "openapi", schema(examples(2)))]
    pub inseridos: u64,
    /// Rows skipped, because the producer had stored them before.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub duplicados: u64,
    /// The first new row.
    #[cfg_attr(feature = "openapi", schema(required, examples(1)))]
    pub primeiro_id: Option<i64>,
    /// The last new row; those between belong to this batch too.
    #[cfg_attr(feature = "openapi", schema(required, examples(2)))]
    pub ultimo_id: Option<i64>,
}
