//! What one transaction takes: the batches and reports that waited together, up to the limits.

use tokio::sync::oneshot;

use super::IngestError;
use crate::limits::Reservation;
use crate::store::{Batch, Failure, Kept, Outcome, Report};

/// A group that has so many rows and reports takes no further one.
pub(crate) const GROUP_ROWS_MAX: usize = 8192;
/// A transaction whose batches came in so many bytes takes no further batch.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// Who waits for something to be done. It is done whether they still wait or not.
pub(super) type Reply<T> = oneshot::Sender<Result<T, IngestError>>;

/// A batch, the memory it holds, and who waits for it.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) held: Reservation,
    pub(super) reply: Reply<Outcome>,
}

pub(super) enum Message {
    Store(Job),
    Report(Report, Reply<Kept>),
    Probe(oneshot::Sender<Result<(), Failure>>),
}

/// What waited together, in the order of its coming.
#[derive(Default)]
pub(super) struct Group {
    pub(super) jobs: Vec<Job>,
    pub(super) reports: Vec<(Report, Reply<Kept>)>,
    pub(super) probes: Vec<oneshot::Sender<Result<(), Failure>>>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Group {
    pub(super) fn push(&mut self, message: Message) {
        match message {
            Message::Probe(reply) => self.probes.push(reply),
            Message::Report(report, reply) => self.reports.push((report, reply)),
            Message::Store(job) => {
                self.rows += job.batch.rows.len();
                self.bytes += job.held.bytes();
                self.jobs.push(job);
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows + self.reports.len() >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX
    }
}
