//! Brokers to run the system against.
//!
//! - [`mosquitto`]: an installed one, as a child process
//! - `embedded`: one inside this process, for machines without mosquitto (feature `embedded-broker`)
//! - [`scripted`]: one that says to the subscriber whatever a test's script has it say

#[cfg(feature = "embedded-broker")]
pub mod embedded;
pub mod mosquitto;
pub mod scripted;
