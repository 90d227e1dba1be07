//! From the command line to the exit code: what every `main` here does.

use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::Builder;

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

/// Runs `future` on a runtime of its own, which ends with it though some thread may hang.
pub fn block_on(future: impl Future<Output = Result<(), Fatal>>) -> Result<(), Fatal> {
    run(&mut Builder::new_multi_thread(), future)
}

/// The same with one thread fewer than processors, if there are several: for a program whose requests all wait for a
/// thread of another kind, which so finds a processor. With as many threads as processors beside it, Linux puts two on
/// one, where each event that one of them takes wakes the other, while another processor has nothing to do.
pub fn block_on_fewer(future: impl Future<Output = Result<(), Fatal>>) -> Result<(), Fatal> {
    let processors = available_parallelism().map_or(1, NonZero::get);
    run(Builder::new_multi_thread().worker_threads((processors - 1).max(1)), future)
}

fn run(builder: &mut Builder, future: impl Future<Output = Result<(), Fatal>>) -> Result<(), Fatal> {
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Fatal::new(Exit::Unavailable, format_args!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(RUNTIME_GRACE);
    result
}
