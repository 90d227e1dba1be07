//! All projections anew from the messages that are there, beside those that are read, then swapped in one transaction.

use std::sync::atomic::Ordering;

use dados::Timestamp;
use tracing::info;

use super::{Failure, Generation, Next, Projector, Road};
use crate::store::CarriedTo;
use crate::store::projection::Step;

/// A device's time is at most so much later than that of its capture (`device_time`).
const DEVICE_AHEAD_MS: i64 = 24 * 3_600_000;
const HOUR_MS: i64 = 3_600_000;
/// Stretches of messages before a look at what has come for the current generation.
const STRETCHES_MAX: usize = 16;

impl Projector {
    /// Prepares the next generation. What has no messages any more is carried over first, and meanwhile nothing is taken
    /// up, so that it is known which messages are in what was carried over.
    pub(super) async fn begin_anew(&mut self) -> Result<(), Failure> {
        if self.at.next.is_some() {
            return Ok(());
        }
        // Of the generation before the last.
        while self.sweep().await? {}
        info!("projections are made anew");
        let horizon = self.ingest.aside(|writer| Box::pin(writer.begin_next())).await?;
        let until = horizon.and_then(whole_hours_until);
        if let Some(until) = until {
            let mut to = Some(CarriedTo::default());
            while let Some(from) = to {
                let carry =
                    self.ingest.aside(move |writer| Box::pin(async move { writer.carry_over(&from, until).await }));
                to = carry.await?;
            }
        }
        self.ingest.aside(move |writer| Box::pin(writer.next_is_ready(until))).await?;
        self.at = self.ingest.aside(|writer| Box::pin(writer.projected())).await?;
        self.tell();
        Ok(())
    }

    /// Some steps of the next generation, or the swap; whether there is more to do.
    pub(super) async fn make_anew(&mut self) -> Result<bool, Failure> {
        let Some(Next { at, carried }) = self.at.next.clone() else { return Ok(false) };
        let current = self.at.current.clone();
        let road = Road { generation: Generation::Next, last_id: current.last_id, carried };
        if self.advance(at.clone(), road, STRETCHES_MAX).await? {
            return Ok(true);
        }
        // What is between its last message and the cursor is gone.
        if at.last_id < current.last_id {
            let step = Step { from: at, to: current, ..Step::default() };
            self.ingest.aside(|writer| Box::pin(async move { writer.project(&step, Generation::Next).await })).await?;
        }
        let swapped = self.ingest.aside(|writer| Box::pin(writer.swap())).await?;
        self.known.lock().await.clear();
        self.at = self.ingest.aside(|writer| Box::pin(writer.projected())).await?;
        self.tell();
        if swapped {
            self.shared.rebuilt.fetch_add(1, Ordering::Relaxed);
            info!(until_id = self.at.current.last_id, "projections were made anew");
        }
        Ok(swapped)
    }

    /// A piece of what was current before the last swap; whether there may be more.
    pub(super) async fn sweep(&mut self) -> Result<bool, Failure> {
        Ok(self.ingest.aside(|writer| Box::pin(writer.sweep_old())).await?)
    }
}

/// The end of all hours that a message before `horizon` can have a reading in.
fn whole_hours_until(horizon: Timestamp) -> Option<Timestamp> {
    let latest_ms = horizon.as_ms() + DEVICE_AHEAD_MS;
    Timestamp::from_ms((latest_ms.div_euclid(HOUR_MS) + 1) * HOUR_MS).ok()
}
