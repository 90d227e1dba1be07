//! Whether the writer takes rows: what its transactions say of the next one, and probes where they say nothing.
//!
//! However often somebody asks, at most one page is written in [`PROVEN_FOR`] while all is well, and one probe in
//! [`FAILED_FOR`] after a failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::Task;
use crate::store::{Failure, StoreError};

/// Rows that were stored so short a time ago say that the next ones will be: no probe is needed.
const PROVEN_FOR: Duration = Duration::from_secs(30);
/// A probe that failed so short a time ago says that the next one would.
const FAILED_FOR: Duration = Duration::from_secs(1);

/// How the writer is.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Whether a transaction has failed since rows were last stored.
    is_ill: AtomicBool,
    /// When rows were last stored, or a probe did what storing them does; none since the start or the last failure.
    proven_at: Mutex<Option<Instant>>,
}

impl Health {
    pub(super) fn is_good(&self) -> bool {
        !self.is_ill.load(Ordering::Relaxed)
    }

    /// Whether the next batch will be stored as far as anybody can say.
    pub(super) fn is_proven(&self) -> bool {
        self.proven_at().is_some_and(|at| at.elapsed() < PROVEN_FOR)
    }

    /// Rows were stored; whether that is news.
    fn succeeded(&self) -> bool {
        *self.proven_at() = Some(Instant::now());
        self.is_ill.swap(false, Ordering::Relaxed)
    }

    fn failed(&self) {
        *self.proven_at() = None;
        self.is_ill.store(true, Ordering::Relaxed);
    }

    fn proven_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.proven_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a transaction says of the next batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing: a report is taken, and a repetition recognised, where no row can be stored.
    None,
    /// Rows were stored, so it will be too.
    Rows,
}

impl Task {
    /// Does what the next batch will need; the failure of a moment ago stands for its repetition.
    pub(super) async fn probe(&mut self) -> Result<(), Failure> {
        if let Some((at, failure)) = self.failed_probe
            && at.elapsed() < FAILED_FOR
        {
            return Err(failure);
        }
        let is_ill = !self.state.health.is_good();
        // A failed transaction leaves a log that has room for a page or two.
        let room = if is_ill { self.writer.check_room().await } else { Ok(()) };
        let result = match room {
            Ok(()) => self.writer.probe().await,
            Err(error) => Err(error),
        };
        self.settle(result, Proof::Rows, 0, 0).map_err(|error| {
            let failure = error.failure();
            self.failed_probe = Some((Instant::now(), failure));
            failure
        })
    }

    /// Remembers how it went, counts and logs what went wrong.
    pub(super) fn settle<T>(
        &mut self,
        result: Result<T, StoreError>,
        proof: Proof,
        batches: usize,
        rows: usize,
    ) -> Result<T, StoreError> {
        match &result {
            Ok(_) if proof == Proof::None => {}
            Ok(_) => {
                self.failed_probe = None;
                if self.state.health.succeeded() {
                    info!("the database takes data again");
                }
            }
            Err(failure) => {
                self.state.health.failed();
                self.commits.failed(failure.failure());
                if let StoreError::Full(_) = failure {
                    self.tidings.no_room();
                }
                let error = failure as &dyn std::error::Error;
                match failure {
                    StoreError::Unexpected(_) | StoreError::Misplaced(_) => {
                        error!(error, batches, rows, "transaction failed");
                    }
                    _ => warn!(error, batches, rows, "transaction failed"),
                }
            }
        }
        result
    }
}
