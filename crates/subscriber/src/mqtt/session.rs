//! What must be remembered of QoS 2 while this process lives: which packet ids the broker has not released.
//!
//! MQTT 5.0 §4.3.3: between the PUBLISH and its PUBREL the receiver treats a PUBLISH with the same id as the same
//! message. Across a restart of this process that memory is gone; what is sent again is then stored with `dup` set.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A message's content, as far as it identifies a repetition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    pub(super) fn of(topic: &[u8], payload: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        topic.hash(&mut hasher);
        payload.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The unreleased packet ids, at most 65,535 of them.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    held: HashMap<u16, Fingerprint>,
}

impl Inbound {
    /// A QoS 2 PUBLISH came: whether it is to be stored. A repetition only needs its PUBREC again.
    pub(super) fn publish(&mut self, dup: bool, pkid: u16, fingerprint: Fingerprint) -> bool {
        let repeated = dup && self.held.get(&pkid) == Some(&fingerprint);
        self.held.insert(pkid, fingerprint);
        !repeated
    }

    /// PUBREL came: the id is free for another message.
    pub(super) fn release(&mut self, pkid: u16) {
        self.held.remove(&pkid);
    }

    /// The broker has forgotten the session: its ids start over.
    pub(super) fn lose(&mut self) {
        self.held.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repetition_is_stored_once_until_it_is_released() {
        let mut inbound = Inbound::default();
        let (one, two) = (Fingerprint::of(b"t", b"1"), Fingerprint::of(b"t", b"2"));
        assert!(inbound.publish(false, 7, one));
        assert!(!inbound.publish(true, 7, one), "sent again after a reconnect");
        assert!(inbound.publish(true, 8, one), "another id is another message");
        assert!(inbound.publish(true, 7, two), "other content is another message");
        assert!(!inbound.publish(true, 7, two));
        inbound.release(7);
        assert!(inbound.publish(true, 7, two), "the id was free again");
        assert!(inbound.publish(false, 7, two), "a first delivery is never a repetition");
        inbound.lose();
        assert!(inbound.publish(true, 7, two));
    }
}
