//! How long to wait before trying again; pure, so that every case can be tested.

use std::time::Duration;

/// Exponential back-off with full jitter: a random wait between nothing and a ceiling that doubles.
///
/// The formula is "full jitter" of the AWS Architecture Blog's *Exponential Backoff And Jitter*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The first ceiling.
    pub first: Duration,
    /// The last ceiling.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failures in a row (from 1), for a `random` number between 0 and 1.
    pub fn delay(&self, failures: u32, random: f64) -> Duration {
        self.ceiling(failures).mul_f64(random.clamp(0.0, 1.0))
    }

    fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_secs(30) };

    #[test]
    fn the_ceiling_doubles_up_to_its_limit() {
        let ceilings: Vec<_> = (1..=11).map(|failures| BACKOFF.delay(failures, 1.0).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_limit(failures: u32, random in 0.0..=1.0f64) {
            prop_assert!(BACKOFF.delay(failures, random) <= BACKOFF.max);
        }
    }
}
