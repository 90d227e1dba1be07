//! Work on the writer beside the batches: when nobody waits, and for a small share of its time under load.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::Ingest;
use crate::store::{StoreError, Writer};

/// Work that waits; whoever has more waits with it.
pub(super) const QUEUE_MAX: usize = 4;
/// Batches have so much more of the writer's time under load: a twenty-fifth is left.
const BATCHES_SHARE: u32 = 24;
/// The load is measured over so long.
pub(super) const WINDOW: Duration = Duration::from_millis(50);
/// It is heavy when batches have more than one in so many parts of the time.
const LOADED_PARTS: u32 = 2;
/// What a piece of work writes into the log, about.
pub(super) const WORK_BYTES: u64 = 128 << 10;

/// A piece of work, a few milliseconds long at most: a batch may wait for it.
pub(super) type Work = Box<dyn for<'w> FnOnce(&'w mut Writer) -> BoxFuture<'w, ()> + Send>;

/// Why work beside the batches was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AsideError {
    /// The program ends.
    #[error("the writer has ended")]
    Closed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Ingest {
    /// Has the work done when no batch is in its way, and gives what comes of it. Dropping the future does not take it back.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl for<'w> FnOnce(&'w mut Writer) -> BoxFuture<'w, Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, AsideError> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |writer| {
            let work = work(writer);
            async move {
                let _ = reply.send(work.await);
            }
            .boxed()
        });
        self.aside.send(work).await.map_err(|_| AsideError::Closed)?;
        Ok(answer.await.map_err(|_| AsideError::Closed)??)
    }
}

/// Who has had how much of the writer's time. A moment is the time since some begin.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// What the last piece of work took, less what batches have earned it since.
    debt: Duration,
    /// When the window began that the load is measured over, and what batches have had of it.
    began: Duration,
    busy: Duration,
    /// Whether batches had much of the last whole window.
    is_heavy: bool,
}

impl Share {
    /// Batches had the writer for so long, until now.
    pub(super) fn batches_took(&mut self, time: Duration, now: Duration) {
        self.debt = self.debt.saturating_sub(time / BATCHES_SHARE);
        self.busy += time;
        self.look(now);
    }

    /// Work that was done while nobody waited is no debt beyond its own length.
    pub(super) fn work_took(&mut self, time: Duration) {
        self.debt = time;
    }

    /// Whether work comes before whoever waits.
    pub(super) fn is_owed(&self) -> bool {
        self.debt.is_zero()
    }

    /// Whether work may begin while nobody waits: under load somebody will before it ends.
    pub(super) fn may_begin(&mut self, now: Duration) -> bool {
        self.look(now);
        !self.is_heavy || self.is_owed()
    }

    fn look(&mut self, now: Duration) {
        let length = now.saturating_sub(self.began);
        if length >= WINDOW {
            self.is_heavy = self.busy * LOADED_PARTS > length;
            (self.began, self.busy) = (now, Duration::ZERO);
        }
    }
}

pub(super) fn queue() -> (mpsc::Sender<Work>, mpsc::Receiver<Work>) {
    mpsc::channel(QUEUE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn under_load_work_has_a_small_share_of_the_time() {
        let (mut share, mut now, mut work) = (Share::default(), Duration::ZERO, Duration::ZERO);
        for step in 0..10_000 {
            let time = MS * (1 + step % 23);
            now += time;
            share.batches_took(time, now);
            // A gap in which nobody waits.
            now += MS;
            if share.may_begin(now) {
                let time = MS * (1 + step % 7);
                share.work_took(time);
                now += time;
                work += time;
            }
        }
        let share = work.as_secs_f64() / now.as_secs_f64();
        assert!((0.02..=0.05).contains(&share), "{share}");
    }

    #[test]
    fn without_load_work_may_begin_at_any_time() {
        let (mut share, mut now) = (Share::default(), Duration::ZERO);
        for _ in 0..1_000 {
            now += MS / 3;
            share.batches_took(MS / 3, now);
            assert!(share.may_begin(now));
            share.work_took(MS / 2);
            now += MS * 2 / 3;
        }
    }

    #[test]
    fn when_the_load_ends_work_may_begin_within_a_window() {
        let mut share = Share::default();
        share.batches_took(WINDOW * 4, WINDOW * 4);
        share.work_took(WINDOW);
        assert!(!share.may_begin(WINDOW * 4));
        assert!(share.may_begin(WINDOW * 5));
    }

    #[test]
    fn after_a_rest_work_does_not_starve() {
        let mut share = Share::default();
        for _ in 0..1_000 {
            share.work_took(5 * MS);
        }
        share.batches_took(5 * MS * BATCHES_SHARE, 5 * MS * BATCHES_SHARE);
        assert!(share.is_owed());
    }
}
