//! What both binaries' mains share.
//!
//! - [`launch`]: from the command line to the exit code
//! - [`settings`]: flags = environment = `.env`, one error line that names the variable; [`env_file`]: how `.env` is read
//! - [`telemetry`]: logs as text or JSON
//! - [`mod@file`]: how files that settings name are read
//! - [`http`]: serves a router within limits, plainly or with TLS
//! - [`metrics`]: what both count, and the answer of `/metrics`
//! - [`shutdown`]: signals become one cancellation token
//! - [`exit`]: which exit code says what; [`causes()`]: an error on one line; [`shown()`]: a peer's text, cut and escaped
//! - [`mod@ask`]: asks a server of ours on this machine; [`clock`]: the time since the boot
//! - [`commands`]: what the subcommands check and health have in common; [`doctor`]: what check finds

pub mod ask;
mod causes;
pub mod clock;
pub mod commands;
pub mod doctor;
pub mod env_file;
pub mod exit;
pub mod file;
pub mod http;
pub mod launch;
pub mod metrics;
pub mod settings;
mod shown;
pub mod shutdown;
pub mod telemetry;

pub use causes::causes;
pub use exit::{Exit, Fatal};
pub use shown::{SHOWN_CHARS_MAX, shown};
