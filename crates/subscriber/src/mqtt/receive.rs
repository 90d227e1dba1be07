//! What a packet from the broker asks of the spool: a message to store, a repetition to acknowledge, an id to release.

use std::sync::Arc;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;

use super::gate::Ack;
use crate::capture::Delivery;
use crate::clock;
use crate::config::Retained;
use crate::session::owed::Delivery as Standing;
use crate::session::reuse::Reuse;
use crate::session::{Fingerprint, Inbound, Owed};
use crate::spool::Message;
use crate::status::Status;

/// Remembers the session as far as messages go.
pub(super) struct Receiver {
    retained: Retained,
    inbound: Inbound,
    owed: Owed,
    reuse: Reuse,
    status: Arc<Status>,
}

impl Receiver {
    pub(super) fn new(retained: Retained, inbound: Inbound, status: Arc<Status>) -> Self {
        let reuse = Reuse::new(inbound.is_late());
        Self { retained, inbound, owed: Owed::default(), reuse, status }
    }

    /// A PUBLISH on the connection of this `generation`. None where there is nothing to do.
    pub(super) fn publish(&mut self, publish: Publish, generation: u64) -> Option<Delivery> {
        let Publish { qos, pkid, dup, .. } = publish;
        let ack = (qos != QoS::AtMostOnce).then_some(Ack { generation, pkid, qos: qos as u8 });
        let is_early = ack.is_some() && self.reuse.saw(pkid, dup);
        self.status.counts.received.inc();
        if publish.retain && self.retained == Retained::Skip {
            // A broker that heeds Retain Handling sends none.
            self.status.counts.retained_skipped.inc();
            self.inbound.pass(1);
            let note = if is_early { self.inbound.distrust() } else { None };
            return ack.map(|ack| Delivery { message: None, note, ack: Some(ack) });
        }
        let (is_new, note) = match qos {
            QoS::AtMostOnce => (true, None),
            QoS::AtLeastOnce => {
                let expires = publish.properties.as_ref().is_some_and(|all| all.message_expiry_interval.is_some());
                self.inbound.pass(1);
                let note = if is_early { self.inbound.distrust() } else { None };
                match self.owed.publish(generation, pkid, dup, expires, fingerprint(&publish)) {
                    Standing::New => (true, note),
                    Standing::Repeated => (false, note),
                    Standing::Pending => return note.map(|note| Delivery { note: Some(note), ..Delivery::default() }),
                }
            }
            QoS::ExactlyOnce => {
                let late = self.reuse.is_late();
                let (is_new, note) = self.inbound.publish(pkid, dup, fingerprint(&publish), late);
                (is_new, Some(note))
            }
        };
        if !is_new {
            self.status.counts.repeated.inc();
        }
        Some(Delivery { message: is_new.then(|| message(publish)), note, ack })
    }

    /// A PUBREL. None where the id was not held.
    pub(super) fn release(&mut self, pkid: u16) -> Option<Delivery> {
        self.inbound.release(pkid).map(|note| Delivery { note: Some(note), ..Delivery::default() })
    }

    /// A PUBACK was written to the connection.
    pub(super) fn acknowledged(&mut self, pkid: u16) {
        self.owed.written(pkid);
    }

    /// The broker has begun a new session. None where there was nothing to forget.
    pub(super) fn lose(&mut self) -> Option<Delivery> {
        self.owed.lose();
        self.reuse = Reuse::new(false);
        self.inbound.lose().map(|note| Delivery { note: Some(note), ..Delivery::default() })
    }
}

/// All that the publisher said. The expiry counts down, and aliases and subscription ids are the connection's.
fn fingerprint(publish: &Publish) -> Fingerprint {
    let own = [&publish.topic[..], &publish.payload];
    let Some(properties) = &publish.properties else { return Fingerprint::of(own) };
    let said: [&[u8]; 4] = [
        &[properties.payload_format_indicator.unwrap_or_default()],
        properties.response_topic.as_deref().unwrap_or_default().as_bytes(),
        properties.correlation_data.as_deref().unwrap_or_default(),
        properties.content_type.as_deref().unwrap_or_default().as_bytes(),
    ];
    let user = properties.user_properties.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
    Fingerprint::of(own.into_iter().chain(said).chain(user))
}

fn message(publish: Publish) -> Message {
    let (captured_ms, clock) = clock::now();
    Message {
        topic: publish.topic,
        payload: publish.payload,
        qos: publish.qos as u8,
        retain: publish.retain,
        dup: publish.dup,
        captured_ms,
        clock,
    }
}
