//! Logs on standard error, as text or as JSON lines.

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::Fatal;

/// The settings of logging, the same for both binaries.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// Form of the log lines on standard error
    #[arg(long, env = "LOG_FORMAT", value_name = "FORM", default_value = "text")]
    pub log_format: LogFormat,
    /// Least severe level, or tracing directives such as info,ponte_api=debug
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging for the whole process; call it once.
pub fn init(settings: &LogSettings) -> Result<(), Fatal> {
    let filter = EnvFilter::builder().parse(&settings.log_level).map_err(|error| {
        Fatal::setting("LOG_LEVEL", format_args!("{error}; expected error, warn, info, debug, trace or directives"))
    })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_span_events(FmtSpan::NONE)
        // It would tell of a closed standard error on standard error, and panic: `2>&1 | head` must not end a task.
        .log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => subscriber.with_target(false).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}
