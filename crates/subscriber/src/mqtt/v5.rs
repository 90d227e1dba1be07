//! The event loop of MQTT 5: polls, hands messages to the intake, and starts over in a fixed order of steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dados::Timestamp;
use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet, Publish, SubAck};
use rumqttc::v5::{AsyncClient, Event, EventLoop};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::fault::Fault;
use super::gate::{Ack, Gate};
use super::options::CONNECT_SECONDS_MAX;
use super::session::{Fingerprint, Inbound};
use super::subscribe;
use crate::capture::Intake;
use crate::config::{Mqtt, Subscription};
use crate::spool::Message;
use crate::status::Status;

/// No completed poll for so many keep-alives: the peer has stopped reading, and rumqttc's flush has no timeout.
const WATCHDOG_KEEP_ALIVES: f64 = 2.5;
/// A connection that held so long clears the count of failures.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// How long the broker may take to close after our goodbye.
const PARTING_MAX: Duration = Duration::from_secs(2);
/// Beyond rumqttc's own limit on connecting, for what its limit does not cover.
const CONNECT_SLACK: Duration = Duration::from_secs(5);

/// The client's side of everything that is said to the broker.
pub(super) struct Conversation {
    broker: String,
    subscriptions: Vec<Subscription>,
    session_expiry_s: u32,
    keep_alive: Duration,
    client: AsyncClient,
    eventloop: EventLoop,
    gate: Arc<Gate>,
    status: Arc<Status>,
    inbound: Inbound,
    /// The connection that messages come on now.
    generation: u64,
}

/// How a connection ended.
enum End {
    /// We said goodbye, or shutdown came before there was a connection.
    Shutdown,
    /// The network, the broker, or the watchdog.
    Lost(Fault),
    /// The disk does not keep up; this message has no room yet.
    Stalled(Box<Message>),
}

impl Conversation {
    pub(super) fn new(
        config: &Mqtt,
        client: AsyncClient,
        eventloop: EventLoop,
        gate: Arc<Gate>,
        status: Arc<Status>,
    ) -> Self {
        Self {
            broker: config.broker.to_string(),
            subscriptions: config.subscriptions.clone(),
            session_expiry_s: config.session_expiry_s,
            keep_alive: config.keep_alive,
            client,
            eventloop,
            gate,
            status,
            inbound: Inbound::default(),
            generation: 0,
        }
    }

    /// Connects for ever, until shutdown.
    pub(super) async fn run(mut self, intake: Intake, token: CancellationToken) {
        let mut failures = 0u32;
        loop {
            prime(&mut self.eventloop);
            let began = Instant::now();
            let end = self.converse(&intake, &token).await;
            let stood = self.gate.is_live() && began.elapsed() >= STABLE_AFTER;
            // This order matters: first no more acks, then what was read is stored, then rumqttc forgets what it
            // would have sent, so that nothing of this connection reaches the next one.
            self.gate.close();
            let (fault, stalled) = match end {
                End::Shutdown => (None, None),
                End::Lost(fault) => (Some(fault), None),
                End::Stalled(message) => {
                    (Some(Fault::new("the disk does not keep up: offline until it has")), Some(*message))
                }
            };
            if let Some(fault) = &fault {
                self.status.broker_lost(fault.message.clone());
            }
            self.keep_what_was_read(stalled, &intake, &token).await;
            self.eventloop.clean();
            self.eventloop.pending.clear();
            let Some(fault) = fault else { break };
            failures = if stood { 1 } else { failures.saturating_add(1) };
            let delay = fault.delay(failures, fastrand::f64());
            warn!(broker = self.broker, failures, delay_ms = delay.as_millis() as u64, "no broker: {}", fault.message);
            tokio::select! {
                () = sleep(delay) => {}
                () = token.cancelled() => break,
            }
        }
        info!(broker = self.broker, "left the broker");
    }

    async fn converse(&mut self, intake: &Intake, token: &CancellationToken) -> End {
        loop {
            let event = if self.gate.is_live() {
                // A poll is never cancelled halfway, but by the watchdog, after which everything is cleaned.
                let patience = self.eventloop.options.keep_alive().mul_f64(WATCHDOG_KEEP_ALIVES);
                timeout(patience, self.eventloop.poll()).await
            } else {
                let patience = Duration::from_secs(CONNECT_SECONDS_MAX) + CONNECT_SLACK;
                tokio::select! {
                    event = timeout(patience, self.eventloop.poll()) => event,
                    () = token.cancelled() => return End::Shutdown,
                }
            };
            let event = match event {
                Ok(Ok(event)) => event,
                Ok(Err(error)) => return End::Lost(error.into()),
                Err(_) => return End::Lost(Fault::new("the broker has stopped reading")),
            };
            match event {
                Event::Incoming(Packet::ConnAck(connack)) => {
                    self.connected(&connack);
                    // Shutdown looked for a connection to say goodbye on before there was this one.
                    if token.is_cancelled() {
                        return End::Shutdown;
                    }
                }
                Event::Incoming(Packet::SubAck(suback)) => self.subscribed(&suback),
                Event::Incoming(Packet::PubRel(pubrel)) => self.inbound.release(pubrel.pkid),
                Event::Incoming(Packet::Publish(publish)) => {
                    if let Err(message) = self.receive(publish, intake).await {
                        return End::Stalled(message);
                    }
                }
                Event::Outgoing(Outgoing::Disconnect) => {
                    let _ = timeout(PARTING_MAX, self.part(intake)).await;
                    return End::Shutdown;
                }
                _ => {}
            }
            self.gate.retry();
        }
    }

    /// Reads on after the goodbye until the broker closes: closing first, with bytes unread, makes the kernel send a
    /// reset, which can take acknowledgements with it that the broker has not read yet.
    async fn part(&mut self, intake: &Intake) {
        while let Ok(event) = self.eventloop.poll().await {
            if let Event::Incoming(Packet::Publish(publish)) = event
                && self.receive(publish, intake).await.is_err()
            {
                return;
            }
        }
    }

    fn connected(&mut self, connack: &ConnAck) {
        // A server that asks for no keep-alive would get a storm of pings (rumqttc takes 0 for its interval).
        if self.eventloop.options.keep_alive() < Duration::from_secs(1) {
            self.eventloop.options.set_keep_alive(self.keep_alive);
        }
        self.generation = self.gate.open();
        let session = if connack.session_present { "resumed" } else { "new" };
        info!(broker = self.broker, client_id = self.eventloop.options.client_id(), session, "connected");
        if !connack.session_present {
            self.inbound.lose();
        }
        let granted = connack.properties.as_ref().and_then(|properties| properties.session_expiry_interval);
        if granted.is_some_and(|granted| granted < self.session_expiry_s) {
            warn!(
                wanted_s = self.session_expiry_s,
                granted_s = granted,
                "the broker keeps the session for less time than MQTT_SESSION_EXPIRY asks"
            );
        }
        self.status.broker_connected(connack.session_present);
        let filters = subscribe::filters(&self.subscriptions);
        if let Err(fault) = self.client.try_subscribe_many(filters) {
            error!(%fault, "the subscription found no room in the queue");
        }
    }

    fn subscribed(&self, suback: &SubAck) {
        let shortfalls = subscribe::shortfalls(&self.subscriptions, &suback.return_codes);
        for shortfall in &shortfalls {
            error!(broker = self.broker, "MQTT_TOPICS: {shortfall}");
        }
        if shortfalls.is_empty() {
            info!(filters = self.subscriptions.len(), "subscribed");
        }
        self.status.subscribed(shortfalls);
    }

    /// Hands a message over, with back-pressure: not reading for a while first, then offline.
    async fn receive(&mut self, publish: Publish, intake: &Intake) -> Result<(), Box<Message>> {
        let generation = self.generation;
        let ack =
            (publish.qos != QoS::AtMostOnce).then_some(Ack { generation, pkid: publish.pkid, qos: publish.qos as u8 });
        if !self.is_news(&publish) {
            ack.into_iter().for_each(|ack| intake.ack_only(ack));
            return Ok(());
        }
        let message = message(publish);
        // Keep-alive runs only inside a poll: half of it may pass without one.
        match timeout(self.eventloop.options.keep_alive() / 2, intake.reserve(&message)).await {
            Ok(room) => {
                intake.store(room, message, ack);
                Ok(())
            }
            Err(_) => Err(Box::new(message)),
        }
    }

    fn is_news(&mut self, publish: &Publish) -> bool {
        publish.qos != QoS::ExactlyOnce
            || self.inbound.publish(publish.dup, publish.pkid, Fingerprint::of(&publish.topic, &publish.payload))
    }

    /// Stores what was read but not handled when the connection ended. It is not acknowledged: it may come again.
    async fn keep_what_was_read(&mut self, stalled: Option<Message>, intake: &Intake, token: &CancellationToken) {
        let mut messages = Vec::from_iter(stalled);
        while let Some(event) = self.eventloop.state.events.pop_front() {
            match event {
                Event::Incoming(Packet::Publish(publish)) if self.is_news(&publish) => messages.push(message(publish)),
                Event::Incoming(Packet::PubRel(pubrel)) => self.inbound.release(pubrel.pkid),
                _ => {}
            }
        }
        for message in messages {
            tokio::select! {
                room = intake.reserve(&message) => intake.store(room, message, None),
                () = token.cancelled() => return,
            }
        }
    }
}

/// Lets rumqttc answer a PUBREL for any id: it forgets which ids it has seen at every disconnect, and takes a PUBREL
/// that the broker repeats for a protocol error, for ever (its hazard 1). Nothing of this reaches the network.
fn prime(eventloop: &mut EventLoop) {
    for pkid in 1..=u16::MAX {
        let publish = Publish { pkid, qos: QoS::ExactlyOnce, ..Publish::default() };
        // With manual acks this only marks the id as seen; it cannot fail.
        let _ = eventloop.state.handle_incoming_packet(Packet::Publish(publish));
        eventloop.state.events.pop_back();
    }
}

fn message(publish: Publish) -> Message {
    Message {
        topic: publish.topic,
        payload: publish.payload,
        qos: publish.qos as u8,
        retain: publish.retain,
        dup: publish.dup,
        captured_ms: Timestamp::now().as_ms(),
    }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::MqttOptions;
    use rumqttc::v5::mqttbytes::v5::PubRel;

    use super::*;

    /// Fails if an upgrade of rumqttc changes the fields that priming uses.
    #[test]
    fn a_primed_state_completes_any_release_and_holds_no_events() {
        let mut options = MqttOptions::new("prime", "localhost", 1883);
        options.set_manual_acks(true);
        let (_client, mut eventloop) = AsyncClient::new(options, 8);
        assert!(
            eventloop.state.handle_incoming_packet(Packet::PubRel(PubRel::new(7, None))).is_err(),
            "rumqttc takes an unknown PUBREL now: priming can go"
        );
        eventloop.state.events.clear();
        prime(&mut eventloop);
        assert!(eventloop.state.events.is_empty());
        for pkid in [1, 7, u16::MAX] {
            let answer = eventloop.state.handle_incoming_packet(Packet::PubRel(PubRel::new(pkid, None)));
            assert!(matches!(answer, Ok(Some(Packet::PubComp(pubcomp))) if pubcomp.pkid == pkid));
        }
        eventloop.clean();
        prime(&mut eventloop);
        assert!(eventloop.pending.is_empty(), "priming leaves nothing to be sent");
    }
}
