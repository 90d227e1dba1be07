//! The projector: derives readings, lists and roll-ups from `dados`, behind ingest and never in its way.
//!
//! - [`fields`]: what is in a payload; [`device_time`]: what it says of its own time
//! - [`step`]: what follows from consecutive messages
//! - [`rebuild`]: all of it anew, beside what is read
//! - [`state`]: what others see of it
//!
//! It reads by a reader's connection, computes on a thread of its own, and hands steps to the writer, which takes
//! them when no batch waits, or as a small share of its time. The cursor moves in the step's transaction: whatever ends the
//! process between two of them, no message counts twice or never.

pub mod device_time;
pub(crate) mod fields;
mod rebuild;
mod state;
mod step;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::device_time::Rules;
use self::state::Shared;
pub(crate) use self::state::{Lag, Projection};
pub(crate) use self::step::Losses;
use self::step::derive;
use crate::ingest::{Ingest, IngestError};
use crate::metrics::Projections;
use crate::store::projection::{Carried, Generation, Next, Projected, Step};
use crate::store::{Reader, StoreError};

/// What comes within this time is taken up together: a chart is not looked at more often.
const LINGER: Duration = Duration::from_secs(1);
/// A step takes the writer for some milliseconds, and so it waits until no batch has come for this long,
const QUIET: Duration = Duration::from_millis(50);
/// but no longer than this: then it is one batch in a few that waits for a step.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it rests after a failure.
const RETRY: Duration = Duration::from_secs(2);
/// Messages of a step. Most of what it costs is the fields that they have between them, whatever their number.
const STEP_ROWS: usize = 1024;
/// Messages that are worth a step while others come.
const STEP_ROWS_WORTH: usize = 256;

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The program ends.
    #[error("the writer has ended")]
    Closed,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the step's thread died")]
    Thread,
}

impl From<IngestError> for Failure {
    fn from(_: IngestError) -> Self {
        Self::Closed
    }
}

/// The task's own.
struct Projector {
    ingest: Ingest,
    reader: Reader,
    rules: Arc<Rules>,
    metrics: Projections,
    shared: Arc<Shared>,
    newest: watch::Receiver<i64>,
    at: Projected,
    /// When the first message came that has not been taken up; at rest, the last time that all were.
    behind_since: Instant,
    is_failing: bool,
}

/// Which messages are taken up, and into which tables.
#[derive(Clone, Copy, Debug)]
struct Road {
    generation: Generation,
    last_id: i64,
    carried: Carried,
}

/// A step that waits for the writer.
struct Made {
    step: Step,
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
    let at = Projected { current_id: 0, next: None };
    let (rules, behind_since) = (Arc::new(rules), Instant::now());
    let projector = Projector { ingest, reader, rules, metrics, shared, newest, at, behind_since, is_failing: false };
    let task = async move {
        closing.run_until_cancelled(projector.run()).await;
    };
    (projection, task)
}

impl Projector {
    async fn run(mut self) {
        loop {
            match self.work().await {
                Failure::Closed => return,
                failure => self.failed(&failure),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Works until it cannot.
    async fn work(&mut self) -> Failure {
        let work = async {
            self.at = self.ingest.aside(|writer| Box::pin(writer.projected())).await??;
            self.tell();
            loop {
                self.keep_up().await?;
                let has_more = self.at.next.is_some() && self.make_anew().await? || self.sweep().await?;
                if !has_more {
                    self.wait().await?;
                }
            }
        };
        let never: Result<std::convert::Infallible, Failure> = work.await;
        match never {
            Err(failure) => failure,
        }
    }

    /// Takes up all that there is.
    async fn keep_up(&mut self) -> Result<(), Failure> {
        if self.lag() > 0 {
            let road = Road { generation: Generation::Current, last_id: i64::MAX, carried: Carried::default() };
            self.advance(self.at.current_id, road, usize::MAX).await?;
        }
        self.behind_since = Instant::now();
        Ok(())
    }

    /// Takes up messages by at most so many steps, and tells whether there were any. While the writer is at one step, the
    /// next is made.
    async fn advance(&mut self, after_id: i64, road: Road, steps_max: usize) -> Result<bool, Failure> {
        let mut made = self.make(after_id, road).await?;
        let has_any = made.is_some();
        for _ in 0..steps_max {
            let Some(Made { step, messages, losses }) = made else { break };
            let (until_id, readings, generation) = (step.until_id, step.readings.len(), road.generation);
            if generation == Generation::Current {
                self.give_way().await?;
            }
            let add = self.ingest.aside(move |writer| Box::pin(async move { writer.project(&step, generation).await }));
            let (added, following) = tokio::join!(add, self.make(until_id, road));
            added??;
            debug!(until_id, messages, readings, ?generation, "projected");
            match &mut self.at {
                Projected { current_id, .. } if generation == Generation::Current => {
                    self.metrics.projected(messages, readings, losses);
                    *current_id = until_id;
                }
                Projected { next: Some(next), .. } => next.id = until_id,
                Projected { .. } => {}
            }
            self.recovered();
            self.tell();
            // A few messages that have come meanwhile are taken up with those that follow them.
            let is_busy = self.newest.has_changed().unwrap_or(false);
            made = following?.filter(|made| !is_busy || made.messages >= STEP_ROWS_WORTH);
        }
        Ok(has_any)
    }

    /// What follows from the next messages; none where there are none.
    async fn make(&self, after_id: i64, Road { last_id, carried, .. }: Road) -> Result<Option<Made>, Failure> {
        let mut messages = self.reader.messages(after_id, STEP_ROWS).await?;
        messages.retain(|message| message.id <= last_id);
        if messages.is_empty() {
            return Ok(None);
        }
        let rules = self.rules.clone();
        let derived = tokio::task::spawn_blocking(move || {
            let (step, losses) = derive(after_id, &messages, &rules, carried);
            Made { step, messages: messages.len(), losses }
        });
        derived.await.map(Some).map_err(|_| Failure::Thread)
    }

    /// Waits until no batch comes, unless none has come since it was last looked, or patience is at its end.
    async fn give_way(&mut self) -> Result<(), Failure> {
        let end = self.behind_since + PATIENCE;
        let mut has_come = self.newest.has_changed().map_err(|_| Failure::Closed)?;
        while has_come {
            self.newest.borrow_and_update();
            let next = timeout_at(end, timeout(QUIET, self.newest.changed())).await;
            has_come = match next {
                Ok(Ok(changed)) => changed.map(|()| true).map_err(|_| Failure::Closed)?,
                Ok(Err(_)) | Err(_) => false,
            };
        }
        Ok(())
    }

    /// Waits for news, and for what comes with it, or for the order to begin anew.
    async fn wait(&mut self) -> Result<(), Failure> {
        let shared = self.shared.clone();
        let news = async {
            if self.lag() <= 0 {
                self.newest.changed().await.map_err(|_| Failure::Closed)?;
            }
            self.behind_since = Instant::now();
            tokio::time::sleep(LINGER).await;
            Ok(())
        };
        tokio::select! {
            come = news => come,
            () = shared.rebuild.notified() => self.begin_anew().await,
        }
    }

    fn newest_id(&self) -> i64 {
        *self.newest.borrow()
    }

    fn lag(&self) -> i64 {
        self.newest_id() - self.at.current_id
    }

    fn tell(&self) {
        self.shared.tell(self.at);
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
