//! What one transaction takes: the batches and reports that waited together, up to the limits.

use tokio::sync::{mpsc, oneshot};

use super::IngestError;
use crate::limits::Reservation;
use crate::store::{Batch, Denial, Failure, Kept, Outcome, Report, Sender};

/// A group that has so many rows and reports takes no further one.
pub(crate) const GROUP_ROWS_MAX: usize = 8192;
/// A transaction whose batches came in so many bytes takes no further batch.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// Who waits for something to be done. It is done whether they still wait or not.
pub(super) type Reply<T> = oneshot::Sender<Result<T, IngestError>>;

/// What is kept of a producer once its report is taken, or why it is not.
pub(super) type Reported = Result<Kept, Denial>;

/// A batch, the memory it holds, and who waits for it.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) held: Reservation,
    pub(super) reply: Reply<Outcome>,
}

pub(super) enum Message {
    Store(Job),
    Report((Report, Sender), Reply<Reported>),
    Probe(oneshot::Sender<Result<(), Failure>>),
}

/// What waited together, in the order of its coming.
#[derive(Default)]
pub(super) struct Group {
    pub(super) jobs: Vec<Job>,
    pub(super) reports: Vec<((Report, Sender), Reply<Reported>)>,
    pub(super) probes: Vec<oneshot::Sender<Result<(), Failure>>>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Group {
    /// The first message, what waits behind it and what is on its way, up to the limits; the group before had `last`.
    ///
    /// There is no linger timer: under load the commit before was time enough to gather, and without load there is nothing
    /// to wait for. But who is answered together asks again together, and the first of them to be heard would have a commit
    /// to itself, for whose sync all others wait. So other tasks have their turn for as long as that brings news, until half
    /// as many are here as last time: one half comes while the other is committed.
    pub(super) async fn gather(waiting: &mut mpsc::Receiver<Message>, first: Message, last: usize) -> Self {
        let mut group = Self::default();
        group.push(first);
        group.take(waiting);
        while group.len() < last / 2 && !group.is_full() {
            let before = group.len();
            tokio::task::yield_now().await;
            group.take(waiting);
            if group.len() == before {
                break;
            }
        }
        group
    }

    fn take(&mut self, waiting: &mut mpsc::Receiver<Message>) {
        while !self.is_full()
            && let Ok(message) = waiting.try_recv()
        {
            self.push(message);
        }
    }

    /// Messages of all kinds.
    pub(super) fn len(&self) -> usize {
        self.jobs.len() + self.reports.len() + self.probes.len()
    }

    fn push(&mut self, message: Message) {
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

    fn is_full(&self) -> bool {
        self.rows + self.reports.len() >= GROUP_ROWS_MAX || self.bytes >= GROUP_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;

    fn message() -> Message {
        Message::Probe(oneshot::channel().0)
    }

    /// How many are gathered where `waits` wait, and others come one by one, each when tasks have had their turn.
    async fn gathered(waits: usize, come: usize, last: usize) -> usize {
        let (queue, mut waiting) = mpsc::channel(64);
        for _ in 1..waits {
            queue.send(message()).await.unwrap();
        }
        let mut coming = JoinSet::new();
        coming.spawn(async move {
            for _ in 0..come {
                queue.send(message()).await.unwrap();
                tokio::task::yield_now().await;
            }
            queue
        });
        Group::gather(&mut waiting, message(), last).await.len()
    }

    #[tokio::test]
    async fn half_of_the_last_group_is_waited_for_while_it_comes() {
        assert_eq!(gathered(1, 60, 64).await, 32);
        assert_eq!(gathered(3, 60, 64).await, 32);
        assert_eq!(gathered(1, 60, 9).await, 4);
    }

    #[tokio::test]
    async fn nobody_waits_for_who_does_not_come() {
        assert_eq!(gathered(1, 0, 64).await, 1);
        assert_eq!(gathered(1, 5, 64).await, 6);
    }

    #[tokio::test]
    async fn what_waits_goes_at_once() {
        assert_eq!(gathered(40, 20, 64).await, 40);
        assert_eq!(gathered(1, 20, 1).await, 1);
        assert_eq!(gathered(20, 20, 2).await, 20);
    }
}
