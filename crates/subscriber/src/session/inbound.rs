//! QoS 2: which packet ids the broker has not released, so that a repetition is told from a new message.
//!
//! mosquitto 2.0.11 repeats more than it may: after its restart it sends a PUBLISH again although it has had the
//! PUBREC, where it had not seen our PUBCOMP [MQTT-4.3.3-6]. So ids that were released are remembered too, but only as
//! long as the broker may not have our PUBCOMP: once it completes the handshake of a message that it sent for the first
//! time after that PUBCOMP was written, it has it, since a connection keeps the order of bytes. And only from brokers
//! that give ids again late ([`super::reuse`]): another may have given the id to a new message of the same content,
//! which would be lost.

use std::collections::{HashMap, VecDeque};

use super::{Fingerprint, Note};

/// So many released ids are remembered: mosquitto does not keep to our receive maximum, so thousands may be under way.
pub const RELEASED_KEPT: usize = 16_384;
/// After so many messages of QoS 1, which share the ids, a released id may come round again.
const PASSED_MAX: u32 = 16_384;

/// The unreleased packet ids, at most 65,535, and those released last.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    held: HashMap<u16, Held>,
    released: Released,
    /// Whether the broker gives ids again late.
    late: bool,
    /// Messages of QoS 1 since the newest of QoS 2 that came for the first time.
    passed: u32,
}

/// A message that the broker has not released.
#[derive(Clone, Copy, Debug)]
struct Held {
    fingerprint: Fingerprint,
    /// How many releases there were before it came for the first time: its own release proves that the broker has their
    /// PUBCOMPs. None where it came again, on another connection.
    after: Option<u64>,
}

/// The ids released last, each with what its message was.
#[derive(Clone, Debug, Default)]
struct Released {
    /// The number of its release, by which `queue` knows whether it is about this one.
    messages: HashMap<u16, (u64, Fingerprint)>,
    /// Oldest first; an id that is held again leaves its place behind.
    queue: VecDeque<(u64, u16)>,
    count: u64,
}

impl Released {
    fn push(&mut self, pkid: u16, fingerprint: Fingerprint) {
        self.count += 1;
        self.messages.insert(pkid, (self.count, fingerprint));
        self.queue.push_back((self.count, pkid));
        if self.queue.len() > RELEASED_KEPT {
            self.pop();
        }
    }

    /// Forgets the first so many: the broker has their PUBCOMPs.
    fn confirm(&mut self, count: u64) {
        while self.queue.front().is_some_and(|(number, _)| *number <= count) {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some((number, pkid)) = self.queue.pop_front()
            && self.messages.get(&pkid).is_some_and(|(newest, _)| *newest == number)
        {
            self.messages.remove(&pkid);
        }
    }

    fn has(&self, pkid: u16, fingerprint: Fingerprint) -> bool {
        self.messages.get(&pkid).is_some_and(|(_, known)| *known == fingerprint)
    }

    /// Oldest first, each with its number.
    fn iter(&self) -> impl Iterator<Item = (u64, u16, Fingerprint)> + '_ {
        let current = |&(number, pkid): &(u64, u16)| {
            let &(newest, fingerprint) = self.messages.get(&pkid)?;
            (newest == number).then_some((number, pkid, fingerprint))
        };
        self.queue.iter().filter_map(current)
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.queue.clear();
    }
}

impl Inbound {
    /// A PUBLISH came: whether it is to be stored rather than only answered, and the note to keep. `late` says whether
    /// the broker was seen to give ids again late.
    pub fn publish(&mut self, pkid: u16, dup: bool, fingerprint: Fingerprint, late: bool) -> (bool, Note) {
        let is_held = self.held.get(&pkid).is_some_and(|held| held.fingerprint == fingerprint);
        let was_released = late && self.remembers() && self.released.has(pkid, fingerprint);
        let note = Note::Held { pkid, fingerprint, late, dup };
        self.apply(note);
        (!(dup && (is_held || was_released)), note)
    }

    /// PUBREL came: the note to keep, if the id was held.
    pub fn release(&mut self, pkid: u16) -> Option<Note> {
        let note = Note::Released { pkid };
        let held = self.held.contains_key(&pkid);
        self.apply(note);
        held.then_some(note)
    }

    /// An id was given again early: the note to keep, if there was anything to forget.
    pub fn distrust(&mut self) -> Option<Note> {
        let any = !self.released.messages.is_empty();
        self.apply(Note::Early);
        any.then_some(Note::Early)
    }

    /// Messages of QoS 1 came.
    pub fn pass(&mut self, messages: u32) {
        self.passed = self.passed.saturating_add(messages);
    }

    /// The broker has forgotten the session: the note to keep, if there was anything to forget.
    pub fn lose(&mut self) -> Option<Note> {
        let empty = self.held.is_empty() && self.released.messages.is_empty();
        self.apply(Note::Lost);
        (!empty).then_some(Note::Lost)
    }

    /// Makes the change that a note stands for. Where a run of notes is applied twice, the ids that are held are those
    /// that they are after applying it once.
    pub fn apply(&mut self, note: Note) {
        match note {
            Note::Held { pkid, fingerprint, late, dup } => {
                if !late {
                    self.released.clear();
                }
                self.released.messages.remove(&pkid);
                let after = (!dup).then_some(self.released.count);
                self.held.insert(pkid, Held { fingerprint, after });
                self.late = late;
                if !dup {
                    self.passed = 0;
                }
            }
            Note::Released { pkid } => {
                if let Some(held) = self.held.remove(&pkid) {
                    held.after.into_iter().for_each(|count| self.released.confirm(count));
                    self.released.push(pkid, held.fingerprint);
                }
            }
            Note::Past { pkid, fingerprint } => self.released.push(pkid, fingerprint),
            Note::Passed { messages } => {
                self.passed = messages;
                self.late = true;
            }
            Note::Early => {
                self.released.clear();
                self.late = false;
            }
            Note::Lost => *self = Self::default(),
        }
    }

    /// Whether a released id still names the message that it named.
    fn remembers(&self) -> bool {
        self.late && self.passed < PASSED_MAX
    }

    /// Whether the broker was seen to give ids again late.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// Notes that give this state again when they are applied to an empty one.
    pub fn notes(&self) -> Vec<Note> {
        if !self.remembers() {
            return self.unreleased();
        }
        // Releases and first deliveries in the order in which they were: it says which of them prove what.
        let past: Vec<_> = self.released.iter().collect();
        let held = self.held.iter().map(|(&pkid, &Held { fingerprint, after })| {
            let note = Note::Held { pkid, fingerprint, late: true, dup: after.is_none() };
            let releases = after.map(|after| past.partition_point(|(number, ..)| *number <= after));
            ((releases.unwrap_or(0), if after.is_none() { 1 } else { 2 }, pkid), note)
        });
        let past = past
            .iter()
            .enumerate()
            .map(|(index, &(_, pkid, fingerprint))| ((index + 1, 0, pkid), Note::Past { pkid, fingerprint }));
        let mut all: Vec<_> = past.chain(held).collect();
        all.sort_unstable_by_key(|(place, _)| *place);
        all.into_iter().map(|(_, note)| note).chain([Note::Passed { messages: self.passed }]).collect()
    }

    /// Those notes alone without which a message could be stored twice from any broker.
    pub fn unreleased(&self) -> Vec<Note> {
        let note = |(&pkid, held): (&u16, &Held)| Note::Held {
            pkid,
            fingerprint: held.fingerprint,
            late: false,
            dup: held.after.is_none(),
        };
        let mut held: Vec<_> = self.held.iter().collect();
        held.sort_unstable_by_key(|(pkid, _)| **pkid);
        held.into_iter().map(note).collect()
    }
}

impl PartialEq for Inbound {
    fn eq(&self, other: &Self) -> bool {
        self.notes() == other.notes()
    }
}

impl FromIterator<Note> for Inbound {
    fn from_iter<T: IntoIterator<Item = Note>>(notes: T) -> Self {
        let mut inbound = Self::default();
        notes.into_iter().for_each(|note| inbound.apply(note));
        inbound
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::reuse::Reuse;

    const ONE: Fingerprint = Fingerprint(1);
    const TWO: Fingerprint = Fingerprint(2);

    #[test]
    fn a_repetition_is_stored_once_until_it_is_released() {
        let mut inbound = Inbound::default();
        let mut is_new = |dup, pkid, print| inbound.publish(pkid, dup, print, false).0;
        assert!(is_new(false, 7, ONE));
        assert!(!is_new(true, 7, ONE), "sent again after a reconnect");
        assert!(is_new(true, 8, ONE), "another id is another message");
        assert!(is_new(true, 7, TWO), "other content is another message");
        assert!(!is_new(true, 7, TWO));
        assert!(inbound.release(7).is_some());
        assert!(inbound.release(7).is_none());
        let mut is_new = |dup, pkid, print| inbound.publish(pkid, dup, print, false).0;
        assert!(is_new(true, 7, TWO), "the id was free again");
        assert!(is_new(false, 7, TWO), "a first delivery is never a repetition");
        assert!(inbound.lose().is_some());
        assert!(inbound.publish(7, true, TWO, false).0);
    }

    #[test]
    fn what_was_released_is_recognised_where_ids_are_given_again_late() {
        let mut inbound = Inbound::default();
        inbound.publish(7, false, ONE, true);
        inbound.publish(8, false, TWO, true);
        inbound.release(7);
        assert!(inbound.clone().publish(7, true, ONE, false).0, "the id may have been given to another");
        assert!(inbound.clone().publish(7, false, ONE, true).0);
        assert!(inbound.clone().publish(7, true, TWO, true).0);
        let mut passed = inbound.clone();
        passed.pass(PASSED_MAX);
        assert!(passed.publish(7, true, ONE, true).0, "it may have come round");
        let mut early = inbound.clone();
        assert_eq!(early.distrust(), Some(Note::Early));
        assert!(early.publish(7, true, ONE, true).0);
        // 8 came before 7 was released: that it is released too proves nothing.
        inbound.release(8);
        assert!(!inbound.clone().publish(7, true, ONE, true).0);
        // Nor does one that came again after a cut.
        inbound.publish(9, true, TWO, true);
        inbound.release(9);
        assert!(!inbound.publish(7, true, ONE, true).0);
        assert!(!inbound.publish(7, true, ONE, true).0, "and again");
        inbound.release(7);
        // 10 came for the first time after that: the broker has released it, so it has our PUBCOMP for 7.
        inbound.publish(10, false, TWO, true);
        inbound.release(10);
        assert!(inbound.publish(7, true, ONE, true).0, "the id is free");
    }

    /// A broker's own choice of packet ids, as the receiver sees it: every message is "ON". Says which were stored.
    struct Seen {
        reuse: Reuse,
        inbound: Inbound,
    }

    impl Seen {
        fn publish(&mut self, pkid: u16, dup: bool) -> bool {
            self.reuse.saw(pkid, dup);
            self.inbound.publish(pkid, dup, ONE, self.reuse.is_late()).0
        }

        fn whole_handshake(&mut self, pkid: u16) {
            assert!(self.publish(pkid, false));
            self.inbound.release(pkid);
        }
    }

    /// MQTT 5.0 §2.2.1 asks only that an id is not in use: a ring of 1,000 ids, or a counter that each connection
    /// begins anew.
    #[test]
    fn a_new_message_is_stored_though_its_id_has_come_round_before() {
        let mut seen = Seen { reuse: Reuse::new(false), inbound: Inbound::default() };
        (1..=1000).for_each(|pkid| seen.whole_handshake(pkid));
        (1..=300).for_each(|pkid| seen.whole_handshake(pkid));
        // 301 is sent, the connection is cut before it is read, and it is sent again.
        assert!(seen.publish(301, true), "a message that was never stored was taken for one of the round before");
    }

    /// mosquitto, which counts to 65,535: QoS 1 shares the ids, so few messages of QoS 2 are remembered over many
    /// circles.
    #[test]
    fn a_new_message_is_stored_though_its_id_was_released_a_circle_ago() {
        let mut seen = Seen { reuse: Reuse::new(false), inbound: Inbound::default() };
        for pkid in (1..=u16::MAX).chain(1..200) {
            if pkid % 200 == 0 {
                seen.whole_handshake(pkid);
            } else {
                seen.reuse.saw(pkid, false);
            }
        }
        assert!(seen.publish(200, true), "sent, cut before it was read, sent again: never stored");
    }

    /// A counter that each connection begins anew, and two cuts: nothing of the second connection is read.
    #[test]
    fn a_new_message_is_stored_though_its_first_delivery_on_a_new_connection_was_lost() {
        let mut seen = Seen { reuse: Reuse::new(false), inbound: Inbound::default() };
        (1..=1000).for_each(|pkid| seen.whole_handshake(pkid));
        assert!(seen.publish(1, true), "1 named another message, three connections ago");
    }

    /// The same over a restart of the subscriber, which has forgotten when each id was given.
    #[test]
    fn a_new_message_is_stored_though_its_id_was_given_before_a_restart() {
        let mut seen = Seen { reuse: Reuse::new(false), inbound: Inbound::default() };
        (1..=1000).for_each(|pkid| seen.whole_handshake(pkid));
        let inbound: Inbound = seen.inbound.notes().into_iter().collect();
        let mut seen = Seen { reuse: Reuse::new(inbound.is_late()), inbound };
        (1..=50).for_each(|pkid| seen.whole_handshake(pkid));
        assert!(seen.publish(51, true), "sent, cut before it was read, sent again: never stored");
    }

    fn any_note() -> impl Strategy<Value = Note> {
        let held = (1..40u16, 0..4u64, prop::bool::weighted(0.95), any::<bool>());
        let held =
            held.prop_map(|(pkid, print, late, dup)| Note::Held { pkid, fingerprint: Fingerprint(print), late, dup });
        prop_oneof![
            8 => held,
            6 => (1..40u16).prop_map(|pkid| Note::Released { pkid }),
            1 => Just(Note::Early),
            1 => Just(Note::Lost),
        ]
    }

    proptest! {
        #[test]
        fn notes_give_the_state_again(notes in prop::collection::vec(any_note(), 0..300)) {
            let state: Inbound = notes.iter().copied().collect();
            let again: Inbound = state.notes().into_iter().collect();
            prop_assert_eq!(&again, &state);
            prop_assert_eq!(again.remembers(), state.remembers());
            let mut twice = state.clone();
            notes.iter().for_each(|note| twice.apply(*note));
            let held = |inbound: &Inbound| {
                let mut ids: Vec<_> = inbound.held.iter().map(|(pkid, held)| (*pkid, held.fingerprint.0)).collect();
                ids.sort_unstable();
                ids
            };
            prop_assert_eq!(held(&twice), held(&state), "the last note for an id wins");
        }
    }
}
