//! Whether this machine's clock can be believed when it says that rows are too old. Pure: both clocks are arguments.

use std::time::Duration;

use dados::Timestamp;
use service::doctor::words::span;

/// How far the clock may be from what is known: a day, and a little for what comes once a day.
pub(crate) const APART_MAX: Duration = Duration::from_secs(26 * 3600);
/// A difference to the clock that never steps that no adjustment of its rate explains.
const STEP_MIN: Duration = Duration::from_secs(60);
/// Nothing is deleted for so long after a step: a clock that was set wrong by hand is soon set right.
const STEP_REST: Duration = Duration::from_secs(600);
/// A clock that has run for so long without a step, and that new messages agree with, is believed although it is far
/// from what was known: the machine was off for weeks.
const STEADY: Duration = Duration::from_secs(24 * 3600);

/// What is known of the clock. Durations are since the machine's boot.
#[derive(Debug)]
pub(super) struct Trust {
    /// A time that is believed, and the moment when it was.
    known: Timestamp,
    known_at: Duration,
    /// What the clock said at the last look.
    last: Timestamp,
    last_at: Duration,
    /// The last step that was noticed.
    stepped_at: Option<Duration>,
    /// Since then the clock has not stepped, as far as is known.
    steady_since: Duration,
}

/// Why the clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Doubt {
    /// By so much, in milliseconds.
    #[error("the clock is {} ahead of the data: it is wrong, or nothing was stored meanwhile", apart(.0))]
    Ahead(i64),
    #[error("the clock is {} behind the data", apart(.0))]
    Behind(i64),
    #[error("the clock has stepped by {}", apart(.0))]
    Stepped(i64),
}

fn apart(ms: &i64) -> String {
    span(ms.unsigned_abs() as f64 / 1e3)
}

impl Trust {
    /// `reference` is what the database tells of the time before this start; none where it has nothing to lose.
    pub(super) fn new(reference: Option<Timestamp>, now: Timestamp, since_boot: Duration) -> Self {
        Self {
            known: reference.unwrap_or(now),
            known_at: since_boot,
            last: now,
            last_at: since_boot,
            stepped_at: None,
            steady_since: since_boot,
        }
    }

    /// Somebody vouches for the clock as it is.
    pub(super) fn confirm(&mut self, now: Timestamp, since_boot: Duration) {
        *self = Self::new(None, now, since_boot);
    }

    /// Whether the clock is believed now. `newest` is the time of the newest messages that have arrived.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        since_boot: Duration,
        newest: Option<Timestamp>,
    ) -> Result<(), Doubt> {
        let step_ms = beyond(now, self.last, since_boot.saturating_sub(self.last_at));
        (self.last, self.last_at) = (now, since_boot);
        if step_ms.unsigned_abs() >= ms(STEP_MIN).unsigned_abs() {
            (self.stepped_at, self.steady_since) = (Some(since_boot), since_boot);
        }
        let apart_ms = beyond(now, self.known, since_boot.saturating_sub(self.known_at));
        let is_near = |ms_apart: i64| ms_apart.unsigned_abs() <= ms(APART_MAX).unsigned_abs();
        let is_steady = since_boot.saturating_sub(self.steady_since) >= STEADY;
        let agrees = newest.is_some_and(|newest| is_near(now.as_ms() - newest.as_ms()));
        let is_plausible = is_near(apart_ms) || is_steady && agrees;
        if !is_plausible {
            return Err(if apart_ms > 0 { Doubt::Ahead(apart_ms) } else { Doubt::Behind(apart_ms) });
        }
        if self.stepped_at.is_some_and(|at| since_boot.saturating_sub(at) < STEP_REST) {
            return Err(Doubt::Stepped(apart_ms));
        }
        (self.known, self.known_at) = (now, since_boot);
        Ok(())
    }
}

/// How far `now` is beyond what a time has become after so long, in milliseconds.
fn beyond(now: Timestamp, then: Timestamp, elapsed: Duration) -> i64 {
    now.as_ms() - then.as_ms() - ms(elapsed)
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;
    /// 2026-11-23T03:00:00Z
    const BASE_MS: i64 = 1_795_402_800_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_ms(BASE_MS + ms).unwrap()
    }

    fn boot(ms: i64) -> Duration {
        Duration::from_millis(DAY.unsigned_abs() + ms.unsigned_abs())
    }

    /// A look `ms` after the start, at which the clock is `off` by so much.
    fn look(trust: &mut Trust, ms: i64, off: i64) -> Result<(), Doubt> {
        trust.look(at(ms + off), boot(ms), Some(at(ms)))
    }

    fn started(reference: Option<i64>) -> Trust {
        Trust::new(reference.map(at), at(0), boot(0))
    }

    #[test]
    fn a_clock_near_the_data_is_believed() {
        for reference in [None, Some(0), Some(-DAY), Some(DAY)] {
            let mut trust = started(reference);
            for ms in [0, 1, HOUR, 30 * DAY, 30 * DAY + HOUR] {
                assert_eq!(look(&mut trust, ms, 0), Ok(()), "{reference:?} {ms}");
            }
        }
    }

    #[test]
    fn a_clock_that_is_wrong_at_the_start_is_not() {
        let mut trust = started(Some(-2 * DAY));
        assert_eq!(look(&mut trust, 0, 0), Err(Doubt::Ahead(2 * DAY)));
        assert_eq!(look(&mut trust, HOUR, 0), Err(Doubt::Ahead(2 * DAY)));
        let mut trust = started(Some(56 * YEAR));
        assert_eq!(look(&mut trust, 0, 0), Err(Doubt::Behind(-56 * YEAR)));
        // NTP sets it, which takes a rest too.
        assert_eq!(look(&mut trust, 60_000, 56 * YEAR), Err(Doubt::Stepped(0)));
        assert_eq!(look(&mut trust, 600_000, 56 * YEAR), Err(Doubt::Stepped(0)));
        assert_eq!(look(&mut trust, 660_000, 56 * YEAR), Ok(()));
    }

    #[test]
    fn a_clock_that_is_wrong_for_a_minute_is_not_believed_and_then_is_again() {
        let mut trust = started(Some(0));
        assert_eq!(look(&mut trust, HOUR, 0), Ok(()));
        assert_eq!(look(&mut trust, HOUR + 60_000, 73 * YEAR), Err(Doubt::Ahead(73 * YEAR)));
        assert!(matches!(look(&mut trust, HOUR + 120_000, 0), Err(Doubt::Stepped(_))));
        assert_eq!(look(&mut trust, 2 * HOUR, 0), Ok(()));
        // A step that is less than what may be apart.
        assert_eq!(look(&mut trust, 2 * HOUR + 60_000, 20 * HOUR), Err(Doubt::Stepped(20 * HOUR)));
        assert!(matches!(look(&mut trust, 2 * HOUR + 120_000, 0), Err(Doubt::Stepped(_))));
        assert_eq!(look(&mut trust, 3 * HOUR, 0), Ok(()));
    }

    #[test]
    fn after_weeks_off_a_steady_clock_that_new_messages_agree_with_is_believed() {
        let mut trust = started(Some(-60 * DAY));
        for hour in 0..24 {
            assert_eq!(look(&mut trust, hour * HOUR, 0), Err(Doubt::Ahead(60 * DAY)), "{hour}");
        }
        assert_eq!(look(&mut trust, DAY, 0), Ok(()));
        assert_eq!(look(&mut trust, DAY + HOUR, 0), Ok(()));
    }

    #[test]
    fn a_steady_clock_that_new_messages_contradict_is_never_believed() {
        let mut trust = started(Some(-73 * YEAR));
        for hour in 0..100 {
            let newest = at(hour * HOUR - 73 * YEAR);
            assert!(trust.look(at(hour * HOUR), boot(hour * HOUR), Some(newest)).is_err());
            assert!(trust.look(at(hour * HOUR), boot(hour * HOUR), None).is_err());
        }
    }

    #[test]
    fn a_step_begins_the_wait_anew() {
        let mut trust = started(Some(-60 * DAY));
        assert!(look(&mut trust, 0, 0).is_err());
        assert!(look(&mut trust, 23 * HOUR, 2 * HOUR).is_err());
        assert!(look(&mut trust, 25 * HOUR, 2 * HOUR).is_err());
        assert!(look(&mut trust, 46 * HOUR, 2 * HOUR).is_err());
        assert_eq!(look(&mut trust, 47 * HOUR, 2 * HOUR), Ok(()));
    }

    #[test]
    fn who_confirms_vouches_for_the_clock() {
        let mut trust = started(Some(-60 * DAY));
        assert!(look(&mut trust, 0, 0).is_err());
        trust.confirm(at(HOUR), boot(HOUR));
        assert_eq!(look(&mut trust, HOUR, 0), Ok(()));
        assert_eq!(look(&mut trust, 2 * HOUR, 0), Ok(()));
    }
}
