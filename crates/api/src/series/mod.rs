//! `GET /series`: the numbers of one field over time, a point a step.
//!
//! - [`get`]: the handler
//! - [`query`]: what the query string may say
//! - [`step`]: how long a step is and where it begins; minutes and hours become points
//! - [`csv`]: the answer as a file
//!
//! It reads what the projector has put together by minute and by hour, hence what it has taken up so far.

mod csv;
pub(crate) mod get;
pub(crate) mod query;
pub(crate) mod step;
