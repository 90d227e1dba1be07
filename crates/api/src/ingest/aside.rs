//! Work on the writer beside the batches: when nobody waits, and for a small share of its time when somebody always does.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use super::{Ingest, IngestError};
use crate::store::Writer;

/// Work that waits; whoever has more waits with it.
pub(super) const QUEUE_MAX: usize = 4;
/// Batches have so much more of the writer's time under load: the rest is a twentieth.
const BATCHES_SHARE: u32 = 19;
/// What a piece of work writes into the log, about.
pub(super) const WORK_BYTES: u64 = 128 << 10;

/// A piece of work, a few milliseconds long at most: a batch may wait for it.
pub(super) type Work = Box<dyn for<'w> FnOnce(&'w mut Writer) -> BoxFuture<'w, ()> + Send>;

impl Ingest {
    /// Has the work done when no batch is in its way, and gives what comes of it. Dropping the future does not take it back.
    pub(crate) async fn aside<T: Send + 'static>(
        &self,
        work: impl for<'w> FnOnce(&'w mut Writer) -> BoxFuture<'w, T> + Send + 'static,
    ) -> Result<T, IngestError> {
        let (reply, answer) = oneshot::channel();
        let work: Work = Box::new(move |writer| {
            let work = work(writer);
            async move {
                let _ = reply.send(work.await);
            }
            .boxed()
        });
        self.aside.send(work).await.map_err(|_| IngestError::Closed)?;
        answer.await.map_err(|_| IngestError::Closed)
    }
}

/// Who has had how much of the writer's time.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// What the last piece of work took, less what batches have earned it since.
    debt: Duration,
}

impl Share {
    pub(super) fn batches_took(&mut self, time: Duration) {
        self.debt = self.debt.saturating_sub(time / BATCHES_SHARE);
    }

    /// Work that was done while nobody waited is no debt beyond its own length.
    pub(super) fn work_took(&mut self, time: Duration) {
        self.debt = time;
    }

    /// Whether work comes before whoever waits.
    pub(super) fn is_owed(&self) -> bool {
        self.debt.is_zero()
    }
}

pub(super) fn queue() -> (mpsc::Sender<Work>, mpsc::Receiver<Work>) {
    mpsc::channel(QUEUE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn under_load_work_has_a_twentieth_of_the_time() {
        let ms = Duration::from_millis;
        let (mut share, mut batches, mut work) = (Share::default(), Duration::ZERO, Duration::ZERO);
        for step in 0..10_000 {
            let time = ms(1 + step % 23);
            share.batches_took(time);
            batches += time;
            if share.is_owed() {
                let time = ms(1 + step % 7);
                share.work_took(time);
                work += time;
            }
        }
        let share = work.as_secs_f64() / (work + batches).as_secs_f64();
        assert!((0.03..=0.05).contains(&share), "{share}");
    }

    #[test]
    fn after_a_rest_work_does_not_starve() {
        let mut share = Share::default();
        for _ in 0..1_000 {
            share.work_took(Duration::from_millis(5));
        }
        share.batches_took(Duration::from_millis(5) * BATCHES_SHARE);
        assert!(share.is_owed());
    }
}
