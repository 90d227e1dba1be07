//! The projector: derives readings, lists and roll-ups from `dados`, behind ingest and never in its way.
//!
//! - [`fields`]: what is in a payload; [`device_time`]: what it says of its own time
//! - [`known`]: how many fields a topic may have
//! - [`step`]: what follows from consecutive messages
//! - [`rebuild`]: all of it anew, beside what is read
//! - [`state`]: what others see of it
//!
//! It reads by a reader's connection, computes on a thread of its own, and hands steps to the writer, which takes
//! them when no batch waits, or as a small share of its time. The cursor moves in the step's transaction: whatever ends the
//! process between two of them, no message counts twice or never.

pub mod device_time;
pub(crate) mod fields;
mod known;
mod rebuild;
mod state;
mod step;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dados::Timestamp;
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::device_time::Rules;
use self::known::{Known, LIMITS};
use self::state::Shared;
pub(crate) use self::state::{Lag, Projection};
pub(crate) use self::step::Losses;
use self::step::{Steps, derive};
use crate::ingest::{AsideError, Ingest};
use crate::metrics::Projections;
use crate::store::projection::{Carried, Generation, Next, Position, Projected};
use crate::store::{Reader, StoreError};

/// What comes within this time is taken up together: a chart is not looked at more often.
const LINGER_MIN: Duration = Duration::from_secs(1);
/// In a stream it becomes longer, up to this: a step writes a few pages for each field, however many messages it has. What
/// is derived is then behind by little more than this.
const LINGER_MAX: Duration = Duration::from_secs(3);
/// So many messages at once are a stream.
const STREAM_ROWS: usize = 64;
/// How long it rests after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// How often it warns of fields that are left out, at most.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Messages that are read at once.
const STRETCH_ROWS: usize = 32_768;
/// Messages that are worth a stretch while others come.
const STRETCH_ROWS_WORTH: usize = 256;
/// Rows that a step writes into all tables, about: a batch may wait for it, two milliseconds or so.
const STEP_ROWS: usize = 768;
/// After a step that a batch has waited for, it rests for so many times as long as that took, so that no message waits for
/// two,
const REST_TIMES: u32 = 4;
/// and no longer than this.
const REST_MAX: Duration = Duration::from_millis(20);
/// After so long it rests no more until it has taken up all that there is: else it might not keep up.
const RESTING_MAX: Duration = Duration::from_secs(2);

/// Why messages were not taken up.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Aside(#[from] AsideError),
    #[error(transparent)]
    Read(#[from] StoreError),
    #[error("the thread that derives died")]
    Thread,
}

/// The task's own.
struct Projector {
    ingest: Ingest,
    reader: Reader,
    rules: Arc<Rules>,
    known: Arc<Mutex<Known>>,
    metrics: Projections,
    shared: Arc<Shared>,
    newest: watch::Receiver<i64>,
    at: Projected,
    linger: Duration,
    /// When it last began to take up what there is.
    began: Instant,
    /// Messages taken up since it last waited.
    taken_up: usize,
    is_failing: bool,
    /// When it last warned of fields that are left out.
    warned: Option<Instant>,
}

/// Which messages are taken up, and into which tables.
#[derive(Clone, Copy, Debug)]
struct Road {
    generation: Generation,
    last_id: i64,
    carried: Carried,
}

/// What follows from a stretch of messages, and waits for the writer.
struct Stretch {
    steps: Steps,
    messages: usize,
    losses: Losses,
}

/// The projector's outside, and the task, which ends when the writer has.
pub(crate) fn start(
    ingest: Ingest,
    reader: Reader,
    rules: Rules,
    metrics: Projections,
    closing: CancellationToken,
) -> (Projection, impl Future<Output = ()> + Send) {
    let shared = Arc::new(Shared::new());
    let newest = ingest.newest();
    let projection = Projection::new(shared.clone(), newest.clone());
    let projector = Projector {
        ingest,
        reader,
        rules: Arc::new(rules),
        known: Arc::new(Mutex::new(Known::new(LIMITS))),
        metrics,
        shared,
        newest,
        at: Projected::default(),
        linger: LINGER_MIN,
        began: Instant::now(),
        taken_up: 0,
        is_failing: false,
        warned: None,
    };
    let task = async move {
        closing.run_until_cancelled(projector.run()).await;
    };
    (projection, task)
}

impl Projector {
    async fn run(mut self) {
        loop {
            match self.work().await {
                Failure::Aside(AsideError::Closed) => return,
                failure => self.failed(&failure),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Works until it cannot.
    async fn work(&mut self) -> Failure {
        let work = async {
            self.at = self.ingest.aside(|writer| Box::pin(writer.projected())).await?;
            self.known.lock().await.clear();
            self.tell();
            loop {
                self.keep_up().await?;
                let has_more = self.at.next.is_some() && self.make_anew().await? || self.sweep().await?;
                if !has_more {
                    self.wait().await?;
                }
            }
        };
        let never: Result<Infallible, Failure> = work.await;
        match never {
            Err(failure) => failure,
        }
    }

    /// Takes up all that there is.
    async fn keep_up(&mut self) -> Result<(), Failure> {
        self.began = Instant::now();
        if self.lag() > 0 {
            let road = Road { generation: Generation::Current, last_id: i64::MAX, carried: Carried::default() };
            self.advance(self.at.current.clone(), road, usize::MAX).await?;
        }
        Ok(())
    }

    /// Takes up at most so many stretches, and tells whether there were any. While the writer is at one, the next is made.
    async fn advance(&mut self, from: Position, road: Road, stretches_max: usize) -> Result<bool, Failure> {
        let mut made = self.make(from, road).await?;
        let has_any = made.is_some();
        for _ in 0..stretches_max {
            let Some(Stretch { steps, messages, losses }) = made else { break };
            let (to, readings) = (steps.to().clone(), steps.readings());
            let (added, following) = tokio::join!(self.add(steps, road.generation), self.make(to.clone(), road));
            let steps_count = added?;
            debug!(until_id = to.last_id, messages, readings, steps_count, ?road.generation, "projected");
            match &mut self.at {
                Projected { current, .. } if road.generation == Generation::Current => {
                    self.metrics.projected(messages, readings, losses);
                    self.shared.refused.fetch_add(losses.refused_fields, Ordering::Relaxed);
                    *current = to;
                }
                Projected { next: Some(next), .. } => next.at = to,
                Projected { .. } => {}
            }
            self.warn_of_refused(losses.refused_fields);
            self.taken_up += messages;
            self.recovered();
            self.tell();
            // A few messages that have come meanwhile are taken up with those that follow them.
            let is_busy = self.is_busy();
            made = following?.filter(|made| !is_busy || made.messages >= STRETCH_ROWS_WORTH);
        }
        Ok(has_any)
    }

    /// Hands the steps to the writer, one after the other: between two of them, batches have their turn. How many there
    /// were.
    async fn add(&self, steps: Steps, generation: Generation) -> Result<usize, AsideError> {
        let (mut count, mut delays) = (0, self.ingest.delays());
        for step in steps {
            let began = Instant::now();
            self.ingest.aside(move |writer| Box::pin(async move { writer.project(&step, generation).await })).await?;
            count += 1;
            let is_late = generation == Generation::Current && self.began.elapsed() > RESTING_MAX;
            let has_delayed = std::mem::replace(&mut delays, self.ingest.delays()) != delays;
            if has_delayed && !is_late {
                tokio::time::sleep(REST_MAX.min(began.elapsed() * REST_TIMES)).await;
            }
        }
        Ok(count)
    }

    /// What follows from the next messages; none where there are none.
    async fn make(&self, from: Position, road: Road) -> Result<Option<Stretch>, Failure> {
        let Road { generation, last_id, carried } = road;
        let messages = self.reader.messages(&from, last_id, STRETCH_ROWS).await?;
        if messages.is_empty() && from.ahead.is_none() {
            return Ok(None);
        }
        let mut known = self.known.clone().lock_owned().await;
        for topico in known.missing(&messages, generation) {
            let fields = self.reader.known_fields(&topico, from.last_id, (generation, carried), LIMITS.fields).await?;
            known.load(topico, fields);
        }
        let rules = self.rules.clone();
        let derived = tokio::task::spawn_blocking(move || {
            let (steps, losses) = derive(&from, &messages, &rules, carried, STEP_ROWS, Timestamp::now(), &mut known);
            known.forget(&messages);
            let messages = messages.iter().take_while(|message| message.id <= steps.to().last_id).count();
            Stretch { steps, messages, losses }
        });
        derived.await.map(Some).map_err(|_| Failure::Thread)
    }

    /// Waits for news, and for what comes with it, or for the order to begin anew.
    async fn wait(&mut self) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let news = async {
            let is_stream = std::mem::take(&mut self.taken_up) >= STREAM_ROWS;
            let at_once = self.lag() > 0 || timeout(self.linger, self.newest.changed()).await.is_ok();
            self.linger = if is_stream && at_once { LINGER_MAX.min(self.linger * 2) } else { LINGER_MIN };
            if self.lag() <= 0 {
                self.newest.changed().await.map_err(|_| AsideError::Closed)?;
            }
            self.newest.borrow_and_update();
            tokio::time::sleep(self.linger).await;
            Ok(())
        };
        tokio::select! {
            come = news => come,
            () = shared.rebuild.notified() => self.begin_anew().await,
        }
    }

    /// Whether messages have come since it last waited.
    fn is_busy(&self) -> bool {
        self.newest.has_changed().unwrap_or(false)
    }

    fn newest_id(&self) -> i64 {
        *self.newest.borrow()
    }

    fn lag(&self) -> i64 {
        self.newest_id() - self.at.current.last_id
    }

    fn tell(&self) {
        self.shared.tell(&self.at);
    }

    fn warn_of_refused(&mut self, fields: u64) {
        if fields > 0 && self.warned.is_none_or(|warned| warned.elapsed() > WARN_EVERY) {
            self.warned = Some(Instant::now());
            warn!(
                fields,
                "a topic has too many new fields: its messages are stored, readings of those fields are left out"
            );
        }
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.is_failing) {
            info!("readings are derived again");
        }
    }

    fn failed(&mut self, failure: &Failure) {
        if !std::mem::replace(&mut self.is_failing, true) {
            let error = failure as &dyn std::error::Error;
            warn!(error, "readings cannot be derived: messages are stored, charts and lists come later");
        }
    }
}

#[cfg(test)]
mod tests;
