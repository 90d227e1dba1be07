//! `/dados`: rows come in and are read back.
//!
//! - [`post`]: the handler of `POST /dados` and its answers
//! - [`created`]: the answer to one row, and its JSON
//! - [`body`]: from a request to bytes, within limits
//! - [`parse`]: from bytes to valid rows, or to the place of the first fault
//! - [`fault`]: what is wrong with a body, and where
//! - [`marks`]: the headers by which a request is told from its own repetition
//! - [`get`]: the handlers of `GET`
//! - [`query`]: what the query string of `GET /dados` may say
//! - [`export`]: the whole selection as a file
//! - [`large`]: a value that is too large for memory, a piece at a time; [`answer`]: what stands around it

mod answer;
pub(crate) mod body;
pub(crate) mod created;
pub(crate) mod export;
pub(crate) mod fault;
pub(crate) mod get;
mod large;
pub(crate) mod marks;
pub(crate) mod parse;
pub(crate) mod post;
pub(crate) mod query;
