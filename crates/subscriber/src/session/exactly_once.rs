//! QoS 2 against simulated brokers: every message is stored once, over any history of cuts and crashes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{Fingerprint, Inbound, Note};

/// What a broker and the network may do to a session.
#[derive(Clone, Debug)]
enum Step {
    /// A new message of this content is sent; it may be lost on the way.
    Send { content: u64, arrives: bool },
    /// The broker takes up to so many of our answers and continues its handshakes.
    Progress { answers: usize },
    /// The connection is cut, and stands again: the broker sends again what it must.
    Reconnect { arrives: usize },
    /// We are killed: what is not durable is gone, and so is the connection.
    Crash { arrives: usize },
    /// What was received is made durable and answered.
    Commit,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3u64, prop::bool::weighted(0.9)).prop_map(|(content, arrives)| Step::Send { content, arrives }),
        5 => (1..6usize).prop_map(|answers| Step::Progress { answers }),
        4 => Just(Step::Commit),
        1 => (0..20usize).prop_map(|arrives| Step::Reconnect { arrives }),
        1 => (0..20usize).prop_map(|arrives| Step::Crash { arrives }),
    ]
}

/// What a broker has sent and not seen completed.
#[derive(Clone, Copy)]
struct Flight {
    pkid: u16,
    content: u64,
    number: usize,
    /// Whether the broker has the PUBREC.
    recorded: bool,
}

/// What is on its way to the broker, which reads it in order.
enum Answer {
    Rec(u16),
    Comp(u16),
}

/// A broker, and a subscriber with a disk.
#[derive(Default)]
struct World {
    /// As mosquitto: ids count on, and a PUBLISH is sent again even after its PUBREC. Else MQTT-4.3.3 is kept, and the
    /// lowest free id is taken: the hardest case.
    mosquitto: bool,
    inflight: Vec<Flight>,
    sent: usize,
    /// Whether the connection still carries anything: a lost packet is only lost with all that follow it.
    alive: bool,
    live: Inbound,
    durable: Inbound,
    /// Not durable yet: the message's number, if it is new, the note, and the id that is owed a PUBREC.
    pending: Vec<(Option<usize>, Option<Note>, Option<u16>)>,
    answers: VecDeque<Answer>,
    stored: Vec<usize>,
}

impl World {
    fn receive(&mut self, flight: Flight, dup: bool) {
        let (is_new, note) = self.live.publish(flight.pkid, dup, Fingerprint(flight.content), self.mosquitto);
        self.pending.push((is_new.then_some(flight.number), Some(note), Some(flight.pkid)));
    }

    fn commit(&mut self) {
        for (number, note, pkid) in std::mem::take(&mut self.pending) {
            self.stored.extend(number);
            note.into_iter().for_each(|note| self.durable.apply(note));
            self.answers.extend(pkid.filter(|_| self.alive).map(Answer::Rec));
        }
    }

    fn send(&mut self, content: u64, arrives: bool) {
        if self.inflight.len() >= 20 {
            return;
        }
        let free = |pkid: &u16| self.inflight.iter().all(|flight| flight.pkid != *pkid);
        let pkid = if self.mosquitto { self.sent as u16 + 1 } else { (1..).find(free).unwrap() };
        let flight = Flight { pkid, content, number: self.sent, recorded: false };
        self.sent += 1;
        self.inflight.push(flight);
        self.alive &= arrives;
        if self.alive {
            self.receive(flight, false);
        }
    }

    fn progress(&mut self, answers: usize) {
        for _ in 0..answers {
            match self.answers.pop_front().filter(|_| self.alive) {
                None => return,
                Some(Answer::Comp(pkid)) => self.inflight.retain(|flight| flight.pkid != pkid),
                Some(Answer::Rec(pkid)) => self.recorded(pkid),
            }
        }
    }

    /// The broker has a PUBREC, and its PUBREL arrives.
    fn recorded(&mut self, pkid: u16) {
        self.inflight.iter_mut().filter(|flight| flight.pkid == pkid).for_each(|flight| flight.recorded = true);
        let note = self.live.release(pkid);
        self.pending.push((None, note, None));
        // PUBCOMP is written at once, and the note of the release may be lost: that window is held shut here, since
        // nothing can be promised within it.
        self.commit();
        self.answers.push_back(Answer::Comp(pkid));
    }

    fn reconnect(&mut self, arrives: usize) {
        self.answers.clear();
        // The gate lets no answer through to another connection.
        self.pending.iter_mut().for_each(|pending| pending.2 = None);
        self.alive = true;
        for (index, flight) in self.inflight.clone().into_iter().enumerate() {
            self.alive &= index < arrives;
            match flight.recorded && !self.mosquitto {
                _ if !self.alive => return,
                true => self.recorded(flight.pkid),
                false => self.receive(flight, true),
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Send { content, arrives } => self.send(content, arrives),
            Step::Progress { answers } => self.progress(answers),
            Step::Commit => self.commit(),
            Step::Reconnect { arrives } => self.reconnect(arrives),
            Step::Crash { arrives } => {
                self.pending.clear();
                self.live = self.durable.notes().into_iter().collect();
                self.reconnect(arrives);
            }
        }
    }
}

proptest! {
    /// Over any history of cuts and crashes, every message that the broker has sent is stored once.
    #[test]
    fn every_message_is_stored_exactly_once(
        mosquitto: bool, steps in prop::collection::vec(any_step(), 1..200),
    ) {
        let mut world = World { mosquitto, alive: true, ..World::default() };
        steps.into_iter().for_each(|step| world.step(step));
        world.reconnect(usize::MAX);
        world.commit();
        let mut stored = world.stored.clone();
        stored.sort_unstable();
        prop_assert_eq!(stored, (0..world.sent).collect::<Vec<_>>());
    }
}
