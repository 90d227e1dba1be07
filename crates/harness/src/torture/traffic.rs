//! One publisher for each topic, straight to the broker, at a steady rate.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, Packet, PubAckReason, PubCompReason, PubRecReason,
    PubRel, Publish,
};
use rumqttc::v5::mqttbytes::{Error, QoS};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::ledger::Shared;
use super::message::{Id, TOPICS};
use crate::PATIENCE;

/// Messages of one publisher that the broker has not confirmed: mosquitto's own Receive Maximum.
const INFLIGHT_MAX: u16 = 20;
const TICK: Duration = Duration::from_millis(10);
/// Ticks whose messages may be made up for, after the broker held everything up.
const TICKS_BEHIND_MAX: f64 = 20.0;

/// All publishers.
pub struct Traffic {
    broker: SocketAddr,
    seed: u64,
    /// Messages of one tick and topic.
    share: f64,
    ledger: Shared,
    running: Option<(CancellationToken, JoinSet<anyhow::Result<()>>)>,
}

impl Traffic {
    /// Nothing flows yet.
    pub fn new(broker: SocketAddr, seed: u64, rate: u32, ledger: Shared) -> Self {
        let share = f64::from(rate) * TICK.as_secs_f64() / TOPICS.len() as f64;
        Self { broker, seed, share, ledger, running: None }
    }

    /// Publishers go on where they were.
    pub fn resume(&mut self) {
        let token = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for topic in 0..TOPICS.len() {
            let publisher = self.publisher(topic);
            tasks.spawn(publisher.run(0, token.clone()));
        }
        self.running = Some((token, tasks));
    }

    /// Publishers stop, and everything they have sent is confirmed: nothing is under way on their own hop, which could
    /// come twice.
    pub async fn pause(&mut self) -> anyhow::Result<()> {
        let Some((token, mut tasks)) = self.running.take() else { return Ok(()) };
        token.cancel();
        while let Some(ended) = tasks.join_next().await {
            ended?.context("a publisher")?;
        }
        Ok(())
    }

    /// One more message on each topic.
    pub async fn one_more(&self) -> anyhow::Result<()> {
        let told = CancellationToken::new();
        told.cancel();
        for topic in 0..TOPICS.len() {
            self.publisher(topic).run(1, told.clone()).await?;
        }
        Ok(())
    }

    fn publisher(&self, topic: usize) -> Publisher {
        let (ledger, inflight) = (self.ledger.clone(), HashMap::new());
        Publisher { broker: self.broker, seed: self.seed, share: self.share, topic, ledger, inflight, next: 0 }
    }
}

/// A message that the broker has not confirmed.
struct Open {
    id: Id,
    /// Somebody subscribes to it: only then does the broker owe it to anybody.
    is_wanted: bool,
}

/// A connection that publishes. It is written by hand, since the oracle must know which packet id is which message.
struct Publisher {
    broker: SocketAddr,
    seed: u64,
    share: f64,
    topic: usize,
    ledger: Shared,
    inflight: HashMap<u16, Open>,
    /// The packet id that was used last.
    next: u16,
}

impl Publisher {
    /// Publishes `first` messages at once, then at its rate until it is told to stop; ends when all are confirmed.
    async fn run(mut self, first: u32, token: CancellationToken) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.broker).await.context("the broker does not listen")?;
        stream.set_nodelay(true)?;
        let (mut received, mut answers) = (BytesMut::new(), BytesMut::new());
        write(&mut answers, &self.connect())?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut connected, mut credit) = (false, f64::from(first));
        loop {
            while let Some(packet) = next_packet(&mut received)? {
                connected |= matches!(packet, Packet::ConnAck(_));
                self.answer(packet, &mut answers)?;
            }
            while connected && credit >= 1.0 && self.inflight.len() < INFLIGHT_MAX.into() {
                credit -= 1.0;
                self.publish(&mut answers)?;
            }
            let is_told = token.is_cancelled();
            if connected && is_told && credit < 1.0 && self.inflight.is_empty() {
                write(&mut answers, &Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)))?;
                stream.write_all(&answers).await?;
                return Ok(stream.shutdown().await?);
            }
            stream.write_all(&answers).await?;
            answers.clear();
            tokio::select! {
                read = timeout(PATIENCE, stream.read_buf(&mut received)) => {
                    if read.context("the broker says nothing")?? == 0 {
                        bail!("the broker left a publisher with {} unconfirmed", self.inflight.len());
                    }
                }
                _ = ticks.tick(), if !is_told => credit = (credit + self.share).min((self.share * TICKS_BEHIND_MAX).max(1.0)),
            }
        }
    }

    fn connect(&self) -> Packet {
        let connect = Connect {
            // A broker that is held still for a while would else be left.
            keep_alive: 0,
            client_id: format!("publisher-{}", self.topic),
            clean_start: true,
            properties: None,
        };
        Packet::Connect(connect, None, None)
    }

    fn publish(&mut self, out: &mut BytesMut) -> anyhow::Result<()> {
        let id = self.ledger.lock().expect("no holder panics").issue(self.topic);
        let qos = if id.qos() == 1 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        let mut publish = Publish::new(TOPICS[self.topic].name, qos, id.payload(self.seed), None);
        // There is always a free one: there are far more than may be in flight.
        while self.next == 0 || self.inflight.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        publish.pkid = self.next;
        self.inflight.insert(self.next, Open { id, is_wanted: true });
        self.next = self.next.wrapping_add(1);
        write(out, &Packet::Publish(publish))
    }

    fn answer(&mut self, packet: Packet, out: &mut BytesMut) -> anyhow::Result<()> {
        match packet {
            Packet::ConnAck(connack) if connack.code == ConnectReturnCode::Success => {}
            Packet::PubAck(puback) => self.settle(puback.pkid, puback.reason == PubAckReason::Success)?,
            Packet::PubRec(pubrec) => {
                let is_wanted = match pubrec.reason {
                    PubRecReason::Success => true,
                    PubRecReason::NoMatchingSubscribers => false,
                    reason => bail!("the broker refuses a message: {reason:?}"),
                };
                if let Some(open) = self.inflight.get_mut(&pubrec.pkid) {
                    open.is_wanted = is_wanted;
                }
                write(out, &Packet::PubRel(PubRel::new(pubrec.pkid, None)))?;
            }
            Packet::PubComp(pubcomp) => self.settle(pubcomp.pkid, pubcomp.reason == PubCompReason::Success)?,
            other => bail!("the broker says {other:?} to a publisher"),
        }
        Ok(())
    }

    fn settle(&mut self, pkid: u16, confirmed: bool) -> anyhow::Result<()> {
        let open = self.inflight.remove(&pkid).with_context(|| format!("the broker confirms {pkid}, which is free"))?;
        if confirmed && open.is_wanted {
            self.ledger.lock().expect("no holder panics").of(open.id).confirmed.set(open.id.sequence, true);
        }
        Ok(())
    }
}

fn write(out: &mut BytesMut, packet: &Packet) -> anyhow::Result<()> {
    packet.write(out, None).map(drop).map_err(|error| anyhow::anyhow!("a packet cannot be written: {error}"))
}

fn next_packet(received: &mut BytesMut) -> anyhow::Result<Option<Packet>> {
    match Packet::read(received, None) {
        Ok(packet) => Ok(Some(packet)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => bail!("the broker's answer cannot be read: {error}"),
    }
}
