//! Listens to broker and subscriber: who sent what again, and what the subscriber said it has.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Instant;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAck, PubAckReason, PubRec, PubRecReason, Publish};
use rumqttc::v5::mqttbytes::{Error, QoS};

use super::ledger::Shared;
use super::message::Id;
use crate::proxy::Way;

/// Connections that may still say something: an old one ends while a new one begins.
const CONNECTIONS_KEPT: u64 = 8;

/// Everything that is known of the conversation.
pub struct Wire {
    ledger: Shared,
    connections: HashMap<u64, Connection>,
    /// QoS 2: the packet ids that the broker has not released. They belong to the session, not to a connection.
    unreleased: HashMap<u16, Id>,
    began: Instant,
    log: Option<BufWriter<File>>,
}

/// One connection's unread bytes, and what was sent on it and not acknowledged yet.
#[derive(Default)]
struct Connection {
    to_server: BytesMut,
    to_client: BytesMut,
    sent: HashMap<u16, Id>,
    is_unreadable: bool,
}

impl Wire {
    /// Writes every message and acknowledgement to `log` too, if there is one.
    pub fn new(ledger: Shared, log: Option<&Path>) -> std::io::Result<Self> {
        let log = log.map(File::create).transpose()?.map(BufWriter::new);
        Ok(Self { ledger, connections: HashMap::new(), unreleased: HashMap::new(), began: Instant::now(), log })
    }

    /// Hears a chunk of a connection.
    pub fn hear(&mut self, number: u64, way: Way, bytes: &[u8]) {
        self.connections.retain(|kept, _| kept + CONNECTIONS_KEPT > number);
        let mut connection = self.connections.remove(&number).unwrap_or_default();
        let buffer = match way {
            Way::ToServer => &mut connection.to_server,
            Way::ToClient => &mut connection.to_client,
        };
        buffer.extend_from_slice(bytes);
        while !connection.is_unreadable {
            let buffer = match way {
                Way::ToServer => &mut connection.to_server,
                Way::ToClient => &mut connection.to_client,
            };
            match Packet::read(buffer, None) {
                Ok(packet) => self.note(number, &mut connection, way, packet),
                Err(Error::InsufficientBytes(_)) => break,
                // A goodbye without a reason, which rumqttc cannot read, is of no interest.
                Err(Error::PayloadRequired) => {}
                Err(_) => {
                    connection.is_unreadable = true;
                    self.ledger().unreadable += 1;
                }
            }
        }
        self.connections.insert(number, connection);
    }

    fn note(&mut self, number: u64, connection: &mut Connection, way: Way, packet: Packet) {
        match (way, packet) {
            (Way::ToClient, Packet::Publish(publish)) => self.sent(number, connection, &publish),
            (Way::ToClient, Packet::PubRel(pubrel)) => self.released(number, pubrel.pkid),
            (Way::ToClient, Packet::ConnAck(connack)) => {
                self.write(number, "CONNACK", 0, None, &format!("session {}", connack.session_present));
                if !connack.session_present {
                    self.unreleased.clear();
                    self.ledger().sessions_lost += 1;
                }
            }
            (Way::ToServer, Packet::PubAck(PubAck { pkid, reason, .. })) => {
                let takes = matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers);
                self.acknowledged(number, connection, "PUBACK", pkid, takes);
            }
            (Way::ToServer, Packet::PubRec(PubRec { pkid, reason, .. })) => {
                let takes = matches!(reason, PubRecReason::Success | PubRecReason::NoMatchingSubscribers);
                self.acknowledged(number, connection, "PUBREC", pkid, takes);
            }
            _ => {}
        }
    }

    fn sent(&mut self, number: u64, connection: &mut Connection, publish: &Publish) {
        let Some(id) = Id::read(&publish.topic, &publish.payload) else { return };
        self.write(number, "PUBLISH", publish.pkid, Some(id), if publish.dup { "dup" } else { "" });
        connection.sent.insert(publish.pkid, id);
        let is_qos_2 = publish.qos == QoS::ExactlyOnce;
        // A repetition that the subscriber can know: the same id, marked, and not released in between.
        let is_open = publish.dup && self.unreleased.get(&publish.pkid) == Some(&id);
        if is_qos_2 {
            self.unreleased.insert(publish.pkid, id);
        }
        let mut ledger = self.ledger();
        let was_sent = ledger.sent(id);
        let is_illegal = if is_qos_2 { !is_open } else { !publish.dup };
        if was_sent && is_illegal {
            *ledger.repeated_by_broker.entry(id).or_default() += 1;
        }
    }

    fn released(&mut self, number: u64, pkid: u16) {
        let id = self.unreleased.remove(&pkid);
        self.write(number, "PUBREL", pkid, id, "");
    }

    fn acknowledged(&mut self, number: u64, connection: &mut Connection, packet: &str, pkid: u16, takes: bool) {
        let id = connection.sent.remove(&pkid);
        self.write(number, packet, pkid, id, if takes { "" } else { "refused" });
        match id {
            Some(id) if takes => self.ledger().of(id).acknowledged.set(id.sequence, true),
            Some(_) => {}
            None => self.ledger().stray_acknowledgements += 1,
        }
    }

    fn ledger(&self) -> std::sync::MutexGuard<'_, super::ledger::Ledger> {
        self.ledger.lock().expect("no holder panics")
    }

    /// The log only serves whoever reads it afterwards: a full disk must not end the run.
    fn write(&mut self, number: u64, packet: &str, pkid: u16, id: Option<Id>, note: &str) {
        if let Some(log) = &mut self.log {
            let at = self.began.elapsed().as_secs_f64();
            let id = id.map(|id| id.to_string()).unwrap_or_default();
            let _ = writeln!(log, "{at:9.3} connection {number} {packet} {pkid} {id} {note}");
        }
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::PubRel;

    use super::*;

    const ONE: Id = Id { topic: 0, sequence: 0 };
    const TWO: Id = Id { topic: 1, sequence: 0 };

    struct Script(Wire, Shared);

    impl Script {
        fn new() -> Self {
            let ledger = Shared::default();
            for id in [ONE, TWO] {
                ledger.lock().unwrap().issue(id.topic);
            }
            Self(Wire::new(ledger.clone(), None).unwrap(), ledger)
        }

        /// Every packet comes in two pieces.
        fn says(&mut self, connection: u64, way: Way, packet: Packet) {
            let mut bytes = BytesMut::new();
            packet.write(&mut bytes, None).unwrap();
            let (first, second) = bytes.split_at(1);
            self.0.hear(connection, way, first);
            self.0.hear(connection, way, second);
        }

        fn publish(&mut self, connection: u64, id: Id, pkid: u16, dup: bool) {
            let qos = if id.qos() == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let mut publish = Publish::new(super::super::message::TOPICS[id.topic].name, qos, id.payload(7), None);
            (publish.pkid, publish.dup) = (pkid, dup);
            self.says(connection, Way::ToClient, Packet::Publish(publish));
        }

        fn repeated(&self) -> u32 {
            self.1.lock().unwrap().repeated_by_broker.get(&TWO).copied().unwrap_or_default()
        }
    }

    #[test]
    fn an_acknowledgement_belongs_to_the_message_of_its_connection() {
        let mut script = Script::new();
        let puback = |pkid| Packet::PubAck(PubAck::new(pkid, None));
        script.publish(1, ONE, 5, false);
        script.says(2, Way::ToServer, puback(5));
        assert_eq!(script.1.lock().unwrap().stray_acknowledgements, 1, "another connection");
        assert!(!script.1.lock().unwrap().accounts[0].acknowledged.has(0));
        script.says(1, Way::ToServer, puback(5));
        assert!(script.1.lock().unwrap().accounts[0].acknowledged.has(0));
        script.says(1, Way::ToServer, puback(5));
        assert_eq!(script.1.lock().unwrap().stray_acknowledgements, 2, "acknowledged twice");
    }

    #[test]
    fn what_the_broker_may_repeat_is_not_held_against_it() {
        let mut script = Script::new();
        script.publish(1, TWO, 5, false);
        script.says(1, Way::ToServer, Packet::PubRec(PubRec::new(5, None)));
        script.publish(2, TWO, 5, true);
        assert_eq!(script.repeated(), 0, "it need not have had the PUBREC");
        script.says(2, Way::ToClient, Packet::PubRel(PubRel::new(5, None)));
        script.publish(3, TWO, 5, true);
        assert_eq!(script.repeated(), 1, "it had released the message");
        script.publish(4, TWO, 5, true);
        assert_eq!(script.repeated(), 1, "and is not through with it again");
        script.publish(5, TWO, 6, true);
        assert_eq!(script.repeated(), 2, "another packet id is another message");
    }

    #[test]
    fn what_is_no_mqtt_is_counted() {
        let mut script = Script::new();
        script.0.hear(1, Way::ToClient, &[0; 64]);
        assert_eq!(script.1.lock().unwrap().unreadable, 1);
    }
}
