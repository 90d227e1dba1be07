//! From stored messages to what charts read: each step is a pure function in a file of its own.

pub mod device_time;
pub(crate) mod fields;
