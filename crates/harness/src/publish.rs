//! Publishes messages and waits until the broker has each of them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::PATIENCE;

/// Publishes that may be under way at once.
const INFLIGHT_MAX: u16 = 100;

/// One message to publish.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Any topic name.
    pub topic: String,
    /// Any bytes.
    pub payload: Vec<u8>,
    /// 0 to 2.
    pub qos: u8,
    /// For the broker to keep.
    pub retain: bool,
}

impl Outgoing {
    /// A message that is not retained.
    pub fn new(topic: impl Into<String>, payload: impl Into<Vec<u8>>, qos: u8) -> Self {
        Self { topic: topic.into(), payload: payload.into(), qos, retain: false }
    }
}

/// `count` messages on one topic, whose payloads are their numbers from `first` on.
pub fn numbered(topic: &str, first: usize, count: usize, qos: u8) -> Vec<Outgoing> {
    (first..first + count).map(|number| Outgoing::new(topic, number.to_string(), qos)).collect()
}

/// Publishes all of them on one plain connection, in order; returns when the broker has acknowledged every one.
pub async fn publish(broker: SocketAddr, messages: Vec<Outgoing>) -> anyhow::Result<()> {
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    let id = format!("publisher-{}-{}", std::process::id(), CLIENTS.fetch_add(1, Ordering::Relaxed));
    let mut options = MqttOptions::new(id, broker.ip().to_string(), broker.port());
    options.set_keep_alive(Duration::from_secs(60)).set_outgoing_inflight_upper_limit(INFLIGHT_MAX);
    let (client, mut eventloop) = AsyncClient::new(options, INFLIGHT_MAX.into());
    let total = messages.len();
    let mut acks_due = messages.iter().filter(|message| message.qos > 0).count();
    let mut sends_due = total;
    let feeder = client.clone();
    let mut feeding = JoinSet::new();
    feeding.spawn(async move {
        for message in messages {
            let qos = match message.qos {
                0 => QoS::AtMostOnce,
                1 => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            };
            feeder.publish(message.topic, qos, message.retain, message.payload).await?;
        }
        anyhow::Ok(())
    });
    while acks_due > 0 || sends_due > 0 {
        match timeout(PATIENCE, eventloop.poll()).await.context("the broker takes no messages")? {
            Ok(Event::Incoming(Packet::PubAck(_) | Packet::PubComp(_))) => acks_due -= 1,
            Ok(Event::Outgoing(rumqttc::Outgoing::Publish(_))) => sends_due -= 1,
            Ok(_) => {}
            Err(error) => bail!("publishing failed with {acks_due} of {total} not acknowledged: {error}"),
        }
    }
    client.disconnect().await?;
    while !matches!(eventloop.poll().await, Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) | Err(_)) {}
    Ok(())
}
