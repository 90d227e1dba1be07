//! What both binaries' mains share.
//!
//! - [`settings`]: flags = environment = `.env`, one error line that names the variable
//! - [`telemetry`]: logs as text or JSON
//! - [`shutdown`]: signals become one cancellation token
//! - [`exit`]: which exit code says what

pub mod exit;
pub mod settings;
pub mod shutdown;
pub mod telemetry;

pub use exit::{Exit, Fatal};
