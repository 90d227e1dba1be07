//! The ledger of one producer: what it reports, and what the API makes of it.
//!
//! Every message that a producer takes from its broker gets the next sequence, from 1. Each sequence ends up stored, in
//! quarantine, or damaged; until then it waits at the producer. So at any time
//! `recebidas = armazenadas + quarentena + danificadas + esperando`, and whatever is missing from that sum shows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// The longest name of a producer, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// The longest text of a fault, in bytes.
pub const FAULT_BYTES_MAX: usize = 500;

/// What a producer knows of itself, as `PUT /produtores/{uuid}` takes it.
///
/// It is sent between two batches, never while one is under way, so that the sums come out even.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relato {
    /// The highest sequence that was given to a message.
    pub recebidas: u64,
    /// Up to this sequence every message is stored, in quarantine or damaged: none of them is sent again.
    pub confirmadas: u64,
    /// Messages that the API refused for their content, since the producer began; replayed later or not.
    pub quarentena: u64,
    /// Sequences whose messages the producer's disk gave back damaged.
    pub danificadas: u64,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nome: Option<String>,
    /// Absent where a producer has nothing to say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estado: Option<Estado>,
}

/// How a producer is at the moment of its report. It changes nothing in the ledger; pages show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estado {
    /// Whether it is connected to its broker.
    pub conectado: bool,
    /// Why messages do not come, where they do not: for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub falha: Option<String>,
    /// What waits in its spool and quarantine, in bytes.
    pub spool_bytes: u64,
    /// The most that these may be.
    pub spool_bytes_max: u64,
}

/// One producer's ledger, as `GET /produtores` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Produtor {
    /// The header `ponte-producer` of its batches.
    pub produtor: Uuid,
    /// For people.
    pub nome: Option<String>,
    /// The highest sequence that it has given to a message, as far as the API knows.
    pub recebidas: u64,
    /// Rows in the database.
    pub armazenadas: u64,
    /// As last reported.
    pub quarentena: u64,
    /// As last reported.
    pub danificadas: u64,
    /// Received and not accounted for yet: they wait in the producer's spool.
    pub esperando: u64,
    /// Accounted for, but neither stored nor in quarantine nor damaged: above zero where a database was put back from an
    /// older copy, below where rows came in twice. Zero where all is well.
    pub faltando: i64,
    /// The highest sequence that the API has stored: the watermark that makes a repetition harmless.
    pub ultima_sequencia: u64,
    /// When the API first heard of it.
    pub primeira_vez: Option<Timestamp>,
    /// When the API last heard of it.
    pub visto_em: Option<Timestamp>,
    /// As last reported since the API was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estado: Option<Estado>,
}
