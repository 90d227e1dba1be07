//! Group commit: one task owns the writer, and while one transaction commits, the next one's batches gather.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dados::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::limits::Reservation;
use crate::store::{Batch, Failure, Outcome, StoreError, Writer};

/// Batches that wait for the writer; one more is told to come back.
const QUEUE_JOBS_MAX: usize = 1024;
/// A transaction that has so many rows takes no further batch.
const GROUP_ROWS_MAX: usize = 8192;
/// A transaction whose batches came in so many bytes takes no further batch.
const GROUP_BYTES_MAX: usize = 8 << 20;
/// How long the probe of an ill writer may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a batch was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IngestError {
    /// As many batches wait as may.
    QueueFull,
    /// The writer has ended: the program is about to.
    Closed,
    /// The transaction failed, and nothing of it is stored.
    Store(Failure),
}

/// A batch, the memory it holds, and who waits for it. It is stored whether its client still waits or not.
struct Job {
    batch: Batch,
    held: Reservation,
    reply: oneshot::Sender<Result<Outcome, IngestError>>,
}

enum Message {
    Store(Job),
    Probe(oneshot::Sender<Result<(), Failure>>),
}

/// The way to the writer.
#[derive(Clone)]
pub(crate) struct Ingest {
    queue: mpsc::Sender<Message>,
    /// Whether the last commit succeeded.
    healthy: Arc<AtomicBool>,
}

impl Ingest {
    /// Hands a batch over and waits until it is on the disk. Dropping the future does not take the batch back.
    pub(crate) async fn store(&self, batch: Batch, held: Reservation) -> Result<Outcome, IngestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Store(Job { batch, held, reply }))?;
        answer.await.unwrap_or(Err(IngestError::Closed))
    }

    /// Whether a batch would be taken now. It costs nothing unless the last commit failed: then the writer tries one.
    pub(crate) async fn ready(&self) -> Result<(), IngestError> {
        if self.queue.is_closed() {
            return Err(IngestError::Closed);
        }
        if self.queue.capacity() == 0 {
            return Err(IngestError::QueueFull);
        }
        if self.healthy.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.send(Message::Probe(reply))?;
        match tokio::time::timeout(PROBE_TIMEOUT, answer).await {
            Ok(Ok(result)) => result.map_err(IngestError::Store),
            Ok(Err(_)) => Err(IngestError::Closed),
            Err(_) => Err(IngestError::Store(Failure::Busy)),
        }
    }

    fn send(&self, message: Message) -> Result<(), IngestError> {
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IngestError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => IngestError::Closed,
        })
    }
}

/// The way to the writer, and the task that is the writer: it ends once `closing` is cancelled and the queue is empty.
pub(crate) fn start(writer: Writer, closing: CancellationToken) -> (Ingest, impl Future<Output = ()> + Send) {
    let (queue, waiting) = mpsc::channel(QUEUE_JOBS_MAX);
    let healthy = Arc::new(AtomicBool::new(true));
    let task = Task { writer, waiting, healthy: healthy.clone() };
    (Ingest { queue, healthy }, task.run(closing))
}

struct Task {
    writer: Writer,
    waiting: mpsc::Receiver<Message>,
    healthy: Arc<AtomicBool>,
}

impl Task {
    async fn run(mut self, closing: CancellationToken) {
        loop {
            let message = tokio::select! {
                biased;
                message = self.waiting.recv() => message,
                () = closing.cancelled(), if !self.waiting.is_closed() => {
                    // What was taken is still stored; `recv` gives it and then none.
                    self.waiting.close();
                    continue;
                }
            };
            match message {
                Some(first) => self.step(first).await,
                None => break,
            }
        }
        match self.writer.close().await {
            Ok(()) => debug!("database closed"),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "database did not close cleanly"),
        }
    }

    /// One transaction: the first message and what waits behind it, up to the limits. There is no linger timer: under
    /// load the commit before was time enough to gather, and without load there is nothing to wait for.
    async fn step(&mut self, first: Message) {
        let (mut jobs, mut probes) = (Vec::new(), Vec::new());
        let (mut rows, mut bytes) = (0, 0);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Probe(reply) => probes.push(reply),
                Message::Store(job) => {
                    rows += job.batch.rows.len();
                    bytes += job.held.bytes();
                    jobs.push(job);
                }
            }
            let is_full = rows >= GROUP_ROWS_MAX || bytes >= GROUP_BYTES_MAX;
            next = if is_full { None } else { self.waiting.try_recv().ok() };
        }
        if !jobs.is_empty() {
            self.commit(jobs, rows).await;
        }
        if !probes.is_empty() {
            let result = self.writer.probe().await;
            let result = self.settle(result, 0, 0).map_err(|error| error.failure());
            for reply in probes {
                let _ = reply.send(result);
            }
        }
    }

    async fn commit(&mut self, jobs: Vec<Job>, rows: usize) {
        let batches: Vec<&Batch> = jobs.iter().map(|job| &job.batch).collect();
        let started = Instant::now();
        let result = self.writer.write(&batches, Timestamp::now()).await;
        let result = self.settle(result, jobs.len(), rows);
        debug!(batches = jobs.len(), rows, elapsed_us = started.elapsed().as_micros(), ok = result.is_ok(), "commit");
        // A client that went away is no reason to stop: its batch is stored.
        match result {
            Ok(outcomes) => {
                debug_assert_eq!(outcomes.len(), jobs.len());
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    let _ = job.reply.send(Ok(outcome));
                }
            }
            Err(error) => {
                for job in jobs {
                    let _ = job.reply.send(Err(IngestError::Store(error.failure())));
                }
            }
        }
    }

    /// Remembers how it went and logs what went wrong.
    fn settle<T>(&self, result: Result<T, StoreError>, batches: usize, rows: usize) -> Result<T, StoreError> {
        let was_healthy = self.healthy.swap(result.is_ok(), Ordering::Relaxed);
        match &result {
            Ok(_) if was_healthy => {}
            Ok(_) => info!("the database takes data again"),
            Err(failure @ StoreError::Unexpected(_)) => {
                error!(error = failure as &dyn std::error::Error, batches, rows, "transaction failed");
            }
            Err(failure) => warn!(error = failure as &dyn std::error::Error, batches, rows, "transaction failed"),
        }
        result
    }
}
