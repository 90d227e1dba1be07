//! The ledger of one producer: what it reports, and what the API makes of it.
//!
//! Every message that a producer takes from its broker gets the next sequence, from 1. Each sequence ends up stored, in
//! quarantine, or damaged; until then it waits at the producer. So at any time
//! `recebidas = armazenadas + quarentena + danificadas + esperando`, and whatever is missing from that sum shows.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The longest name of a producer, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest text of a fault, in characters.
pub const FAULT_CHARS_MAX: usize = 500;

/// What a producer knows of itself, as `PUT /produtores/{uuid}` takes it.
///
/// It is sent between two batches, never while one is under way, so that the sums come out even.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Relato {
    /// The highest sequence that was given to a message.
    #[serde(deserialize_with = "crate::whole::required")]
    #[cfg_attr(feature = "openapi", schema(maximum = 9223372036854775807_i64, examples(9)))]
    pub recebidas: u64,
    /// Up to this sequence every message is stored, in quarantine or damaged: none of them is sent again.
    #[serde(deserialize_with = "crate::whole::required")]
    #[cfg_attr(feature = "openapi", schema(maximum = 9223372036854775807_i64, examples(9)))]
    pub confirmadas: u64,
    /// Messages that the API refused for their content, since the producer began; replayed later or not.
    #[serde(deserialize_with = "crate::whole::required")]
    #[cfg_attr(feature = "openapi", schema(maximum = 9223372036854775807_i64, examples(0)))]
    pub quarentena: u64,
    /// Sequences whose messages the producer's disk gave back damaged.
    #[serde(deserialize_with = "crate::whole::required")]
    #[cfg_attr(feature = "openapi", schema(maximum = 9223372036854775807_i64, examples(0)))]
    pub danificadas: u64,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(max_length = 255, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$", examples("estufa"))
    )]
    pub nome: Option<String>,
    /// Absent where a producer has nothing to say of it.
    #[serde(default, deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    pub estado: Option<Estado>,
}

/// serde would take an array of the fields' values for an object.
fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Estado>, D::Error> {
    struct Object;
    impl<'de> Visitor<'de> for Object {
        type Value = Option<Estado>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or null")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Option<Estado>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<Estado>, A::Error> {
            Estado::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Object)
}

/// How a producer is at the moment of its report. It changes nothing in the ledger; pages show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Estado {
    /// Whether it is connected to its broker.
    pub conectado: bool,
    /// Why messages do not come, where they do not: for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(max_length = 500, examples("not authorized")))]
    pub falha: Option<String>,
    /// What waits in its spool and quarantine, in bytes.
    #[serde(deserialize_with = "crate::whole::required")]
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub spool_bytes: u64,
    /// The most that these may be.
    #[serde(deserialize_with = "crate::whole::required")]
    #[cfg_attr(feature = "openapi", schema(examples(1073741824)))]
    pub spool_bytes_max: u64,
}

/// One producer's ledger, as `GET /produtores` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Produtor {
    /// The header `ponte-producer` of its batches.
    #[cfg_attr(feature = "openapi", schema(examples("0190a6f2-7b1c-4c3e-9d7a-2f1b5c8e4a10")))]
    pub produtor: Uuid,
    /// For people.
    #[cfg_attr(feature = "openapi", schema(required, examples("estufa")))]
    pub nome: Option<String>,
    /// The name of the token that it belongs to: no other token can send or report as this producer. Null where access is
    /// anonymous.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(required, examples("subscriber")))]
    pub token: Option<String>,
    /// The highest sequence that it has given to a message, as far as the API knows.
    #[cfg_attr(feature = "openapi", schema(examples(9)))]
    pub recebidas: u64,
    /// Rows in the database.
    #[cfg_attr(feature = "openapi", schema(examples(9)))]
    pub armazenadas: u64,
    /// As last reported.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub quarentena: u64,
    /// As last reported.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub danificadas: u64,
    /// Received and not accounted for yet: they wait in the producer's spool.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub esperando: u64,
    /// Accounted for, but neither stored nor in quarantine nor damaged: above zero where a database was put back from an
    /// older copy, below where rows came in twice. Zero where all is well.
    #[cfg_attr(feature = "openapi", schema(examples(0)))]
    pub faltando: i64,
    /// The highest sequence that the API has stored: the watermark that makes a repetition harmless.
    #[cfg_attr(feature = "openapi", schema(examples(9)))]
    pub ultima_sequencia: u64,
    /// When the API first heard of it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub primeira_vez: Option<Timestamp>,
    /// When the API last heard of it.
    #[cfg_attr(feature = "openapi", schema(required))]
    pub visto_em: Option<Timestamp>,
    /// As last reported since the API was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estado: Option<Estado>,
}
