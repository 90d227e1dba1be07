//! The event loop of MQTT 5: polls, hands messages to the intake, and starts over in a fixed order of steps.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Packet, Publish};
use rumqttc::v5::{Event, EventLoop};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::fault::Fault;
use super::gate::Gate;
use super::options::CONNECT_SECONDS_MAX;
use super::receive::Receiver;
use super::subscribe::Subscriber;
use crate::capture::{Delivery, Intake};
use crate::config::Mqtt;
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
    session_expiry_s: u32,
    keep_alive: Duration,
    eventloop: EventLoop,
    gate: Arc<Gate>,
    receiver: Receiver,
    subscriber: Subscriber,
    status: Arc<Status>,
    /// The connection that messages come on now.
    generation: u64,
}

/// How a connection ended.
enum End {
    /// We said goodbye, or shutdown came before there was a connection.
    Shutdown,
    /// The network, the broker, or the watchdog.
    Lost(Fault),
    /// The disk does not keep up; this has no room yet.
    Stalled(Box<Delivery>),
}

impl Conversation {
    pub(super) fn new(
        config: &Mqtt,
        eventloop: EventLoop,
        gate: Arc<Gate>,
        receiver: Receiver,
        subscriber: Subscriber,
        status: Arc<Status>,
    ) -> Self {
        Self {
            broker: config.broker.to_string(),
            session_expiry_s: config.session_expiry_s,
            keep_alive: config.keep_alive,
            eventloop,
            gate,
            receiver,
            subscriber,
            status,
            generation: 0,
        }
    }

    /// Connects for ever, until shutdown.
    pub(super) async fn run(mut self, intake: Intake, token: CancellationToken) {
        let (mut failures, mut short_lived) = (0u32, 0u32);
        loop {
            self.ask_anew();
            let began = Instant::now();
            let end = self.converse(&intake, &token).await;
            let accepted = self.gate.is_live();
            let stood = accepted && began.elapsed() >= STABLE_AFTER;
            short_lived = if accepted && !stood { short_lived.saturating_add(1) } else { 0 };
            // This order matters: first no more acks; then the socket is closed, since nobody reads from it any more, and
            // rumqttc forgets what it would have sent; then what was read is stored. Nothing of this connection reaches
            // the next one.
            self.gate.close();
            self.eventloop.clean();
            let (fault, stalled) = match end {
                End::Shutdown => (None, None),
                End::Lost(fault) => (Some(fault.in_context(accepted, short_lived)), None),
                End::Stalled(delivery) => {
                    (Some(Fault::new("the disk does not keep up: offline until it has")), Some(*delivery))
                }
            };
            if let Some(fault) = &fault {
                self.status.broker_lost(fault.message.clone());
            }
            self.keep_what_was_read(stalled, &intake, &token).await;
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

    /// Before each connection: what one CONNACK overrides, rumqttc would ask for in the next CONNECT.
    fn ask_anew(&mut self) {
        self.eventloop.options.set_keep_alive(self.keep_alive).set_session_expiry_interval(Some(self.session_expiry_s));
        prime(&mut self.eventloop);
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
            let delivery = match event {
                Event::Incoming(Packet::ConnAck(_)) if self.gate.is_live() => {
                    return End::Lost(Fault::new("the broker broke the protocol: a second CONNACK"));
                }
                Event::Incoming(Packet::ConnAck(connack)) => {
                    if let Some(lost) = self.connected(&connack)
                        && let Err(lost) = self.hand_over(lost, intake).await
                    {
                        return End::Stalled(lost);
                    }
                    // Shutdown looked for a connection to say goodbye on before there was this one.
                    if token.is_cancelled() {
                        return End::Shutdown;
                    }
                    self.subscriber.connected();
                    None
                }
                // rumqttc's answer to a topic alias that it was not offered, which it does not even send.
                Event::Outgoing(Outgoing::Disconnect) if !token.is_cancelled() => {
                    return End::Lost(Fault::new("the broker broke the protocol: an unknown topic alias"));
                }
                Event::Outgoing(Outgoing::Disconnect) => {
                    let _ = timeout(PARTING_MAX, self.part(intake)).await;
                    return End::Shutdown;
                }
                Event::Incoming(Packet::SubAck(suback)) => {
                    self.subscriber.subscribed(&suback);
                    None
                }
                Event::Incoming(Packet::UnsubAck(unsuback)) => {
                    self.subscriber.unsubscribed(&unsuback);
                    None
                }
                event @ Event::Outgoing(Outgoing::PubAck(_) | Outgoing::PubRec(_)) => {
                    let delivery = self.delivery(event);
                    if !self.gate.written() {
                        return End::Lost(Fault::new(
                            "the broker sends far more than it was told to before it is answered",
                        ));
                    }
                    delivery
                }
                event => self.delivery(event),
            };
            if let Some(delivery) = delivery
                && let Err(delivery) = self.hand_over(delivery, intake).await
            {
                return End::Stalled(delivery);
            }
        }
    }

    /// Reads on after the goodbye until the broker closes: closing first, with bytes unread, makes the kernel send a
    /// reset, which can take acknowledgements with it that the broker has not read yet.
    async fn part(&mut self, intake: &Intake) {
        while let Ok(event) = self.eventloop.poll().await {
            if let Some(delivery) = self.delivery(event)
                && self.hand_over(delivery, intake).await.is_err()
            {
                return;
            }
        }
    }

    /// A session that the broker has lost must be forgotten here too, behind what came in it.
    fn connected(&mut self, connack: &ConnAck) -> Option<Delivery> {
        // A server that asks for no keep-alive would get a storm of pings (rumqttc takes 0 for its interval).
        if self.eventloop.options.keep_alive() < Duration::from_secs(1) {
            self.eventloop.options.set_keep_alive(self.keep_alive);
        }
        self.generation = self.gate.open();
        let session = if connack.session_present { "resumed" } else { "new" };
        info!(broker = self.broker, client_id = self.eventloop.options.client_id(), session, "connected");
        let known = self.subscriber.knows_session();
        let lost = !connack.session_present && known;
        if lost {
            warn!(broker = self.broker, "the broker has lost the session, and with it what it kept while we were away");
        }
        let granted = connack.properties.as_ref().and_then(|properties| properties.session_expiry_interval);
        if granted.is_some_and(|granted| granted < self.session_expiry_s) {
            warn!(
                wanted_s = self.session_expiry_s,
                granted_s = granted,
                "the broker keeps the session for less time than MQTT_SESSION_EXPIRY asks"
            );
        }
        self.status.broker_connected(connack.session_present, lost);
        if connack.session_present && known { None } else { self.receiver.lose() }
    }

    /// What an event asks of the spool.
    fn delivery(&mut self, event: Event) -> Option<Delivery> {
        match event {
            Event::Incoming(Packet::Publish(publish)) => self.receiver.publish(publish, self.generation),
            Event::Incoming(Packet::PubRel(pubrel)) => self.receiver.release(pubrel.pkid),
            Event::Outgoing(Outgoing::PubAck(pkid)) => {
                self.receiver.acknowledged(pkid);
                None
            }
            _ => None,
        }
    }

    /// Hands a delivery over, with back-pressure: not reading for a while first, then offline.
    async fn hand_over(&self, delivery: Delivery, intake: &Intake) -> Result<(), Box<Delivery>> {
        // Keep-alive runs only inside a poll: half of it may pass without one.
        match timeout(self.eventloop.options.keep_alive() / 2, intake.reserve(&delivery)).await {
            Ok(room) => {
                intake.take(room, delivery);
                Ok(())
            }
            Err(_) => Err(Box::new(delivery)),
        }
    }

    /// Stores what was read but not handled when the connection ended. It is not acknowledged: it may come again.
    async fn keep_what_was_read(&mut self, stalled: Option<Delivery>, intake: &Intake, token: &CancellationToken) {
        let mut deliveries = Vec::from_iter(stalled);
        while let Some(event) = self.eventloop.state.events.pop_front() {
            deliveries.extend(self.delivery(event));
        }
        for delivery in deliveries {
            tokio::select! {
                room = intake.reserve(&delivery) => intake.take(room, Delivery { ack: None, ..delivery }),
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

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::v5::PubRel;
    use rumqttc::v5::{AsyncClient, MqttOptions};

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
