//! `/produtores`: what became of every message that each producer received.
//!
//! - [`put`]: the handler of `PUT`, by which a producer reports
//! - [`report`]: from bytes to a valid report, or to the place of the first fault
//! - [`get`]: the handlers of `GET`
//! - [`totals`]: what is said of all producers together
//! - [`vitals`]: how each was at its last report

pub(crate) mod get;
pub(crate) mod put;
mod report;
pub(crate) mod totals;
pub(crate) mod vitals;
