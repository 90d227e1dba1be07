//! A broker that a test writes the lines of: it says to the subscriber what a real one seldom says.
//!
//! It speaks MQTT 5 by rumqttc's own codec, and raw bytes where that codec is too well-mannered. It knows nothing of
//! sessions or topics: whether a session is there, what is sent again and what is granted is the script's to say.

mod flood;

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectReturnCode, Disconnect, DisconnectReasonCode, Filter, Login, Packet,
    PingReq, PingResp, Publish, SubAck, Subscribe, SubscribeReasonCode, UnsubAck, UnsubAckReason,
};
use rumqttc::v5::mqttbytes::{Error, QoS};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::PATIENCE;

/// First byte of a DISCONNECT (MQTT 5.0 §3.14.1).
const DISCONNECT: u8 = 0xe0;
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 64;
/// What a narrow connection holds unread. A peer's send buffer on loopback follows from the segment size: with the
/// usual one it would take megabytes before it pushes back.
const NARROW_RECEIVE_BYTES: u32 = 1;
const NARROW_SEGMENT_BYTES: u32 = 88;

/// Listens for the subscriber; the script accepts.
pub struct ScriptedBroker {
    listener: TcpListener,
    addr: SocketAddr,
}

impl ScriptedBroker {
    /// Listens on a free port of loopback.
    pub fn start() -> anyhow::Result<Self> {
        Self::listen(TcpSocket::new_v4()?)
    }

    /// The same with connections that hold next to nothing unread: who does not read from one soon makes its peer wait.
    pub fn start_narrow() -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(NARROW_RECEIVE_BYTES)?;
        SockRef::from(&socket).set_tcp_mss(NARROW_SEGMENT_BYTES)?;
        Self::listen(socket)
    }

    fn listen(socket: TcpSocket) -> anyhow::Result<Self> {
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(BACKLOG)?;
        Ok(Self { addr: listener.local_addr()?, listener })
    }

    /// As `BROKER_ADDR` wants it.
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.addr)
    }

    /// The next client, once its CONNECT is there; nothing is answered yet.
    pub async fn accept(&self) -> anyhow::Result<Connection> {
        let accepted = timeout(PATIENCE, self.listener.accept()).await.context("no client connects")?;
        let (mut stream, _) = accepted?;
        stream.set_nodelay(true)?;
        let mut received = BytesMut::new();
        match read(&mut stream, &mut received).await? {
            Packet::Connect(connect, _, login) => Ok(Connection { stream, received, connect, login, pings: 0 }),
            other => bail!("a client begins with {other:?}"),
        }
    }

    /// The next client, welcomed: with a new session its SUBSCRIBE is awaited and granted. With a resumed one it need
    /// not subscribe, so that a SUBSCRIBE is only answered when it comes, by [`Connection::next`].
    pub async fn welcome(&self, session_present: bool) -> anyhow::Result<Connection> {
        let mut connection = self.accept().await?;
        connection.connack(session_present, None).await?;
        if !session_present {
            connection.grant().await?;
        }
        Ok(connection)
    }
}

/// One client's connection. Whoever does not call [`Connection::next`] does not read.
pub struct Connection {
    stream: TcpStream,
    received: BytesMut,
    connect: Connect,
    login: Option<Login>,
    pings: usize,
}

impl Connection {
    /// What the client began with.
    pub fn connect(&self) -> &Connect {
        &self.connect
    }

    /// User and password of the CONNECT.
    pub fn login(&self) -> Option<&Login> {
        self.login.as_ref()
    }

    /// Pings that were read, and answered.
    pub fn pings(&self) -> usize {
        self.pings
    }

    /// Takes the client in.
    pub async fn connack(
        &mut self,
        session_present: bool,
        properties: Option<ConnAckProperties>,
    ) -> anyhow::Result<()> {
        self.send(Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success, properties })).await
    }

    /// Turns the client away, and closes as MQTT 5.0 §3.2.2.2 asks.
    pub async fn refuse(mut self, code: ConnectReturnCode) -> anyhow::Result<()> {
        self.send(Packet::ConnAck(ConnAck { session_present: false, code, properties: None })).await?;
        self.close().await
    }

    /// Says goodbye and closes. rumqttc's codec counts the bytes of a DISCONNECT wrongly.
    pub async fn disconnect(&mut self, code: DisconnectReasonCode) -> anyhow::Result<()> {
        self.send_raw(&[DISCONNECT, 2, code as u8, 0]).await?;
        self.close().await
    }

    /// The SUBSCRIBE that must come now, unanswered.
    pub async fn subscribe(&mut self) -> anyhow::Result<Subscribe> {
        match read(&mut self.stream, &mut self.received).await? {
            Packet::Subscribe(subscribe) => Ok(subscribe),
            other => bail!("SUBSCRIBE is due, not {other:?}"),
        }
    }

    /// Answers a SUBSCRIBE.
    pub async fn suback(&mut self, pkid: u16, return_codes: Vec<SubscribeReasonCode>) -> anyhow::Result<()> {
        self.send(Packet::SubAck(SubAck { pkid, return_codes, properties: None })).await
    }

    /// Grants the SUBSCRIBE that must come now whatever it asks for.
    pub async fn grant(&mut self) -> anyhow::Result<Vec<Filter>> {
        let Subscribe { pkid, filters, .. } = self.subscribe().await?;
        self.suback(pkid, as_asked(&filters)).await?;
        Ok(filters)
    }

    /// The client's next packet. What needs no script is answered and passed over: PINGREQ, and a SUBSCRIBE or
    /// UNSUBSCRIBE that comes late.
    pub async fn next(&mut self) -> anyhow::Result<Packet> {
        loop {
            let packet = read(&mut self.stream, &mut self.received).await?;
            if !self.answered(&packet).await? {
                return Ok(packet);
            }
        }
    }

    /// Waits for the next PINGREQ, which must be the next packet, and answers it.
    pub async fn ping(&mut self) -> anyhow::Result<()> {
        match read(&mut self.stream, &mut self.received).await? {
            Packet::PingReq(_) => self.answered(&Packet::PingReq(PingReq)).await.map(drop),
            other => bail!("PINGREQ is due, not {other:?}"),
        }
    }

    /// Reads for so long; nothing but what [`Connection::next`] passes over may come.
    pub async fn quiet(&mut self, time: Duration) -> anyhow::Result<()> {
        match timeout(time, self.next()).await {
            Err(_) => Ok(()),
            Ok(packet) => bail!("nothing is due, not {:?}", packet?),
        }
    }

    /// Asserts that PUBACK or PUBREC for this id is the next packet.
    pub async fn acked(&mut self, pkid: u16) -> anyhow::Result<()> {
        match self.next().await.with_context(|| format!("the acknowledgement of {pkid} is due"))? {
            Packet::PubAck(ack) if ack.pkid == pkid => Ok(()),
            Packet::PubRec(ack) if ack.pkid == pkid => Ok(()),
            other => bail!("the acknowledgement of {pkid} is due, not {other:?}"),
        }
    }

    /// Every packet up to the client's end of the connection, however it comes.
    pub async fn rest(&mut self) -> anyhow::Result<Vec<Packet>> {
        let mut packets = Vec::new();
        loop {
            match self.next().await {
                Ok(packet) => packets.push(packet),
                Err(error) if error.is::<std::io::Error>() => return Ok(packets),
                Err(error) => return Err(error.context(format!("after {packets:?}"))),
            }
        }
    }

    /// Sends one packet.
    pub async fn send(&mut self, packet: Packet) -> anyhow::Result<()> {
        self.send_all([packet]).await
    }

    /// Sends packets in one write.
    pub async fn send_all(&mut self, packets: impl IntoIterator<Item = Packet>) -> anyhow::Result<()> {
        let mut bytes = BytesMut::new();
        for packet in packets {
            packet.write(&mut bytes, None)?;
        }
        self.send_raw(&bytes).await
    }

    /// Sends bytes as they are.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(timeout(PATIENCE, self.stream.write_all(bytes)).await.context("the client does not read")??)
    }

    /// Sends one message; see [`message`].
    pub async fn publish(&mut self, pkid: u16, qos: u8, dup: bool, topic: &str, payload: &str) -> anyhow::Result<()> {
        self.send(message(pkid, qos, dup, topic, payload)).await
    }

    /// Ends our side behind everything that was sent; the client's side can still be read.
    pub async fn close(&mut self) -> anyhow::Result<()> {
        Ok(self.stream.shutdown().await?)
    }

    /// Resets the connection: what is on its way is lost.
    pub fn cut(self) -> anyhow::Result<()> {
        Ok(self.stream.set_zero_linger()?)
    }

    async fn answered(&mut self, packet: &Packet) -> anyhow::Result<bool> {
        match packet {
            Packet::PingReq(_) => {
                self.pings += 1;
                self.send(Packet::PingResp(PingResp)).await?;
            }
            Packet::Subscribe(subscribe) => self.suback(subscribe.pkid, as_asked(&subscribe.filters)).await?,
            Packet::Unsubscribe(unsubscribe) => {
                let reasons = vec![UnsubAckReason::Success; unsubscribe.filters.len()];
                self.send(Packet::UnsubAck(UnsubAck { pkid: unsubscribe.pkid, reasons, properties: None })).await?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A PUBLISH with these fields; the id is left out at QoS 0.
pub fn message(pkid: u16, qos: u8, dup: bool, topic: &str, payload: &str) -> Packet {
    let qos = match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    Packet::Publish(Publish { pkid, dup, ..Publish::new(topic, qos, Bytes::copy_from_slice(payload.as_bytes()), None) })
}

fn as_asked(filters: &[Filter]) -> Vec<SubscribeReasonCode> {
    filters.iter().map(|filter| SubscribeReasonCode::Success(filter.qos)).collect()
}

/// The end of the stream is an error of I/O, as a reset is.
async fn read(stream: &mut TcpStream, received: &mut BytesMut) -> anyhow::Result<Packet> {
    loop {
        if let Some(packet) = parse(received)? {
            return Ok(packet);
        }
        if timeout(PATIENCE, stream.read_buf(received)).await.context("the client says nothing")?? == 0 {
            return Err(std::io::Error::from(ErrorKind::UnexpectedEof).into());
        }
    }
}

fn parse(received: &mut BytesMut) -> anyhow::Result<Option<Packet>> {
    // Without a body rumqttc writes a goodbye that it cannot read itself.
    if received.starts_with(&[DISCONNECT, 0]) {
        let _ = received.split_to(2);
        return Ok(Some(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection))));
    }
    match Packet::read(received, None) {
        Ok(packet) => Ok(Some(packet)),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
