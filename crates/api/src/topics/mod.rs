//! `GET /topicos`: every topic with its newest message and the newest reading of each field.
//!
//! - [`get`]: the handler
//! - [`query`]: what the query string may say, and the link to the next page
//!
//! What it shows is what the projector has taken up so far.

pub(crate) mod get;
pub(crate) mod query;
