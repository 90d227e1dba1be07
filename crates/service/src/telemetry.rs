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
    #[arg(long, env = "LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = log_level)]
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

/// What the filter takes as a level.
const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const LEVEL_EXPECTED: &str =
    "expected error, warn, info, debug, trace, off, or directives such as info,ponte_api=debug";

/// Checks a level or directives. A word alone that is no level is refused: the filter would take it for the name of a
/// module, and be silent about everything else.
pub fn log_level(text: &str) -> Result<String, String> {
    for directive in text.split(',').map(str::trim) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level);
        let is_level = LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level.trim()));
        if !is_level {
            return Err(format!("{level:?} is no level; {LEVEL_EXPECTED}"));
        }
    }
    filter(text).map(|_| text.to_owned()).map_err(|error| format!("{error}; {LEVEL_EXPECTED}"))
}

fn filter(text: &str) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    EnvFilter::builder().parse(text)
}

/// rumqttc logs packets as the broker sent them, of any length and number. What matters of them the subscriber says.
const SILENT: &str = "rumqttc=off";

/// Starts logging for the whole process; call it once.
pub fn init(settings: &LogSettings) -> Result<(), Fatal> {
    let filter = filter(&settings.log_level)
        .map_err(|error| Fatal::setting("LOG_LEVEL", format_args!("{error}; {LEVEL_EXPECTED}")))?;
    let is_named = settings.log_level.contains("rumqttc");
    let filter =
        if is_named { filter } else { filter.add_directive(SILENT.parse().expect("a directive of tracing's form")) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for good in
            ["info", "WARN", "off", "info,ponte_api=debug", "ponte_api=debug, warn", "info,rumqttd=off", "a[b]=trace"]
        {
            assert_eq!(log_level(good), Ok(good.to_owned()));
        }
        for bad in ["verbose", "", "info,verbose", "ponte_api", "ponte_api=verbose", "info,", "a=b=c", "3"] {
            assert!(log_level(bad).is_err_and(|error| error.contains("expected error, warn")), "{bad}");
        }
    }
}
