//! Messages as fast as TCP takes them.

use std::collections::HashSet;

use anyhow::{Context as _, bail, ensure};
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{Packet, PingResp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Connection, message, parse};
use crate::PATIENCE;

/// What is encoded ahead while TCP takes no more.
const AHEAD_BYTES: usize = 64 << 10;
/// Packet ids that exist; as many messages can be without their acknowledgement (MQTT 5.0 §2.2.1).
const PACKET_IDS: usize = u16::MAX as usize;

impl Connection {
    /// Sends QoS 1 messages as fast as TCP takes them, whatever the client's receive maximum, and reads meanwhile. Only
    /// where all packet ids are in use it waits for acknowledgements. Ends when each message has its own.
    pub async fn flood(&mut self, messages: impl Iterator<Item = (String, String)>) -> anyhow::Result<()> {
        let mut messages = messages.peekable();
        let (mut ahead, mut unacked, mut last) = (BytesMut::new(), HashSet::new(), 0);
        while messages.peek().is_some() || !ahead.is_empty() || !unacked.is_empty() {
            while ahead.len() < AHEAD_BYTES && unacked.len() < PACKET_IDS {
                let Some((topic, payload)) = messages.next() else { break };
                last = (1..=PACKET_IDS as u16)
                    .map(|step| next_id(last, step))
                    .find(|id| !unacked.contains(id))
                    .context("ids")?;
                unacked.insert(last);
                message(last, 1, false, &topic, &payload).write(&mut ahead, None)?;
            }
            let (mut reader, mut writer) = self.stream.split();
            let moved = async {
                tokio::select! {
                    read = reader.read_buf(&mut self.received) => read,
                    written = writer.write_buf(&mut ahead), if !ahead.is_empty() => written,
                }
            };
            ensure!(timeout(PATIENCE, moved).await.context("nothing moves")?? > 0, "the client closed the connection");
            while let Some(packet) = parse(&mut self.received)? {
                match packet {
                    Packet::PubAck(ack) => ensure!(unacked.remove(&ack.pkid), "{} was acknowledged twice", ack.pkid),
                    Packet::PingReq(_) => Packet::PingResp(PingResp).write(&mut ahead, None).map(drop)?,
                    other => bail!("acknowledgements are due, not {other:?}"),
                }
            }
        }
        Ok(())
    }
}

/// Ids go round without zero.
fn next_id(last: u16, step: u16) -> u16 {
    ((usize::from(last) + usize::from(step) - 1) % PACKET_IDS + 1) as u16
}
