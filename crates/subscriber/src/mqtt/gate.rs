//! The ack gate: an acknowledgement is written only to the connection on which its message came.
//!
//! Packet ids mean something on one connection only. What is acknowledged late, after a reconnect, could name another
//! message, which the broker would then forget although nobody has it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use rumqttc::v5::{AsyncClient, ClientError};
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
    /// What did not fit into rumqttc's queue. At most one a message in flight, so the broker's window bounds it.
    overflow: VecDeque<Ack>,
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
        inner.live = false;
        inner.overflow.clear();
    }

    pub(super) fn is_live(&self) -> bool {
        self.inner().live
    }

    /// Acknowledges in the given order [MQTT-4.6.0-2]; what belongs to an earlier connection is left out.
    pub fn ack(&self, acks: impl Iterator<Item = Ack>) {
        let mut inner = self.inner();
        if !inner.live {
            return;
        }
        self.flush(&mut inner);
        for ack in acks {
            if ack.generation == inner.generation && (!inner.overflow.is_empty() || !self.send(ack)) {
                inner.overflow.push_back(ack);
            }
        }
    }

    /// Tries again what did not fit before.
    pub(super) fn retry(&self) {
        let mut inner = self.inner();
        if inner.live {
            self.flush(&mut inner);
        }
    }

    /// Says goodbye behind all acknowledgements, where a connection stands. The session stays at the broker.
    pub fn disconnect(&self) {
        let inner = self.inner();
        if inner.live && self.client.try_disconnect().is_err() {
            error!("the goodbye to the broker found no room; the connection will just end");
        }
    }

    fn flush(&self, inner: &mut Inner) {
        while let Some(ack) = inner.overflow.front() {
            if !self.send(*ack) {
                return;
            }
            inner.overflow.pop_front();
        }
    }

    /// Says whether rumqttc had room for it. Of the message it reads only id and quality of service.
    fn send(&self, ack: Ack) -> bool {
        let qos = if ack.qos == 2 { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        let publish = Publish { pkid: ack.pkid, qos, ..Publish::default() };
        !matches!(self.client.try_ack(&publish), Err(ClientError::TryRequest(_)))
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

    fn gate(room: usize) -> (Gate, Requests) {
        let (client, eventloop) = AsyncClient::new(MqttOptions::new("gate", "localhost", 1), room);
        (Gate::new(client), Requests(eventloop))
    }

    impl Requests {
        /// The packet ids of the PUBRECs that wait, which `clean()` keeps.
        fn take(&mut self) -> Vec<u16> {
            self.0.clean();
            let pkid = |request| match request {
                Request::PubRec(pubrec) => pubrec.pkid,
                other => panic!("{other:?}"),
            };
            self.0.pending.drain(..).map(pkid).collect()
        }
    }

    fn ack(generation: u64, pkid: u16) -> Ack {
        Ack { generation, pkid, qos: 2 }
    }

    #[test]
    fn only_the_living_connection_is_acknowledged_to() {
        let (gate, mut requests) = gate(100);
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
    fn order_is_kept_when_the_queue_is_full() {
        let (gate, mut requests) = gate(2);
        let generation = gate.open();
        gate.ack((1..=5).map(|pkid| ack(generation, pkid)));
        assert_eq!(requests.take(), [1, 2]);
        gate.ack([ack(generation, 6)].into_iter());
        assert_eq!(requests.take(), [3, 4]);
        gate.retry();
        assert_eq!(requests.take(), [5, 6]);
    }

    #[test]
    fn overflow_does_not_outlive_its_connection() {
        let (gate, mut requests) = gate(1);
        let generation = gate.open();
        gate.ack((1..=3).map(|pkid| ack(generation, pkid)));
        assert_eq!(requests.take(), [1]);
        gate.close();
        gate.open();
        gate.retry();
        assert_eq!(requests.take(), [0u16; 0]);
    }
}
