//! Group commit: one task owns the writer, and while one transaction commits, the next one's batches gather.

mod aside;
pub(crate) mod fresh;
pub(crate) mod group;
mod health;
mod indexing;
pub(crate) mod log;
mod pace;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dados::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub(crate) use self::aside::AsideError;
use self::aside::{Share, Work};
use self::fresh::Fresh;
use self::group::{Group, Job, Message, Reply, Reported};
use self::health::{Health, Proof};
use self::indexing::Backlog;
use self::log::Tidings;
use crate::limits::Reservation;
use crate::metrics::Commits;
use crate::store::{Batch, Denial, Failure, Kept, OpenFiles, Origin, Outcome, Report, Sender, StoreError, Writer};

/// Batches and reports that wait for the writer; one more is told to come back.
const QUEUE_JOBS_MAX: usize = 1024;
/// How long a probe of the writer may take.
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
    /// It is not for this sender to say.
    Denied(Denial),
}

/// The way to the writer.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    queue: mpsc::Sender<Message>,
    aside: mpsc::Sender<Work>,
    state: Arc<State>,
    newest: watch::Receiver<i64>,
    fresh: Arc<Fresh>,
    files: Arc<OpenFiles>,
    tidings: Arc<Tidings>,
}

/// What the writer tells of itself.
#[derive(Debug)]
struct State {
    health: Health,
    /// Grows with every commit that changed the ledger of a producer.
    ledger_version: AtomicU64,
    /// Rows that the indexes of topics and of time have not taken up yet.
    unindexed: AtomicU64,
    /// How often a batch has waited for work aside.
    delays: AtomicU64,
}

impl Ingest {
    /// Hands a batch over and waits until it is on the disk. Dropping the future does not take the batch back.
    pub(crate) async fn store(&self, batch: Batch, held: Reservation) -> Result<Outcome, IngestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Store(Job { batch, held, reply }))?;
        answer.await.unwrap_or(Err(IngestError::Closed))
    }

    /// Hands a report over and waits until it is on the disk; gives what is kept of its producer then.
    pub(crate) async fn report(&self, report: Report, sender: Sender) -> Result<Kept, IngestError> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Report((report, sender), reply))?;
        answer.await.unwrap_or(Err(IngestError::Closed))?.map_err(IngestError::Denied)
    }

    /// A number that changes with the ledger of any producer.
    pub(crate) fn ledger_version(&self) -> u64 {
        self.state.ledger_version.load(Ordering::Acquire)
    }

    /// Batches and reports that wait, and how many may.
    pub(crate) fn queue(&self) -> (usize, usize) {
        (self.queue.max_capacity() - self.queue.capacity(), self.queue.max_capacity())
    }

    /// Whether no transaction has failed since rows were last stored.
    pub(crate) fn is_healthy(&self) -> bool {
        self.state.health.is_good()
    }

    /// Rows that the indexes of topics and of time have not taken up yet.
    pub(crate) fn unindexed(&self) -> u64 {
        self.state.unindexed.load(Ordering::Relaxed)
    }

    /// What the write-ahead log has, if that is much and somebody's read keeps it from starting over; else 0.
    pub(crate) fn held_log_bytes(&self) -> u64 {
        self.tidings.held_bytes()
    }

    /// A number that grows whenever a batch has waited for work aside.
    pub(crate) fn delays(&self) -> u64 {
        self.state.delays.load(Ordering::Relaxed)
    }

    /// The newest row's id, which changes once the row can be read.
    pub(crate) fn newest(&self) -> watch::Receiver<i64> {
        self.newest.clone()
    }

    /// Whether a batch would be taken now. Unless one was a short time ago, or a probe, the writer tries: [`health`] says how
    /// often at most.
    pub(crate) async fn ready(&self) -> Result<(), IngestError> {
        if self.queue.is_closed() {
            return Err(IngestError::Closed);
        }
        if self.queue.capacity() == 0 {
            return Err(IngestError::QueueFull);
        }
        // The writer finds out by itself, and says so.
        let is_in_place = self.files.check().is_ok();
        if is_in_place && self.state.health.is_proven() {
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

    /// The rows up to that one, as far as they are still in memory.
    pub(crate) fn fresh(&self) -> Arc<Fresh> {
        self.fresh.clone()
    }

    fn send(&self, message: Message) -> Result<(), IngestError> {
        self.queue.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => IngestError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => IngestError::Closed,
        })
    }
}

/// The way to the writer, and the task that is the writer: it ends once `closing` is cancelled and the queue is empty.
pub(crate) fn start(
    writer: Writer,
    commits: Commits,
    closing: CancellationToken,
) -> (Ingest, impl Future<Output = ()> + Send) {
    let (queue, waiting) = mpsc::channel(QUEUE_JOBS_MAX);
    let state = State {
        health: Health::default(),
        ledger_version: AtomicU64::new(0),
        unindexed: AtomicU64::new(0),
        delays: AtomicU64::new(0),
    };
    let (aside, work) = aside::queue();
    let (newest, newest_seen) = watch::channel(0);
    let tidings = Arc::new(Tidings::new(writer.files()));
    let ended = CancellationToken::new();
    let copying = log::copy(writer.checkpointer(), tidings.clone(), ended.clone());
    let (state, fresh, files) = (Arc::new(state), Arc::new(Fresh::default()), writer.files());
    let task = Task {
        writer,
        waiting,
        last_group: 0,
        work,
        share: Share::default(),
        commits,
        state: state.clone(),
        newest,
        fresh: fresh.clone(),
        backlog: Backlog::default(),
        tidings: tidings.clone(),
        failed_probe: None,
    };
    let writing = async move {
        let (writer, ()) = tokio::join!(task.run(closing, ended), copying);
        match writer.close().await {
            Ok(()) => debug!("database closed"),
            Err(error) => warn!(error = &error as &dyn std::error::Error, "database did not close cleanly"),
        }
    };
    (Ingest { queue, aside, state, newest: newest_seen, fresh, files, tidings }, writing)
}

struct Task {
    writer: Writer,
    waiting: mpsc::Receiver<Message>,
    /// Messages that the last group had.
    last_group: usize,
    work: mpsc::Receiver<Work>,
    share: Share,
    commits: Commits,
    state: Arc<State>,
    newest: watch::Sender<i64>,
    fresh: Arc<Fresh>,
    backlog: Backlog,
    tidings: Arc<Tidings>,
    /// When the last probe failed, and why.
    failed_probe: Option<(Instant, Failure)>,
}

impl Task {
    /// Writes until `closing` is cancelled and the queue is empty, and says so by `ended`, however it ends.
    async fn run(mut self, closing: CancellationToken, ended: CancellationToken) -> Writer {
        let _ended = ended.drop_guard();
        self.look_at_index().await;
        let born = Instant::now();
        loop {
            let may_begin = self.share.may_begin(born.elapsed());
            let message = tokio::select! {
                biased;
                message = self.waiting.recv() => message,
                () = closing.cancelled(), if !self.waiting.is_closed() => {
                    // What was taken is still stored; `recv` gives it and then none.
                    self.waiting.close();
                    continue;
                }
                // Nobody waits.
                () = std::future::ready(()), if self.backlog.is_due() => {
                    self.index().await;
                    continue;
                }
                Some(work) = self.work.recv(), if may_begin => {
                    self.do_aside(work).await;
                    continue;
                }
                // Then the load may have ended.
                () = tokio::time::sleep(aside::WINDOW), if !may_begin => continue,
            };
            let Some(first) = message else { break };
            let started = Instant::now();
            self.step(first).await;
            while self.backlog.is_owed() {
                self.index().await;
            }
            self.share.batches_took(started.elapsed(), born.elapsed());
            if self.share.is_owed()
                && let Ok(work) = self.work.try_recv()
            {
                self.do_aside(work).await;
            }
        }
        self.writer
    }

    async fn do_aside(&mut self, work: Work) {
        let started = Instant::now();
        work(&mut self.writer).await;
        let elapsed = started.elapsed();
        debug!(elapsed_us = elapsed.as_micros(), waiting = self.waiting.len(), "work aside");
        if !self.waiting.is_empty() {
            self.state.delays.fetch_add(1, Ordering::Relaxed);
        }
        self.share.work_took(elapsed);
        self.logged(aside::WORK_BYTES).await;
    }

    /// One group.
    async fn step(&mut self, first: Message) {
        let group = Group::gather(&mut self.waiting, first, self.last_group).await;
        self.last_group = group.len();
        let Group { jobs, reports, probes, rows, bytes } = group;
        if !jobs.is_empty() {
            self.commit(jobs, rows).await;
        }
        // In a transaction of their own: what is wrong with a report costs nobody a row.
        if !reports.is_empty() {
            self.report(reports).await;
        }
        if !probes.is_empty() {
            let result = self.probe().await;
            for reply in probes {
                let _ = reply.send(result);
            }
        }
        self.logged(bytes as u64).await;
    }

    async fn commit(&mut self, mut jobs: Vec<Job>, rows: usize) {
        let batches: Vec<&Batch> = jobs.iter().map(|job| &job.batch).collect();
        let moves_ledger = batches.iter().any(|batch| matches!(batch.origin, Origin::Producer { .. }));
        let started = Instant::now();
        let result = self.writer.write(&batches, Timestamp::now()).await;
        let proof = match &result {
            Ok(outcomes) if outcomes.iter().any(Outcome::has_rows) => Proof::Rows,
            _ => Proof::None,
        };
        let result = self.settle(result, proof, jobs.len(), rows);
        let elapsed = started.elapsed();
        debug!(batches = jobs.len(), rows, elapsed_us = elapsed.as_micros(), ok = result.is_ok(), "commit");
        if let Ok(outcomes) = &result {
            self.commits.committed(outcomes, elapsed.as_secs_f64());
            if moves_ledger {
                self.ledger_moved();
            }
            let rows = jobs.iter_mut().map(|job| std::mem::take(&mut job.batch.rows));
            self.fresh.stored(outcomes.iter().copied().zip(rows));
            self.stored(outcomes);
        }
        answer(jobs.into_iter().map(|job| job.reply), result);
    }

    async fn report(&mut self, reports: Vec<((Report, Sender), Reply<Reported>)>) {
        let (reports, replies): (Vec<_>, Vec<_>) = reports.into_iter().unzip();
        let result = self.writer.report(&reports, Timestamp::now()).await;
        let result = self.settle(result, Proof::None, 0, 0);
        debug!(reports = reports.len(), ok = result.is_ok(), "reports taken");
        if result.is_ok() {
            self.ledger_moved();
        }
        answer(replies, result);
    }

    /// Before anyone is answered, so that who has its answer reads what came of it.
    fn ledger_moved(&self) {
        self.state.ledger_version.fetch_add(1, Ordering::Release);
    }
}

/// Tells everyone of a transaction what became of their part. A client that went away is no reason to stop: its part is
/// stored.
fn answer<T>(replies: impl IntoIterator<Item = Reply<T>>, result: Result<Vec<T>, StoreError>) {
    match result {
        Ok(outcomes) => {
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                let _ = reply.send(Ok(outcome));
            }
        }
        Err(error) => {
            for reply in replies {
                let _ = reply.send(Err(IngestError::Store(error.failure())));
            }
        }
    }
}
