//! Takes messages out of the spool and posts them; the cursor moves only past what the API confirmed or refused for good.
//!
//! - [`batch`]: a run of consecutive messages as one NDJSON body
//! - [`copies`]: whether somebody else uses our name; [`lookup`]: whether the API has a message
//! - [`post`]: one request, and what its answer means
//! - [`quarantine`]: messages that the API will not take
//! - [`report`]: what the API is told of us, for its ledger

pub mod batch;
mod copies;
mod lookup;
pub mod post;
pub mod quarantine;
mod report;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dados::produtor::NAME_BYTES_MAX;
use service::Fatal;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::clock::{self, Corrector};
use crate::config::Api;
use crate::retry::Backoff;
use crate::spool::{Gauge, Progress, Reader};
use crate::status::Status;

use batch::{Batch, Queue, Stored};
use post::{Client, Outcome, Refusal};
use quarantine::Quarantine;

const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) };
/// The longest Retry-After that is heeded: a slip of the API must not stop the flow for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// How often a lasting outage is logged again.
const OUTAGE_LOG_EVERY: Duration = Duration::from_secs(30);

/// The forwarding task.
pub struct Forwarder {
    reader: Reader,
    gauge: Gauge,
    client: Client,
    quarantine: Quarantine,
    status: Arc<Status>,
    /// For people who read the ledger.
    name: Option<String>,
    /// Read from the spool, not yet posted.
    queue: Queue,
    /// The highest sequence that may have reached the API.
    attempted: u64,
    /// When the API was last told how far we are.
    reported_at: Instant,
    /// Something went into quarantine or was damaged: the API must know before the next request, so that its sums are
    /// even.
    must_report: bool,
    /// Failures in a row.
    failures: u32,
    logged: Option<Instant>,
    corrector: Corrector,
}

/// A batch on its way, and where the cursor goes when it is through: further than its last message where the API has
/// those behind it already.
struct Part {
    batch: Batch,
    covers: u64,
}

/// What became of a batch.
enum Posted {
    Stored,
    Refused(Refusal),
    /// From the one sequence to the other the API took others' messages for ours.
    Clash(u64, u64),
}

impl Forwarder {
    /// Prepares the HTTP client; no traffic yet. The API's ledger shows the client id, as far as it is fit for people.
    pub fn new(
        reader: Reader,
        gauge: Gauge,
        api: &Api,
        quarantine: Quarantine,
        status: Arc<Status>,
        client_id: &str,
    ) -> Result<Self, Fatal> {
        let is_fit = client_id.len() <= NAME_BYTES_MAX && !client_id.contains(char::is_control);
        Ok(Self {
            name: is_fit.then(|| client_id.to_owned()),
            reader,
            gauge,
            client: Client::new(api)?,
            quarantine,
            status,
            queue: Queue::default(),
            attempted: 0,
            reported_at: Instant::now(),
            must_report: false,
            failures: 0,
            logged: None,
            corrector: Corrector::new(),
        })
    }

    /// Forwards until `token` is cancelled: what is under way then stays in the spool.
    pub async fn run(mut self, token: CancellationToken) {
        token.run_until_cancelled(self.forward()).await;
    }

    async fn forward(&mut self) -> ! {
        self.meet().await;
        self.report_until_taken().await;
        loop {
            let batch = match self.next_batch().await {
                Ok(batch) => batch,
                Err(fault) => {
                    self.failed(format!("the spool cannot be read: {fault}"), None).await;
                    continue;
                }
            };
            self.deliver(batch).await;
        }
    }

    /// Before anything is posted: asks what the API has under our name.
    async fn meet(&mut self) {
        let watermark = loop {
            match self.client.ledger(self.progress().producer).await {
                Ok(ledger) => break ledger.map_or(0, |ledger| ledger.ultima_sequencia),
                Err(fault) => self.failed(fault, None).await,
            }
        };
        let progress = self.progress();
        // What waited when the spool was opened may be on its way into the database: an earlier run's last request. It
        // is the same in every copy, so that its repetition proves nothing.
        self.attempted = progress.unverified_from.saturating_sub(1);
        if copies::is_outdated(&progress, watermark) {
            // What waits is sent under the old name all the same: the answer shows what of it the API has.
            warn!(
                producer = %progress.producer,
                api_has = progress.base + watermark,
                spool_had = progress.unverified_from - 1,
                "the API has newer messages: this spool is an older copy of itself, or somebody else uses its name"
            );
        } else {
            while let Err(fault) = self.reader.verified() {
                self.failed(format!("the spool's cursor cannot be written: {fault}"), None).await;
            }
        }
    }

    /// The longest run of consecutive messages that fits into one request; waits for the first one only.
    async fn next_batch(&mut self) -> io::Result<Batch> {
        self.report_if_due().await;
        while self.queue.is_empty() {
            let due = self.report_due();
            tokio::select! {
                frame = self.reader.next() => self.queue.push(frame?),
                () = sleep_until(due.into()) => self.report_if_due().await,
            }
        }
        while self.queue.wants_more() {
            match self.reader.try_next()? {
                Some(frame) => self.queue.push(frame),
                None => break,
            }
        }
        self.wait_for_clock().await;
        let mut batch = self.queue.take();
        let corrected =
            batch.messages_mut().filter_map(|message| self.corrector.correct(message).then_some(())).count();
        if corrected > 0 {
            info!(messages = corrected, "the clock was set after they were captured: their times are corrected");
        }
        Ok(batch)
    }

    /// Waits until messages that were captured before the clock was set can have their right time, or have waited long.
    async fn wait_for_clock(&mut self) {
        if !self.corrector.waits(self.queue.clocks()) {
            return;
        }
        warn!(
            wait_s_max = clock::WAIT_MAX.as_secs(),
            "this machine's clock is not set: messages wait for that, and for their time"
        );
        while self.corrector.waits(self.queue.clocks()) {
            sleep(clock::LOOK_EVERY).await;
            self.report_if_due().await;
        }
    }

    /// Posts a batch, and parts of it where the API refuses it, until every message is confirmed or quarantined.
    async fn deliver(&mut self, batch: Batch) {
        // Messages before it came back damaged: the API takes a batch behind a gap only when it knows why there is one.
        if self.progress().acked + 1 < batch.first_sequence() {
            self.ack(batch.first_sequence() - 1, |_| {}).await;
        }
        let mut parts = VecDeque::from([Part { covers: batch.last_sequence(), batch }]);
        while let Some(Part { batch, covers }) = parts.pop_front() {
            if self.must_report {
                self.report_until_taken().await;
            }
            let last = batch.last_sequence();
            match self.post(&batch).await {
                Posted::Stored => self.ack(covers, |progress| progress.base += covers - last).await,
                Posted::Refused(refusal) => match batch.halves() {
                    Ok((first, second)) => {
                        parts.push_front(Part { batch: second, covers });
                        parts.push_front(Part { covers: first.last_sequence(), batch: first });
                    }
                    Err(single) => {
                        self.set_aside(&single, &refusal).await;
                        let settle = |progress: &mut Progress| {
                            progress.quarantined += 1;
                            progress.base += covers - last;
                        };
                        self.ack(covers, settle).await;
                        self.must_report = true;
                    }
                },
                Posted::Clash(from, to) => {
                    warn!(
                        from,
                        to,
                        "the API has other messages under our sequences: another copy of this spool is at work, or somebody \
                         else uses its name"
                    );
                    self.rename(from).await;
                    self.report_until_taken().await;
                    parts.push_front(Part { batch: batch.within(from, to), covers });
                }
            }
        }
    }

    /// Posts until the API takes it or refuses it for its content.
    async fn post(&mut self, batch: &Batch) -> Posted {
        let Progress { producer, base, .. } = self.progress();
        let first = batch.first_sequence();
        let body = batch.ndjson();
        self.gauge.set_oldest_ms(batch.captured_ms());
        loop {
            let began = Instant::now();
            let outcome = self.client.post(producer, first - base, batch.len(), body.clone()).await;
            self.status.counts.requested(outcome.as_str(), began.elapsed());
            match outcome {
                Outcome::Taken { duplicates } => {
                    self.recovered();
                    let stored = self.stored_of(batch, duplicates).await;
                    if let Some((from, to)) = copies::taken_by_another(first, duplicates, stored) {
                        return Posted::Clash(from, to);
                    }
                    self.attempted = self.attempted.max(batch.last_sequence());
                    self.status.counts.duplicates.inc_by(duplicates);
                    self.status.counts.delivered.inc_by(batch.len() as u64 - duplicates);
                    return Posted::Stored;
                }
                Outcome::Refused(refusal) => {
                    self.recovered();
                    return Posted::Refused(refusal);
                }
                Outcome::Unreported { fault } => {
                    // Its database was put back from an older copy.
                    warn!("reporting first: {fault}");
                    self.report_until_taken().await;
                    sleep(BACKOFF.first).await;
                }
                Outcome::Again { fault, after, doubtful } => {
                    if doubtful {
                        self.attempted = self.attempted.max(batch.last_sequence());
                    }
                    self.failed(fault, after).await;
                }
            }
        }
    }

    /// The highest of our sequences that the API has, where it takes so many of a batch for repetitions.
    ///
    /// What was never sent it cannot have. What may have been sent it is asked for: others may have taken the sequence
    /// while our request, or this process, was down. Messages are stored in order, so that halving finds the last one.
    async fn stored_of(&mut self, batch: &Batch, duplicates: u64) -> u64 {
        let first = batch.first_sequence();
        let sent = self.attempted.min(first + duplicates - 1);
        let (mut stored, mut missing) = (first - 1, sent + 1);
        let mut asked = sent;
        while duplicates > 0 && stored + 1 < missing {
            match self.client.has(batch.message(asked)).await {
                Ok(Some(true)) => stored = asked,
                Ok(Some(false)) => missing = asked,
                // We may not read. Then the API has tokens, and ours alone can send under our name.
                Ok(None) => return sent,
                Err(fault) => {
                    self.failed(fault, None).await;
                    continue;
                }
            }
            asked = stored + (missing - stored) / 2;
        }
        stored
    }

    async fn set_aside(&mut self, message: &Stored, refusal: &Refusal) {
        while let Err(fault) = self.quarantine.add(self.progress().producer, message, refusal) {
            self.failed(format!("the quarantine cannot be written: {fault}"), None).await;
        }
        self.quarantine.count(&self.gauge, &self.status);
        warn!(
            sequence = message.sequence,
            status = refusal.status,
            reason = refusal.reason,
            "the API refused a message: it is in quarantine"
        );
    }

    async fn ack(&mut self, sequence: u64, change: impl Fn(&mut Progress)) {
        let damaged = self.progress().damaged;
        while let Err(fault) = self.reader.ack_with(sequence, &change) {
            self.failed(format!("the spool's cursor cannot be moved: {fault}"), None).await;
        }
        self.must_report |= self.progress().damaged != damaged;
    }

    /// Goes on under a new name from `first_sequence` on.
    async fn rename(&mut self, first_sequence: u64) {
        let producer = loop {
            match self.reader.rename(first_sequence) {
                Ok(producer) => break producer,
                Err(fault) => self.failed(format!("the spool's cursor cannot be written: {fault}"), None).await,
            }
        };
        self.attempted = first_sequence - 1;
        self.status.counts.renamed.inc();
        warn!(%producer, first_sequence, "going on under a new name");
    }

    fn progress(&self) -> Progress {
        self.gauge.usage().progress
    }

    /// One more failure: says so, and waits.
    async fn failed(&mut self, fault: String, after: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let jittered = BACKOFF.delay(self.failures, fastrand::f64());
        let delay = after.map_or(jittered, |after| after.min(RETRY_AFTER_MAX).max(jittered));
        if self.logged.is_none_or(|at| at.elapsed() >= OUTAGE_LOG_EVERY) {
            self.logged = Some(Instant::now());
            let waiting = self.gauge.usage().waiting;
            error!(
                failures = self.failures,
                waiting,
                delay_ms = delay.as_millis() as u64,
                "nothing is delivered: {fault}"
            );
        }
        self.status.api_failed(fault);
        sleep(delay).await;
    }

    fn recovered(&mut self) {
        if self.failures > 0 {
            info!(failures = self.failures, waiting = self.gauge.usage().waiting, "the API takes messages again");
            self.failures = 0;
            self.logged = None;
        }
        self.status.api_recovered();
    }
}
