//! Messages that are captured before this machine's clock is set (1970, until NTP answers), and their right time after it is.
//!
//! A message that is captured then is stored with what the clock that never steps shows (`spool/frame`), also over restarts
//! in the same boot. It waits in the spool until the clock is set, but no longer than [`WAIT_MAX`] after the start; then it
//! is sent with the time that it has.

use std::time::Duration;

use dados::Timestamp;
use service::clock::{boot_id, since_boot};

use crate::spool::{BootTime, Clock, Message};

/// 2024-01-01T00:00:00Z, years before the first of these programs: a clock that shows less was never set. It begins at 1970,
/// at 2000, or where the system was built.
const SET_FROM_MS: i64 = 1_704_067_200_000;
/// How long after the start messages wait for the clock to be set: a router needs minutes after a power cut.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(600);
/// Between two looks whether it is.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Now, in milliseconds since the Unix epoch, and whether that can be right.
pub(crate) fn now() -> (i64, Clock) {
    let now_ms = Timestamp::now().as_ms();
    if is_set(now_ms) {
        return (now_ms, Clock::Set);
    }
    let unset = |boot| Clock::Unset(BootTime { boot, since_ms: ms(since_boot()) });
    (now_ms, boot_id().map_or(Clock::Set, unset))
}

fn is_set(now_ms: i64) -> bool {
    now_ms >= SET_FROM_MS
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Corrects times, and knows how long they are waited for.
#[derive(Debug)]
pub(crate) struct Corrector {
    boot: Option<u64>,
    started: Duration,
}

impl Corrector {
    pub(crate) fn new() -> Self {
        Self { boot: boot_id(), started: since_boot() }
    }

    /// Whether a message waits now.
    pub(crate) fn waits(&self, messages: impl Iterator<Item = Clock>) -> bool {
        self.waits_at(messages, Timestamp::now().as_ms(), since_boot())
    }

    fn waits_at(&self, mut messages: impl Iterator<Item = Clock>, now_ms: i64, since_boot: Duration) -> bool {
        let is_of_this_boot = |clock| matches!(clock, Clock::Unset(at) if Some(at.boot) == self.boot);
        !is_set(now_ms) && since_boot.saturating_sub(self.started) < WAIT_MAX && messages.any(is_of_this_boot)
    }

    /// Gives a message its right time if it was captured in this boot and the clock is set by now; whether it did.
    pub(crate) fn correct(&self, message: &mut Message) -> bool {
        self.correct_at(message, Timestamp::now().as_ms(), since_boot())
    }

    fn correct_at(&self, message: &mut Message, now_ms: i64, since_boot: Duration) -> bool {
        match message.clock {
            Clock::Unset(at) if Some(at.boot) == self.boot && is_set(now_ms) => {
                let age_ms = ms(since_boot).saturating_sub(at.since_ms);
                message.captured_ms = now_ms.saturating_sub_unsigned(age_ms);
                message.clock = Clock::Corrected;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT_MS: i64 = SET_FROM_MS + 86_400_000;

    fn unset(boot: u64) -> Clock {
        Clock::Unset(BootTime { boot, since_ms: 40_000 })
    }

    fn message(clock: Clock) -> Message {
        let (topic, payload) = Default::default();
        Message { topic, payload, qos: 1, retain: false, dup: false, captured_ms: 40_000, clock }
    }

    fn corrector() -> Corrector {
        Corrector { boot: Some(7), started: Duration::from_secs(30) }
    }

    /// What a message of this clock becomes 100 s after the boot, by a clock that shows `now_ms`.
    fn corrected(clock: Clock, now_ms: i64) -> (i64, Clock) {
        let mut message = message(clock);
        let is_corrected = corrector().correct_at(&mut message, now_ms, Duration::from_secs(100));
        assert_eq!(is_corrected, message.clock != clock);
        (message.captured_ms, message.clock)
    }

    #[test]
    fn the_time_of_this_boot_is_corrected_once_the_clock_is_set() {
        assert_eq!(corrected(unset(7), RIGHT_MS), (RIGHT_MS - 60_000, Clock::Corrected));
        assert_eq!(corrected(unset(7), 100_000), (40_000, unset(7)));
        assert_eq!(corrected(unset(8), RIGHT_MS), (40_000, unset(8)));
        assert_eq!(corrected(Clock::Set, RIGHT_MS), (40_000, Clock::Set));
    }

    #[test]
    fn what_can_be_corrected_waits_and_not_for_ever() {
        let corrector = corrector();
        let waits =
            |clock, now_ms, s| corrector.waits_at([Clock::Set, clock].into_iter(), now_ms, Duration::from_secs(s));
        assert!(waits(unset(7), 40_000, 40));
        assert!(waits(unset(7), 40_000, 629));
        assert!(!waits(unset(7), 40_000, 630), "it waits no longer");
        assert!(!waits(unset(7), RIGHT_MS, 40), "the clock is set");
        assert!(!waits(unset(8), 40_000, 40), "another boot's time is nothing to correct");
        assert!(!waits(Clock::Set, 40_000, 40));
        assert!(!corrector.waits_at(std::iter::empty(), 40_000, Duration::from_secs(40)));
    }

    #[test]
    fn a_clock_that_is_set_costs_no_message_anything() {
        assert_eq!(now().1, Clock::Set);
    }
}
