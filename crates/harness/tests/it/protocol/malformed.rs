//! What is no MQTT, or breaks its rules: the subscriber lives on, tries again without haste, and works with a broker
//! that behaves.

use std::time::{Duration, Instant};

use harness::broker::scripted::{Connection, message};
use harness::{PATIENCE, eventually};
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PingReq};

use super::{Result, Scene, delays_ms};

/// `MQTT_PACKET_BYTES_MAX` of these tests.
const PACKET_BYTES_MAX: usize = 4096;
/// How long the broker misbehaves at least: a hot loop makes thousands of connections in it.
const MISBEHAVIOUR: Duration = Duration::from_secs(2);
/// Full jitter may be short of luck several times; about six connections are usual.
const CONNECTIONS_MAX: usize = 40;

/// What the broker does to a client that it has welcomed; the client is to end the connection.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Overlong,
    EndlessLength,
    Garbage,
    TruncatedThenClosed,
    PacketIdZero,
    QosThree,
    TopicBeyondPacket,
    PacketOfAClient,
}

const FAULTS: [Fault; 8] = [
    Fault::Overlong,
    Fault::EndlessLength,
    Fault::Garbage,
    Fault::TruncatedThenClosed,
    Fault::PacketIdZero,
    Fault::QosThree,
    Fault::TopicBeyondPacket,
    Fault::PacketOfAClient,
];

impl Fault {
    async fn commit(self, connection: &mut Connection) -> Result {
        match self {
            Self::Overlong => connection.publish(1, 1, false, "t", &"x".repeat(2 * PACKET_BYTES_MAX)).await,
            Self::EndlessLength => connection.send_raw(&[0x32, 0xff, 0xff, 0xff, 0xff, 0x7f]).await,
            Self::Garbage => connection.send_raw(b"\0\0 no packet is of type 0").await,
            Self::TruncatedThenClosed => {
                connection.send_raw(&[0x32, 0x20, 0x00, 0x01, b't']).await?;
                connection.close().await
            }
            Self::PacketIdZero => connection.send_raw(&[0x32, 0x07, 0x00, 0x01, b't', 0x00, 0x00, 0x00, b'x']).await,
            Self::QosThree => connection.send_raw(&[0x36, 0x07, 0x00, 0x01, b't', 0x00, 0x01, 0x00, b'x']).await,
            Self::TopicBeyondPacket => connection.send_raw(&[0x30, 0x05, 0xff, 0xff, b't', 0x00, b'x']).await,
            Self::PacketOfAClient => connection.send(Packet::PingReq(PingReq)).await,
        }
    }
}

/// Misbehaves for a while, each way at least once; gives the number of connections that it took.
async fn misbehave(scene: &mut Scene) -> Result<usize> {
    let began = Instant::now();
    let mut connections = 0;
    while connections < FAULTS.len() || began.elapsed() < MISBEHAVIOUR {
        let fault = FAULTS[connections % FAULTS.len()];
        let mut connection = scene.broker.welcome(false).await?;
        fault.commit(&mut connection).await?;
        let rest = connection.rest().await?;
        let goodbye = rest.iter().all(|packet| matches!(packet, Packet::Disconnect(_)));
        assert!(goodbye, "nothing of {fault:?} is acknowledged: {rest:?}");
        connections += 1;
        assert!(scene.subscriber.process()?.is_running(), "{fault:?}:\n{}", scene.subscriber.log());
    }
    Ok(connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_breaks_the_protocol_is_left_without_haste_and_taken_back() -> Result {
    let bytes_max = PACKET_BYTES_MAX.to_string();
    let mut scene = Scene::start(&[("MQTT_PACKET_BYTES_MAX", &bytes_max)]).await?;
    let connections = misbehave(&mut scene).await?;
    assert!(connections <= CONNECTIONS_MAX, "{connections} connections:\n{}", scene.subscriber.log());
    let mut good = scene.broker.welcome(true).await?;
    assert_eq!(good.connect().properties.as_ref().and_then(|it| it.max_packet_size), Some(PACKET_BYTES_MAX as u32));
    good.publish(1, 1, false, "t", "good").await?;
    good.acked(1).await?;
    assert_eq!(scene.values().await?, [("good".to_owned(), false)], "and nothing of the bad was stored");
    Ok(())
}

/// Before the broker has said who it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_no_broker_is_tried_again_without_haste() -> Result {
    let mut scene = Scene::start(&[]).await?;
    let began = Instant::now();
    let mut connections = 0;
    while connections < 4 || began.elapsed() < MISBEHAVIOUR {
        let mut connection = scene.broker.accept().await?;
        match connections % 4 {
            0 => connection.send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?,
            1 => connection.publish(1, 1, false, "t", "before CONNACK").await?,
            2 => connection.cut()?,
            _ => connection.refuse(ConnectReturnCode::ServerBusy).await?,
        }
        connections += 1;
    }
    assert!(connections <= CONNECTIONS_MAX, "{connections} connections:\n{}", scene.subscriber.log());
    let mut good = scene.broker.welcome(false).await?;
    good.publish(1, 1, false, "t", "good").await?;
    good.acked(1).await?;
    assert_eq!(scene.values().await?, [("good".to_owned(), false)]);
    Ok(())
}

/// A topic has at least one character [MQTT-4.7.3-1], but for an alias, which we do not invite. Whether the connection
/// is ended or the message set aside: what follows arrives.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_without_a_topic_does_not_stop_what_follows() -> Result {
    let mut scene = Scene::start(&[]).await?;
    let mut connection = scene.broker.welcome(false).await?;
    connection.send_all([message(1, 1, false, "", "no topic"), message(2, 1, false, "t", "good")]).await?;
    if acked_in_the_end(&mut connection, 2).await.is_err() {
        connection = scene.broker.welcome(true).await?;
        connection.publish(2, 1, true, "t", "good").await?;
        connection.acked(2).await?;
    }
    scene.rows().await?;
    assert_eq!(scene.api.rows().values("t").await?, ["good"]);
    Ok(())
}

/// Reads until this id is acknowledged.
async fn acked_in_the_end(connection: &mut Connection, pkid: u16) -> Result {
    while !matches!(connection.next().await?, Packet::PubAck(ack) if ack.pkid == pkid) {}
    Ok(())
}

/// Empty topics stand for an alias that the client has invited (MQTT 5.0 §3.3.2.3.4); we invite none. rumqttc means to
/// say goodbye then, and only notes that it has.
#[tokio::test(flavor = "multi_thread")]
async fn an_alias_that_nobody_invited_does_not_end_the_process() -> Result {
    let mut scene = Scene::start(&[]).await?;
    let mut connection = scene.broker.welcome(false).await?;
    connection.send_raw(b"\x32\x09\0\0\0\x01\x03\x23\0\x05x").await?;
    scene.subscriber.until("it is on its way again", |status| status["broker"]["connected"] == false).await?;
    let mut good = scene.broker.welcome(true).await?;
    good.publish(2, 1, false, "t", "good").await?;
    good.acked(2).await?;
    scene.rows().await?;
    assert_eq!(scene.api.rows().values("t").await?, ["good"]);
    Ok(())
}

/// A client closes the connection on a malformed packet and on a protocol error (MQTT 5.0 §4.13.1).
async fn is_left_after(bytes: &[u8]) -> Result {
    let scene = Scene::start(&[("MQTT_KEEP_ALIVE", "1h")]).await?; // no ping ends it
    let mut connection = scene.broker.welcome(false).await?;
    connection.send_raw(bytes).await?;
    let left = async || Ok(delays_ms(&scene.subscriber.log()).first().copied());
    eventually("the broker is left", PATIENCE, left).await.map(drop)
}

/// It would pass for another connection, and what came before it would never be acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_connack_ends_the_connection() -> Result {
    is_left_after(b"\x20\x03\0\0\0").await
}
