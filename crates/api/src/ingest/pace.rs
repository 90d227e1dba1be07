//! How much a step of work takes up that is done for many commits at once: what comes in a certain time.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

/// The size of the next step, in whatever its owner counts. Where little comes, steps are small, and nobody waits long for
/// one. Where much comes, a large one costs less in all: it writes each page once, however often that changed.
#[derive(Debug)]
pub(super) struct Pace {
    size: u64,
    every: Duration,
    limits: RangeInclusive<u64>,
    last: Option<Instant>,
}

impl Pace {
    /// Begins with the smallest step; they become as large as it takes for one to come every so often, within the limits.
    pub(super) fn new(every: Duration, limits: RangeInclusive<u64>) -> Self {
        Self { size: *limits.start(), every, limits, last: None }
    }

    /// A step begins: twice as large as the last where that was a short time ago, else half as large.
    pub(super) fn next(&mut self, now: Instant) -> u64 {
        let is_soon = self.last.replace(now).is_some_and(|last| now.duration_since(last) < self.every);
        let size = if is_soon { self.size * 2 } else { self.size / 2 };
        self.size = size.clamp(*self.limits.start(), *self.limits.end());
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of steps where so much comes evenly, once the pace has settled.
    fn paced(per_second: f64) -> (u64, u64) {
        let (mut pace, mut now) = (Pace::new(Duration::from_millis(250), 512..=16_384), Instant::now());
        let mut step = || {
            let size = pace.next(now);
            now += Duration::from_secs_f64(size as f64 / per_second);
            size
        };
        let settled: Vec<u64> = (0..100).map(|_| step()).skip(50).collect();
        (*settled.iter().min().unwrap(), *settled.iter().max().unwrap())
    }

    #[test]
    fn a_step_takes_up_what_comes_in_its_time_within_its_limits() {
        assert_eq!(paced(10.0), (512, 512));
        assert_eq!(paced(1_000.0), (512, 512));
        assert_eq!(paced(25_000.0), (4096, 8192));
        assert_eq!(paced(400_000.0), (16_384, 16_384));
    }
}
