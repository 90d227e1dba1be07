//! QoS 1 within one process: a message that is stored, and whose acknowledgement was never written, comes again with DUP
//! and is not stored again.
//!
//! Across a crash nothing of this is known: brokers give a packet id to another message as soon as they have the
//! acknowledgement, so what was written in the last moments is ambiguous. Such a message is stored again, with `dup` set.

use super::Fingerprint;

/// The messages whose acknowledgement the broker cannot have: at most one a packet id.
///
/// While a backlog comes, nearly every id is owed one, so there is a place for each: 768 KiB in all, which a map of as
/// many would exceed fourfold, and more while it grows.
#[derive(Debug)]
pub struct Owed {
    fingerprints: Box<[Fingerprint]>,
    /// The connection that the message came on last; 0 where none is owed.
    generations: Box<[u32]>,
}

const IDS: usize = u16::MAX as usize + 1;

impl Default for Owed {
    fn default() -> Self {
        Self { fingerprints: vec![Fingerprint(0); IDS].into(), generations: vec![0; IDS].into() }
    }
}

/// What is to be done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Store it, then acknowledge it.
    New,
    /// It is stored, or will be: acknowledge it behind what was handed over before.
    Repeated,
    /// The same, and on this connection: its acknowledgement is under way.
    Pending,
}

impl Owed {
    /// A PUBLISH came on the connection of this `generation`. One that `expires` is never taken for a repetition: the
    /// broker may have dropped the first and given its id to another.
    pub fn publish(
        &mut self,
        generation: u64,
        pkid: u16,
        dup: bool,
        expires: bool,
        fingerprint: Fingerprint,
    ) -> Delivery {
        // Connections are seconds apart at least: their number stays below 2³² for longer than a process lives.
        let generation = generation as u32;
        let before = std::mem::replace(&mut self.generations[usize::from(pkid)], generation);
        let known = std::mem::replace(&mut self.fingerprints[usize::from(pkid)], fingerprint);
        if before == 0 || !dup || expires || known != fingerprint {
            Delivery::New
        } else if before == generation {
            Delivery::Pending
        } else {
            Delivery::Repeated
        }
    }

    /// The acknowledgement was written: whether it arrived nobody knows.
    pub fn written(&mut self, pkid: u16) {
        self.generations[usize::from(pkid)] = 0;
    }

    /// The broker has forgotten the session: its ids start over.
    pub fn lose(&mut self) {
        self.generations.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Fingerprint = Fingerprint(1);
    const TWO: Fingerprint = Fingerprint(2);

    #[test]
    fn what_was_never_acknowledged_is_stored_once() {
        let mut owed = Owed::default();
        assert_eq!(owed.publish(1, 5, false, false, ONE), Delivery::New);
        assert_eq!(
            owed.publish(1, 5, true, false, ONE),
            Delivery::Pending,
            "no second acknowledgement for one message"
        );
        assert_eq!(owed.publish(2, 5, true, false, ONE), Delivery::Repeated);
        assert_eq!(owed.publish(3, 5, true, false, ONE), Delivery::Repeated, "cut again before it was acknowledged");
        owed.written(5);
        assert_eq!(owed.publish(4, 5, true, false, ONE), Delivery::New, "ambiguous: stored, and marked");
    }

    #[test]
    fn anything_else_is_another_message() {
        let mut owed = Owed::default();
        assert_eq!(owed.publish(1, 5, false, false, ONE), Delivery::New);
        assert_eq!(owed.publish(2, 6, true, false, ONE), Delivery::New, "another id");
        assert_eq!(owed.publish(2, 5, true, false, TWO), Delivery::New, "other content");
        assert_eq!(owed.publish(3, 5, false, false, TWO), Delivery::New, "a first delivery");
        assert_eq!(owed.publish(4, 5, true, true, TWO), Delivery::New, "it may have expired");
        owed.lose();
        assert_eq!(owed.publish(5, 5, true, false, TWO), Delivery::New, "another session");
    }
}
