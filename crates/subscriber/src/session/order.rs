//! Whether the broker gives packet ids in ascending order: then an id that was just released cannot name a new message.
//!
//! Brokers differ, and MQTT 5.0 §2.2.1 asks only that an id is not in use: mosquitto and EMQX count up to 65,535 and begin again; HiveMQ takes
//! the lowest free id, so that a released one may come back at once; others may have a ring of their own, or begin
//! anew at each connection.

/// So many ids in a row, each one above the last, that neither a broker that takes the lowest free id and keeps to our
/// receive maximum can give them, nor one whose counter begins anew with each connection can have come near them unseen.
pub const ASCENDING_AFTER: u16 = 1024;
/// After a restart of ours so many ids may have been given that we do not know of: those of messages that were not
/// durable yet.
const UNKNOWN_MAX: u32 = 16_384;

/// Follows the packet ids of QoS 1 and 2, which share one space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    newest: Option<u16>,
    /// How many ids in a row were one above the last; no more than [`ASCENDING_AFTER`].
    run: u16,
    /// After a restart, until the first id: how far on it may be.
    leap_max: Option<u32>,
}

impl Order {
    /// What an earlier run of the program knew, where ids ascended: the newest id of QoS 2, and how many messages of QoS 1 came
    /// after it.
    pub fn resume(known: Option<(u16, u32)>) -> Self {
        known.map_or_else(Self::default, |(newest, passed)| Self {
            newest: Some(newest),
            run: ASCENDING_AFTER,
            leap_max: Some(passed.saturating_add(UNKNOWN_MAX)),
        })
    }

    /// A PUBLISH with this id came. Says whether this ends an ascent.
    pub fn saw(&mut self, pkid: u16, dup: bool) -> bool {
        let leap_max = self.leap_max.take();
        let Some(newest) = self.newest.replace(pkid) else { return false };
        if pkid == next(newest) {
            self.run = (self.run + 1).min(ASCENDING_AFTER);
            return false;
        }
        if dup && is_behind(pkid, newest) {
            // A repetition of an earlier message.
            self.newest = Some(newest);
            self.leap_max = leap_max;
            return false;
        }
        if leap_max.is_some_and(|max| u32::from(pkid.wrapping_sub(newest)) <= max && !is_behind(pkid, newest)) {
            return false;
        }
        let was_ascending = self.is_ascending();
        self.run = 0;
        was_ascending
    }

    /// Whether ids were ascending long enough to rely on it.
    pub fn is_ascending(&self) -> bool {
        self.run == ASCENDING_AFTER
    }
}

/// 0 is no packet id (MQTT 5.0 §2.2.1).
fn next(pkid: u16) -> u16 {
    if pkid == u16::MAX { 1 } else { pkid + 1 }
}

/// Whether `pkid` was given before `newest` rather than after, on the circle of ids.
fn is_behind(pkid: u16, newest: u16) -> bool {
    newest.wrapping_sub(pkid) < u16::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(ids: impl IntoIterator<Item = u16>) -> Order {
        let mut order = Order::default();
        for pkid in ids {
            order.saw(pkid, false);
        }
        order
    }

    #[test]
    fn counting_up_is_recognised_over_the_end_of_the_circle() {
        assert!(!after(1..=ASCENDING_AFTER).is_ascending());
        assert!(after(1..=ASCENDING_AFTER + 1).is_ascending());
        assert!(after((65_000..=u16::MAX).chain(1..=1000)).is_ascending());
    }

    #[test]
    fn repetitions_of_earlier_messages_do_not_disturb() {
        let mut order = after(1..=2000);
        assert!((1950..=2010).all(|pkid| !order.saw(pkid, true)));
        assert!(!order.saw(2011, false));
        assert!(
            order.is_ascending(),
            "a reconnect in mid-stream: 1950 to 2000 come again, 2001 to 2010 for the first time"
        );
    }

    #[test]
    fn the_lowest_free_id_and_a_small_ring_are_not_ascending() {
        for ring in [100, 1000] {
            let mut ids = (1..=ring).cycle();
            assert!(!after(std::iter::repeat_with(|| ids.next().unwrap()).take(5_000)).is_ascending(), "{ring}");
        }
        let mut order = after(1..=2000);
        assert!(order.saw(7, false), "a free id was taken again");
        assert!(!order.is_ascending());
        assert!(!order.saw(3, false), "nothing ends that had not begun");
    }

    #[test]
    fn after_a_restart_the_ascent_goes_on_where_it_was() {
        let resumed = || Order::resume(Some((1000, 50)));
        for (pkid, dup, ascending) in [
            (1001, false, true),
            (1051, false, true),
            (990, true, true),
            (990, false, false),
            (1000 + 50 + 16_384, false, true),
            (1000 + 50 + 16_385, false, false),
            (60_000, false, false),
        ] {
            let mut order = resumed();
            order.saw(pkid, dup);
            assert_eq!(order.is_ascending(), ascending, "{pkid} {dup}");
        }
        let mut order = resumed();
        order.saw(1010, false);
        assert!(order.saw(1020, false), "one leap only");
        assert!(!Order::resume(None).is_ascending());
    }
}
