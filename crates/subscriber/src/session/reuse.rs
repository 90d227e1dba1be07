//! How soon the broker gives a packet id again: where it takes its time, an id that was just released cannot name a new
//! message.
//!
//! Brokers differ, and MQTT 5.0 §2.2.1 asks only that an id is not in use: mosquitto and EMQX count up to 65,535 and
//! begin again, though not always in the order of sending; HiveMQ takes the lowest free id, so that a released one may
//! come back at once; others may have a smaller ring, or begin anew at each connection.

/// An id that is given again after fewer messages than this was given early.
const EARLY: u64 = 16_384;
/// After so many ids in a row that were not given early the broker is taken at its word. It is more than our receive
/// maximum, so that a counter that begins anew with each connection cannot have come near the newest ids unseen.
pub const LATE_AFTER: u16 = 1024;

/// Follows the packet ids of QoS 1 and 2, which share one space.
#[derive(Clone, Debug)]
pub struct Reuse {
    /// The number of the message that had the id last; 0 where none had.
    last: Box<[u64]>,
    messages: u64,
    /// How many ids in a row were not given early; no more than [`LATE_AFTER`].
    run: u16,
}

impl Reuse {
    /// Nothing was seen yet; `late` is what an earlier run of the program knew of the broker.
    pub fn new(late: bool) -> Self {
        let last = vec![0; usize::from(u16::MAX) + 1].into();
        Self { last, messages: 0, run: if late { LATE_AFTER } else { 0 } }
    }

    /// A PUBLISH with this id came. Says whether this is the first early one after many that were not.
    pub fn saw(&mut self, pkid: u16, dup: bool) -> bool {
        self.messages += 1;
        let before = std::mem::replace(&mut self.last[usize::from(pkid)], self.messages);
        if dup {
            // It has had the id for some time.
            return false;
        }
        if before == 0 || self.messages - before >= EARLY {
            self.run = (self.run + 1).min(LATE_AFTER);
            return false;
        }
        let was_late = self.is_late();
        self.run = 0;
        was_late
    }

    /// Whether ids were given late for long enough to rely on it.
    pub fn is_late(&self) -> bool {
        self.run == LATE_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ids: impl IntoIterator<Item = u16>) -> Reuse {
        let mut reuse = Reuse::new(false);
        for pkid in ids {
            reuse.saw(pkid, false);
        }
        reuse
    }

    #[test]
    fn a_broker_that_counts_on_is_recognised_in_whatever_order_it_sends() {
        assert!(!after(1..LATE_AFTER).is_late());
        assert!(after(1..=LATE_AFTER).is_late());
        assert!(after((1..=u16::MAX).chain(1..=u16::MAX)).is_late(), "over the end of the circle");
        assert!(after((1..=1000).step_by(2).chain((2..=1050).step_by(2))).is_late());
    }

    #[test]
    fn repetitions_do_not_disturb() {
        let mut reuse = after(1..=2000);
        assert!((1950..=2010).all(|pkid| !reuse.saw(pkid, true)));
        assert!(!reuse.saw(2011, false));
        assert!(reuse.is_late());
    }

    #[test]
    fn the_lowest_free_id_a_small_ring_and_a_counter_begun_anew_are_noticed() {
        for ring in [100, 1000, 16_000] {
            let mut ids = (1..=ring).cycle();
            assert!(!after(std::iter::repeat_with(|| ids.next().unwrap()).take(20_000)).is_late(), "{ring}");
        }
        let mut reuse = after(1..=2000);
        assert!(reuse.saw(7, false), "given again");
        assert!(!reuse.is_late());
        assert!(!reuse.saw(3, false), "nothing ends that had not begun");
        assert!(Reuse::new(true).is_late());
    }
}
