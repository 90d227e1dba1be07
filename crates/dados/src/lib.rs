//! The wire types that the subscriber and the API share: what is posted, what is read back, and how times are written.
//!
//! - [`novo`]: [`NovoDado`], one posted message, and the headers that mark a producer's batch
//! - [`dado`]: [`Dado`], one stored row, and [`Inseridos`], the answer to a batch
//! - [`produtor`]: [`Produtor`], the ledger of a producer, and [`Relato`], what it reports of itself
//! - [`topico`]: [`Topico`], a topic with its newest message and its fields
//! - [`serie`]: [`Serie`], one field over time
//! - [`timestamp`]: [`Timestamp`], a moment in milliseconds, and its two text forms
//! - [`problem`]: [`Problem`], the RFC 9457 error body
//! - [`whole`]: integers as JSON Schema has them
//! - [`topic`]: MQTT's rules for topic names and filters

pub mod dado;
pub mod novo;
pub mod problem;
pub mod produtor;
pub mod serie;
pub mod timestamp;
pub mod topic;
pub mod topico;
pub mod whole;

pub use dado::{Dado, Inseridos};
pub use novo::{Formato, NovoDado, Valor};
pub use problem::Problem;
pub use produtor::{Estado, Produtor, Relato};
pub use serie::{Ponto, Serie};
pub use timestamp::Timestamp;
pub use topico::{Campo, Topico};
