//! The wire types that the subscriber and the API share: what is posted, what is read back, and how times are written.
//!
//! - [`novo`]: [`NovoDado`], one posted message, and the headers that mark a producer's batch
//! - [`dado`]: [`Dado`], one stored row, and [`Inseridos`], the answer to a batch
//! - [`produtor`]: [`Produtor`], the ledger of a producer, and [`Relato`], what it reports of itself
//! - [`timestamp`]: [`Timestamp`], a moment in milliseconds, and its two text forms
//! - [`problem`]: [`Problem`], the RFC 9457 error body
//! - [`topic`]: MQTT's rules for topic names and filters

pub mod dado;
pub mod novo;
pub mod problem;
pub mod produtor;
pub mod timestamp;
pub mod topic;

pub use dado::{Dado, Inseridos};
pub use novo::{Formato, NovoDado, Valor};
pub use problem::Problem;
pub use produtor::{Produtor, Relato};
pub use timestamp::Timestamp;
