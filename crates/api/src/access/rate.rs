//! How often: the generic cell rate algorithm by key, in bounded memory, with the clock as an argument.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are remembered at most; further ones share what one of them may. A key costs under 100 bytes.
const KEYS_MAX: usize = 16_384;
/// How often at most a full memory is searched for keys that can be forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// The most of either number in a setting.
const COUNT_MAX: u32 = 1_000_000;

/// So many requests at once, and one more each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
    burst: u32,
}

impl Rate {
    pub(crate) const fn new(count: u32, per: Duration, burst: u32) -> Self {
        Self { interval: Duration::from_nanos(per.as_nanos() as u64 / count as u64), burst }
    }
}

impl FromStr for Rate {
    type Err = &'static str;

    /// `100/s`, `6000/m`, `10000/h`, or with what may come at once: `100/s:500`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected requests by second, minute or hour, such as 100/s, 6000/m or 100/s:500 (500 at once)";
        let number = |text: &str| match text.parse::<u32>() {
            Ok(count @ 1..=COUNT_MAX) => Ok(count),
            _ => Err(expected),
        };
        let (count, rest) = text.split_once('/').ok_or(expected)?;
        let (unit, burst) = rest.split_once(':').unwrap_or((rest, count));
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(expected),
        };
        Ok(Self::new(number(count)?, per, number(burst)?))
    }
}

/// Not now, but after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOften {
    wait: Duration,
}

impl TooOften {
    /// It is worth another try after so long.
    pub(crate) fn after(wait: Duration) -> Self {
        Self { wait }
    }

    /// For `Retry-After`: at least one.
    pub(crate) fn retry_after_s(self) -> u32 {
        u32::try_from(self.wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
    }
}

/// Whether a request may come now: `due` is when the next one would come at an even pace (its theoretical arrival time,
/// ITU-T I.371 §A). The value is that time after it.
fn decide(rate: Rate, due: Option<Duration>, now: Duration) -> Result<Duration, TooOften> {
    let due = due.unwrap_or(now).max(now);
    let ahead_max = rate.interval * (rate.burst - 1);
    match (due - now).checked_sub(ahead_max) {
        None | Some(Duration::ZERO) => Ok(due + rate.interval),
        Some(wait) => Err(TooOften::after(wait)),
    }
}

/// One rate for each key.
pub(crate) struct Limiter<K> {
    rate: Rate,
    started: Instant,
    cells: Mutex<Cells<K>>,
}

struct Cells<K> {
    /// Times since `started`.
    due: HashMap<K, Duration>,
    /// Shared by all keys that find no room.
    overflow: Option<Duration>,
    swept: Option<Duration>,
}

impl<K: Hash + Eq> Limiter<K> {
    pub(crate) fn new(rate: Rate) -> Self {
        let cells = Cells { due: HashMap::new(), overflow: None, swept: None };
        Self { rate, started: Instant::now(), cells: Mutex::new(cells) }
    }

    /// Counts one request of this key.
    pub(crate) fn take(&self, key: K, now: Instant) -> Result<(), TooOften> {
        let now = now.saturating_duration_since(self.started);
        let mut cells = self.cells();
        let known = cells.due.get(&key).copied();
        if known.is_none() && !cells.has_room(now) {
            cells.overflow = Some(decide(self.rate, cells.overflow, now)?);
            return Ok(());
        }
        let due = decide(self.rate, known, now)?;
        cells.due.insert(key, due);
        Ok(())
    }

    fn cells(&self) -> MutexGuard<'_, Cells<K>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Hash + Eq> Cells<K> {
    /// Whether one more key can be remembered. Those that may send all at once again are as good as forgotten.
    fn has_room(&mut self, now: Duration) -> bool {
        if self.due.len() >= KEYS_MAX && self.swept.is_none_or(|swept| now - swept >= SWEEP_INTERVAL) {
            self.swept = Some(now);
            self.due.retain(|_, due| *due > now);
        }
        self.due.len() < KEYS_MAX
    }
}

impl<K> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_a_unit_and_perhaps_a_burst() {
        let second = Duration::from_secs(1);
        for (text, expected) in [
            ("100/s", Rate::new(100, second, 100)),
            ("6000/m", Rate { interval: Duration::from_millis(10), burst: 6000 }),
            ("1/h", Rate { interval: Duration::from_secs(3600), burst: 1 }),
            ("10/s:50", Rate::new(10, second, 50)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for bad in ["", "100", "/s", "0/s", "-1/s", "1/d", "1/s:", "1/s:0", "1/s:x", "1000001/s", "1/s:5:5", "1.5/s"] {
            assert!(bad.parse::<Rate>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_burst_then_an_even_pace_and_never_more() {
        let limiter = Limiter::new("2/s:3".parse().unwrap());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        for _ in 0..3 {
            assert_eq!(limiter.take("a", at(0)), Ok(()));
        }
        let wait = limiter.take("a", at(0)).unwrap_err();
        assert_eq!(wait.retry_after_s(), 1);
        assert_eq!(limiter.take("b", at(0)), Ok(()), "another key has its own");
        assert!(limiter.take("a", at(499)).is_err());
        assert_eq!(limiter.take("a", at(501)), Ok(()));
        assert!(limiter.take("a", at(501)).is_err());
        // After a long rest no more than the burst.
        let taken = (0..10).filter(|_| limiter.take("a", at(600_000)).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn over_any_time_no_more_pass_than_burst_and_rate_allow() {
        let limiter = Limiter::new("10/s:5".parse().unwrap());
        let start = Instant::now();
        let taken = (0..10_000).filter(|ms| limiter.take((), start + Duration::from_millis(*ms)).is_ok()).count();
        assert!((5 + 99..=5 + 100).contains(&taken), "{taken}");
    }

    #[test]
    fn memory_is_bounded_and_those_who_are_known_keep_their_own() {
        let limiter = Limiter::new("1/h:2".parse().unwrap());
        let start = Instant::now();
        for key in 0..KEYS_MAX {
            limiter.take(key, start).unwrap();
        }
        // No room, and nothing to forget: strangers share one rate.
        assert_eq!(limiter.take(KEYS_MAX, start), Ok(()));
        assert_eq!(limiter.take(KEYS_MAX + 1, start), Ok(()));
        assert!(limiter.take(KEYS_MAX + 2, start).is_err());
        assert_eq!(limiter.take(7, start), Ok(()), "one that is known is not shut out by strangers");
        assert_eq!(limiter.cells().due.len(), KEYS_MAX);
        // Two hours later all but the last are forgotten.
        let later = start + Duration::from_secs(7201);
        assert_eq!(limiter.take(KEYS_MAX, later), Ok(()));
        assert_eq!(limiter.cells().due.len(), 1);
    }
}
