//! From the command line to the exit code: what every `main` here does.

use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Parser;

use crate::commands::print;
use crate::settings::{self, Parsed, Stop};
use crate::{Exit, Fatal};

/// How long threads that are still at work may hold up the end, once everything has had its time to drain.
const RUNTIME_GRACE: Duration = Duration::from_secs(2);

/// Reads the settings, hands them to `start`, and makes its result the exit code; a failure is one line on standard error.
pub fn launch<T: Parser>(start: impl FnOnce(Parsed<T>) -> Result<(), Fatal>) -> ExitCode {
    let result = match settings::parse::<T>() {
        Ok(parsed) => start(parsed),
        Err(Stop::Failed(fatal)) => Err(fatal),
        Err(Stop::Shown(text)) => {
            print(&text);
            Ok(())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fatal) => {
            eprintln!("error: {fatal}");
            ExitCode::from(fatal.exit as u8)
        }
    }
}

/// What tokio asks for the number of workers by itself.
const WORKERS_VARIABLE: &str = "TOKIO_WORKER_THREADS";

/// Runs `future` on a runtime of its own, which ends with it though some thread may hang.
pub fn block_on(future: impl Future<Output = Result<(), Fatal>>) -> Result<(), Fatal> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os(WORKERS_VARIABLE).is_none() {
        builder.worker_threads(workers(available_parallelism().map_or(1, NonZero::get)));
    }
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(RUNTIME_GRACE);
    result
}

/// One processor is left to the thread that each program has beside these and that is as busy: SQLite's, or rumqttc's.
/// With a worker for each processor they would take turns with it, and spend the rest waking and robbing each other.
fn workers(processors: usize) -> usize {
    processors.saturating_sub(1).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_worker_and_a_processor_beside_it() {
        assert_eq!([1, 2, 3, 4, 64].map(workers), [1, 1, 2, 3, 63]);
    }
}
