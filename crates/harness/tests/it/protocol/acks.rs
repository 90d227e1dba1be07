//! Acknowledgements go to the connection that their message came on, once.

use harness::broker::scripted::{Connection, message};
use rumqttc::v5::mqttbytes::v5::{Packet, PubRel};

use super::{Result, Scene};

/// A broker that lost its session gives the ids of messages in flight to others: an acknowledgement that is late would
/// make it forget one that nobody has.
///
/// The spool is full while the connection ends, so that acknowledgements are owed; they fall due on the next one.
async fn owed_by_a_full_spool(qos: u8) -> Result {
    const IN_FLIGHT: u16 = 400;
    const PAYLOAD_BYTES: usize = 1000; // all of it fills the spool several times over
    let settings = [("SPOOL_MAX_BYTES", "128KiB"), ("MQTT_PACKET_BYTES_MAX", "32KiB")];
    let mut scene = Scene::start(&settings).await?;
    let mut first = scene.broker.welcome(false).await?;
    scene.api.kill()?;
    let old = |pkid: u16| message(pkid, qos, false, "old", &format!("{pkid:0PAYLOAD_BYTES$}"));
    first.send_all((1..=IN_FLIGHT).map(old)).await?;
    scene.subscriber.until("the spool is full", |status| status["spool"]["fault"].is_string()).await?;
    first.close().await?;
    let second = scene.broker.welcome(false).await?;
    scene.api.restart().await?;
    other_messages_have_their_own(&mut scene, second, IN_FLIGHT, qos).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_puback_owed_to_a_dead_connection_never_names_another_message() -> Result {
    owed_by_a_full_spool(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pubrec_owed_to_a_dead_connection_never_names_another_message() -> Result {
    owed_by_a_full_spool(2).await
}

/// rumqttc keeps the PUBRECs that wait in its queue for the next connection: acknowledgements starve behind reads, so
/// that a stream which ends abruptly leaves many.
#[tokio::test(flavor = "multi_thread")]
async fn pubrecs_queued_when_a_connection_ends_are_not_written_to_the_next() -> Result {
    const IN_FLIGHT: u16 = 20_000;
    let mut scene = Scene::start(&[("MQTT_TOPICS", "#:2")]).await?;
    let mut first = scene.broker.welcome(false).await?;
    first.send_all((1..=IN_FLIGHT).map(|pkid| message(pkid, 2, false, "old", &pkid.to_string()))).await?;
    first.close().await?;
    let second = scene.broker.welcome(true).await?;
    other_messages_have_their_own(&mut scene, second, IN_FLIGHT, 2).await
}

/// Sends other messages by the ids of those that came on an earlier connection, and wants one acknowledgement for each
/// behind it, and none besides.
async fn other_messages_have_their_own(scene: &mut Scene, mut connection: Connection, before: u16, qos: u8) -> Result {
    const COUNT: u16 = 200;
    scene.api.rows().stored(before.into()).await?; // what was owed for them has fallen due
    for pkid in 1..=COUNT {
        connection.publish(pkid, qos, false, "new", &pkid.to_string()).await?;
        connection.acked(pkid).await?;
    }
    scene.subscriber.drained().await?;
    scene.subscriber.process()?.terminate()?;
    let rest = connection.rest().await?;
    assert!(matches!(rest[..], [Packet::Disconnect(_)]), "nothing is acknowledged twice: {rest:?}");
    let rows = scene.api.rows();
    let old: Vec<usize> =
        rows.values("old").await?.iter().map(|value| value.parse()).collect::<std::result::Result<_, _>>()?;
    assert!(old.into_iter().eq(1..=before.into()), "each old one once, in order");
    assert_eq!(rows.values("new").await?, super::super::numbers(1, COUNT.into()));
    Ok(())
}

/// A broker resumes a session behind its last PUBREC: rumqttc alone would take the PUBREL for a protocol error, for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_pubrel_for_an_unknown_id_is_completed() -> Result {
    let mut scene = Scene::start(&[("MQTT_TOPICS", "#:2")]).await?;
    let mut connection = scene.broker.accept().await?;
    connection.connack(true, None).await?;
    for pkid in [1, 7, u16::MAX] {
        connection.send(Packet::PubRel(PubRel::new(pkid, None))).await?;
        assert!(matches!(connection.next().await?, Packet::PubComp(comp) if comp.pkid == pkid));
    }
    for (pkid, qos) in [(7, 2), (8, 1)] {
        connection.publish(pkid, qos, false, "t", &pkid.to_string()).await?;
        connection.acked(pkid).await?;
    }
    assert_eq!(scene.values().await?, [("7".to_owned(), false), ("8".to_owned(), false)]);
    assert_eq!(super::delays_ms(&scene.subscriber.log()), [0u64; 0], "the connection stays");
    Ok(())
}
