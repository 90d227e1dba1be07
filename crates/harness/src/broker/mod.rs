//! Brokers to run the system against.
//!
//! - [`mosquitto`]: an installed one, as a child process
//! - `embedded`: one inside this process, for machines without mosquitto (feature `embedded-broker`)

#[cfg(feature = "embedded-broker")]
pub mod embedded;
pub mod mosquitto;
