//! The ack gate: an acknowledgement is written only to the connection on which its message came.
//!
//! Packet ids mean something on one connection only. What is acknowledged late, after a reconnect, could name another
//! message, which the broker would then forget although nobody has it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use tracing::error;

/// What is owed to the broker for one message: PUBACK or PUBREC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The connection it came on.
    pub generation: u64,
    /// The packet id that it had there.
    pub pkid: u16,
    /// 1 or 2.
    pub qos: u8,
}

/// Acknowledgements that are in rumqttc's queue at a time. It writes one for some ten packets that it reads, so that
/// many wait while a backlog comes, and a request there takes 216 B.
const UNDER_WAY_MAX: usize = 64;
/// Runs of packet ids that may wait: one for each id there is. A broker that gives ids again before they are
/// acknowledged, as mosquitto 2.0 does, counts up, so that a run holds many.
const RUNS_MAX: usize = 1 << 16;

/// Lets acknowledgements through while their connection lives.
pub struct Gate {
    client: AsyncClient,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Counts connections; the current or the last one.
    generation: u64,
    live: bool,
    /// In rumqttc's queue, and not written yet.
    under_way: usize,
    /// What is behind them, oldest first.
    waiting: VecDeque<Run>,
    /// More runs than there may be: some were left out, and the connection must end.
    overrun: bool,
    /// The goodbye comes behind what waits.
    parting: bool,
}

/// Acknowledgements of one kind whose packet ids count up.
#[derive(Clone, Copy)]
struct Run {
    first: u16,
    len: u16,
    qos: u8,
}

impl Inner {
    fn push(&mut self, ack: Ack) {
        if let Some(run) = self.waiting.back_mut()
            && run.qos == ack.qos
            && run.first.checked_add(run.len) == Some(ack.pkid)
        {
            run.len += 1;
        } else if self.waiting.len() < RUNS_MAX {
            self.waiting.push_back(Run { first: ack.pkid, len: 1, qos: ack.qos });
        } else {
            self.overrun = true;
        }
    }

    /// The oldest that waits: its packet id and quality of service.
    fn pop(&mut self) -> Option<(u16, u8)> {
        let run = self.waiting.front_mut()?;
        let oldest = (run.first, run.qos);
        if run.len == 1 {
            self.waiting.pop_front();
        } else {
            run.first += 1;
            run.len -= 1;
        }
        Some(oldest)
    }
}

impl Gate {
    pub(super) fn new(client: AsyncClient) -> Self {
        Self { client, inner: Mutex::default() }
    }

    /// A connection stands: gives its generation.
    pub(super) fn open(&self) -> u64 {
        let mut inner = self.inner();
        inner.generation += 1;
        inner.live = true;
        inner.generation
    }

    /// The connection is gone: nothing more is acknowledged on it. Does nothing where none was open.
    pub(super) fn close(&self) {
        let mut inner = self.inner();
        *inner = Inner { generation: inner.generation, ..Inner::default() };
    }

    pub(super) fn is_live(&self) -> bool {
        self.inner().live
    }

    /// Acknowledges in the given order [MQTT-4.6.0-2]; what belongs to an earlier connection is left out.
    pub fn ack(&self, acks: impl Iterator<Item = Ack>) {
        let mut inner = self.inner();
        for ack in acks {
            // Behind one that was left out, none may go out on this connection.
            if !inner.live || inner.overrun {
                return;
            }
            if ack.generation != inner.generation {
                continue;
            }
            inner.push(ack);
            self.fill(&mut inner);
        }
    }

    /// rumqttc has written one: the next may follow. False where more wait than may, so that the connection must end.
    #[must_use]
    pub(super) fn written(&self) -> bool {
        let mut inner = self.inner();
        // What is told of an earlier connection, after its end, counts for nothing.
        if inner.live {
            inner.under_way = inner.under_way.saturating_sub(1);
            self.fill(&mut inner);
        }
        !inner.overrun
    }

    /// Says goodbye behind all acknowledgements, where a connection stands. The session stays at the broker.
    pub fn disconnect(&self) {
        let mut inner = self.inner();
        if inner.live {
            inner.parting = true;
            self.fill(&mut inner);
        }
    }

    /// Hands on what waits, as far as there is room. There is always some in rumqttc's queue where some waits here, so
    /// that the next write asks for more.
    fn fill(&self, inner: &mut Inner) {
        while inner.under_way < UNDER_WAY_MAX
            && let Some((pkid, qos)) = inner.pop()
        {
            // Of the message rumqttc reads only id and quality of service. Its queue has room for more than these.
            let qos = if qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
            let _ = self.client.try_ack(&Publish { pkid, qos, ..Publish::default() });
            inner.under_way += 1;
        }
        if inner.parting && inner.waiting.is_empty() {
            inner.parting = false;
            if self.client.try_disconnect().is_err() {
                error!("the goodbye to the broker found no room; the connection will just end");
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no holder of the gate panics")
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::{EventLoop, MqttOptions, Request};

    use super::*;

    /// rumqttc's event loop keeps the receiving end to itself, but `clean()` moves what waits there to `pending`.
    struct Requests(EventLoop);

    fn gate() -> (Gate, Requests) {
        let (client, eventloop) = AsyncClient::new(MqttOptions::new("gate", "localhost", 1), 2 * UNDER_WAY_MAX);
        (Gate::new(client), Requests(eventloop))
    }

    impl Requests {
        /// The packet ids of the PUBRECs that wait, which `clean()` keeps; 0 for the goodbye.
        fn take(&mut self) -> Vec<u16> {
            self.0.clean();
            let pkid = |request| match request {
                Request::PubRec(pubrec) => pubrec.pkid,
                Request::Disconnect => 0,
                other => panic!("{other:?}"),
            };
            self.0.pending.drain(..).map(pkid).collect()
        }

        /// The same, each written at once, until there are no more.
        fn write(&mut self, gate: &Gate) -> Vec<u16> {
            let mut written = Vec::new();
            loop {
                let taken = self.take();
                if taken.is_empty() {
                    return written;
                }
                assert!(taken.len() <= UNDER_WAY_MAX + 1, "few are in rumqttc's queue at a time");
                assert!(taken.iter().filter(|pkid| **pkid != 0).all(|_| gate.written()));
                written.extend(taken);
            }
        }
    }

    fn ack(generation: u64, pkid: u16) -> Ack {
        Ack { generation, pkid, qos: 2 }
    }

    #[test]
    fn only_the_living_connection_is_acknowledged_to() {
        let (gate, mut requests) = gate();
        gate.ack([ack(0, 1), ack(1, 2)].into_iter());
        assert_eq!(requests.take(), [0u16; 0], "before the first connection");
        let first = gate.open();
        gate.ack([ack(first, 3), ack(first, 4)].into_iter());
        assert_eq!(requests.take(), [3, 4]);
        gate.close();
        gate.ack([ack(first, 5)].into_iter());
        let second = gate.open();
        gate.ack([ack(first, 6), ack(second, 7)].into_iter());
        assert_eq!(requests.take(), [7], "what came on the first connection is never acknowledged on the second");
    }

    #[test]
    fn order_is_kept_while_many_wait_and_the_goodbye_is_last() {
        let (gate, mut requests) = gate();
        let generation = gate.open();
        // Ids that count up, over their end, then backwards, and each again.
        let ids: Vec<u16> = (1..=500).chain(65_000..=65_535).chain(1..=300).chain((1..=300).rev()).collect();
        let ids: Vec<u16> = ids.iter().flat_map(|&pkid| [pkid, pkid]).chain(ids.iter().copied()).collect();
        for some in ids.chunks(700) {
            gate.ack(some.iter().map(|&pkid| ack(generation, pkid)));
        }
        gate.disconnect();
        let written = requests.write(&gate);
        assert_eq!(written.split_last(), Some((&0, &ids[..])));
    }

    #[test]
    fn what_waits_does_not_outlive_its_connection() {
        let (gate, mut requests) = gate();
        let generation = gate.open();
        gate.ack((1..=1000).map(|pkid| ack(generation, pkid)));
        gate.disconnect();
        assert_eq!(requests.take().len(), UNDER_WAY_MAX);
        gate.close();
        assert!(gate.written(), "told late, of the connection that is gone");
        gate.open();
        assert!(gate.written());
        assert_eq!(requests.take(), [0u16; 0]);
    }

    #[test]
    fn a_broker_that_sends_far_beyond_its_window_loses_the_connection() {
        let (gate, mut requests) = gate();
        let generation = gate.open();
        gate.ack((0..RUNS_MAX + UNDER_WAY_MAX).map(|_| ack(generation, 7)));
        assert_eq!(requests.take().len(), UNDER_WAY_MAX);
        assert!(gate.written(), "so many may wait");
        gate.ack([7, 7, 8].map(|pkid| ack(generation, pkid)).into_iter());
        assert!(!gate.written());
        assert!(!requests.take().contains(&8), "nothing behind what was left out");
        gate.close();
        gate.open();
        assert!(gate.written(), "the next connection begins anew");
    }
}
