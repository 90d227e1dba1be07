//! Whether the broker gives packet ids in ascending order: then an id that was just released cannot name a new message.
//!
//! Brokers differ: mosquitto and EMQX count up to 65,535 and begin again; HiveMQ takes the lowest free id. Among the latter a
//! released id may come back at once.

/// So many ids in a row, each one above the last, that a broker which takes the lowest free id cannot give them: it would
/// have to have more messages in flight than our receive maximum lets it.
pub const ASCENDING_AFTER: u16 = 256;

/// Follows the packet ids of QoS 1 and 2, which share one space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    newest: Option<u16>,
    /// How many ids in a row were one above the last; no more than [`ASCENDING_AFTER`].
    run: u16,
}

impl Order {
    /// What an earlier run of the program knew. The next id may be any.
    pub fn known(ascending: bool) -> Self {
        Self { newest: None, run: if ascending { ASCENDING_AFTER } else { 0 } }
    }

    /// A PUBLISH with this id came.
    pub fn saw(&mut self, pkid: u16, dup: bool) {
        let Some(newest) = self.newest else {
            self.newest = Some(pkid);
            return;
        };
        if pkid == next(newest) {
            self.newest = Some(pkid);
            self.run = (self.run + 1).min(ASCENDING_AFTER);
        } else if !(dup && is_behind(pkid, newest)) {
            // Not a repetition of an earlier message: the broker went elsewhere.
            self.newest = Some(pkid);
            self.run = 0;
        }
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
        ids.into_iter().for_each(|pkid| order.saw(pkid, false));
        order
    }

    #[test]
    fn counting_up_is_recognised_over_the_end_of_the_circle() {
        assert!(!after(1..=ASCENDING_AFTER).is_ascending());
        assert!(after(1..=ASCENDING_AFTER + 1).is_ascending());
        assert!(after((65_300..=u16::MAX).chain(1..=100)).is_ascending());
    }

    #[test]
    fn repetitions_of_earlier_messages_do_not_disturb() {
        let mut order = after(1..=300);
        (250..=310).for_each(|pkid| order.saw(pkid, true));
        order.saw(311, false);
        assert!(
            order.is_ascending(),
            "a reconnect in mid-stream: 250 to 300 come again, 301 to 310 for the first time"
        );
    }

    #[test]
    fn the_lowest_free_id_is_not_ascending() {
        let mut window = (1..=100u16).cycle();
        assert!(!after(std::iter::repeat_with(|| window.next().unwrap()).take(5_000)).is_ascending());
        let mut order = after(1..=300);
        order.saw(7, false);
        assert!(!order.is_ascending(), "a free id was taken again");
    }

    #[test]
    fn a_restart_keeps_what_was_known() {
        let mut order = Order::known(true);
        order.saw(4711, false);
        order.saw(4712, false);
        assert!(order.is_ascending());
        order.saw(1, false);
        assert!(!order.is_ascending());
    }
}
