//! Takes messages out of the spool and posts them; the cursor moves only past what the API confirmed or refused for good.
//!
//! - [`batch`]: a run of consecutive messages as one NDJSON body
//! - [`post`]: one request, and what its answer means
//! - [`quarantine`]: messages that the API will not take

pub mod batch;
pub mod post;
pub mod quarantine;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use service::Fatal;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::config::Api;
use crate::retry::Backoff;
use crate::spool::{Gauge, Reader};
use crate::status::Status;

use batch::{Batch, Queue, Stored};
use post::{Client, Outcome};
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
    producer: Uuid,
    status: Arc<Status>,
    /// Read from the spool, not yet posted.
    queue: Queue,
    /// Failures in a row.
    failures: u32,
    logged: Option<Instant>,
}

impl Forwarder {
    /// Prepares the HTTP client; no traffic yet.
    pub fn new(
        reader: Reader,
        gauge: Gauge,
        api: &Api,
        quarantine: Quarantine,
        status: Arc<Status>,
    ) -> Result<Self, Fatal> {
        let producer = gauge.identity().producer;
        let client = Client::new(api)?;
        Ok(Self {
            reader,
            gauge,
            client,
            quarantine,
            producer,
            status,
            queue: Queue::default(),
            failures: 0,
            logged: None,
        })
    }

    /// Forwards until `token` is cancelled: what is under way then stays in the spool.
    pub async fn run(mut self, token: CancellationToken) {
        token.run_until_cancelled(self.forward()).await;
    }

    async fn forward(&mut self) -> ! {
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

    /// The longest run of consecutive messages that fits into one request; waits for the first one only.
    async fn next_batch(&mut self) -> io::Result<Batch> {
        if self.queue.is_empty() {
            self.queue.push(self.reader.next().await?);
        }
        while self.queue.wants_more() {
            match self.reader.try_next()? {
                Some(frame) => self.queue.push(frame),
                None => break,
            }
        }
        Ok(self.queue.take())
    }

    /// Posts a batch, and parts of it where the API refuses it, until every message is confirmed or quarantined.
    async fn deliver(&mut self, batch: Batch) {
        let mut parts = VecDeque::from([batch]);
        while let Some(part) = parts.pop_front() {
            let last = part.last_sequence();
            if let Some(refusal) = self.post(&part).await {
                match part.halves() {
                    Ok((first, second)) => {
                        parts.push_front(second);
                        parts.push_front(first);
                        continue;
                    }
                    Err(single) => self.set_aside(&single, &refusal).await,
                }
            }
            self.ack(last).await;
        }
    }

    /// Posts until the API takes it (none) or refuses it for its content.
    async fn post(&mut self, part: &Batch) -> Option<post::Refusal> {
        let body = part.ndjson();
        loop {
            match self.client.post(self.producer, part.first_sequence(), part.len(), body.clone()).await {
                Outcome::Taken => {
                    self.recovered();
                    return None;
                }
                Outcome::Refused(refusal) => {
                    self.recovered();
                    return Some(refusal);
                }
                Outcome::Again { fault, after } => self.failed(fault, after).await,
            }
        }
    }

    async fn set_aside(&mut self, message: &Stored, refusal: &post::Refusal) {
        while let Err(fault) = self.quarantine.add(self.producer, message, refusal) {
            self.failed(format!("the quarantine cannot be written: {fault}"), None).await;
        }
        warn!(
            sequence = message.sequence,
            status = refusal.status,
            reason = refusal.reason,
            "the API refused a message: it is in quarantine"
        );
    }

    async fn ack(&mut self, sequence: u64) {
        while let Err(fault) = self.reader.ack(sequence) {
            self.failed(format!("the spool's cursor cannot be moved: {fault}"), None).await;
        }
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
