//! One stored row as `GET /dados` shows it, and the answer to a batch.

use serde::{Deserialize, Serialize};

/// A stored row. What came by no MQTT message has no `qos`, `retido` or `dup`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dado {
    /// Grows by one a row, in the order of storing.
    pub id: i64,
    /// The topic; null for rows of the seed's script.
    pub topico: Option<String>,
    /// Exactly what is stored; null only where another program stored null.
    pub valor: Option<String>,
    /// RFC 3339, UTC, milliseconds; null only where another program stored null.
    pub timestamp: Option<String>,
    /// MQTT's quality of service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<i64>,
    /// Sent by the broker as a retained message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retido: Option<bool>,
    /// May repeat another row (MQTT's DUP flag).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dup: Option<bool>,
    /// `base64` where the payload was no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub formato: Option<String>,
}

/// The answer to a batch. A batch that inserted nothing has no ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inseridos {
    /// Rows stored now.
    pub inseridos: u64,
    /// Rows skipped, because the producer had stored them before.
    pub duplicados: u64,
    /// The first new row.
    pub primeiro_id: Option<i64>,
    /// The last new row; those between belong to this batch too.
    pub ultimo_id: Option<i64>,
}
