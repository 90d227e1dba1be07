//! As many connections as may be, each with a permit that it gives back at its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// How often at most a full server says so.
const FULL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How many connections may be.
pub(super) struct Capped {
    free: Arc<Semaphore>,
    connections_max: u32,
    /// When it was said last that there are too many.
    told: Option<Instant>,
}

impl Capped {
    pub(super) fn new(connections_max: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(connections_max as usize)), connections_max, told: None }
    }

    /// A permit, if one is free. A connection that waited for one would hold a file descriptor.
    pub(super) fn admit(&mut self) -> Option<OwnedSemaphorePermit> {
        let permit = self.free.clone().try_acquire_owned().ok();
        if permit.is_none() && self.told.is_none_or(|told| told.elapsed() >= FULL_LOG_INTERVAL) {
            warn!(connections_max = self.connections_max, "too many connections: turning others away");
            self.told = Some(Instant::now());
        }
        permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_too_late_may_come_again_once_another_has_gone() {
        let mut capped = Capped::new(2);
        let held = [capped.admit(), capped.admit()];
        assert!(held.iter().all(Option::is_some) && capped.admit().is_none());
        drop(held);
        assert!(capped.admit().is_some());
    }
}
