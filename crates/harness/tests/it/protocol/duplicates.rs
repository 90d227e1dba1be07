//! What is one message sent twice, and what are two messages.

use harness::broker::scripted::{Connection, message};
use harness::{PATIENCE, eventually};
use rumqttc::v5::mqttbytes::v5::{Packet, PubRel};

use super::{Result, Scene};

fn expected(values: &[(&str, bool)]) -> Vec<(String, bool)> {
    values.iter().map(|&(value, dup)| (value.to_owned(), dup)).collect()
}

/// MQTT 5.0 §4.3.3: until PUBREL, the same id is the same message.
#[tokio::test(flavor = "multi_thread")]
async fn a_qos_2_message_repeated_before_its_pubrec_arrived_is_stored_once() -> Result {
    let mut scene = Scene::start(&[("MQTT_TOPICS", "#:2")]).await?;
    let mut first = scene.broker.welcome(false).await?;
    for (pkid, value) in [(7, "repeated"), (9, "replaced")] {
        first.publish(pkid, 2, false, "t", value).await?;
    }
    scene.api.rows().stored(2).await?;
    first.cut()?; // whatever PUBREC there was is lost

    let mut second = scene.broker.welcome(true).await?;
    for (pkid, value) in [(7, "repeated"), (9, "other content"), (8, "repeated"), (10, "fresh")] {
        second.publish(pkid, 2, true, "t", value).await?;
        second.acked(pkid).await?;
    }
    for pkid in [7, 9, 8, 10] {
        second.send(Packet::PubRel(PubRel::new(pkid, None))).await?;
        assert!(matches!(second.next().await?, Packet::PubComp(comp) if comp.pkid == pkid));
    }
    let stored = [
        ("repeated", false),
        ("replaced", false),
        ("other content", true),
        ("repeated", true), // another id is another message
        ("fresh", true),
    ];
    assert_eq!(scene.values().await?, expected(&stored));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qos_2_id_that_was_released_is_free_for_the_same_content() -> Result {
    let mut scene = Scene::start(&[("MQTT_TOPICS", "#:2")]).await?;
    let mut connection = scene.broker.welcome(false).await?;
    for dup in [false, true, false] {
        connection.publish(7, 2, dup, "t", "same").await?;
        connection.acked(7).await?;
        connection.send(Packet::PubRel(PubRel::new(7, None))).await?;
        assert!(matches!(connection.next().await?, Packet::PubComp(comp) if comp.pkid == 7));
    }
    assert_eq!(scene.values().await?, expected(&[("same", false), ("same", true), ("same", false)]));
    Ok(())
}

/// A broker that lost its store counts its ids from the start again.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_session_ends_what_is_known_of_its_ids() -> Result {
    let mut scene = Scene::start(&[("MQTT_TOPICS", "#:2")]).await?;
    let mut first = scene.broker.welcome(false).await?;
    first.publish(1, 2, false, "t", "same").await?;
    scene.api.rows().stored(1).await?;
    first.cut()?;
    let mut second = scene.broker.welcome(false).await?;
    second.publish(1, 2, true, "t", "same").await?;
    second.acked(1).await?;
    assert_eq!(scene.values().await?, expected(&[("same", false), ("same", true)]));
    Ok(())
}

/// DUP alone says nothing: the first delivery may have been lost on its way to us.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_message_marked_dup_is_stored_and_marked() -> Result {
    let mut scene = Scene::start(&[]).await?;
    let mut connection = scene.broker.welcome(false).await?;
    for (pkid, qos) in [(1, 1), (2, 2)] {
        connection.publish(pkid, qos, true, "t", "fresh").await?;
        connection.acked(pkid).await?;
    }
    assert_eq!(scene.values().await?, expected(&[("fresh", true), ("fresh", true)]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_messages_with_ids_of_their_own_are_all_stored_while_ids_wrap() -> Result {
    let mut scene = Scene::start(&[]).await?;
    let mut connection = scene.broker.welcome(false).await?;
    let ids = [65_534, 65_535, 1, 2];
    for qos in [1, 2] {
        connection.send_all(ids.map(|pkid| message(pkid, qos, false, "t", "same"))).await?;
        for pkid in ids {
            connection.acked(pkid).await?;
        }
        if qos == 2 {
            connection.send_all(ids.map(|pkid| Packet::PubRel(PubRel::new(pkid, None)))).await?;
            for pkid in ids {
                assert!(matches!(connection.next().await?, Packet::PubComp(comp) if comp.pkid == pkid));
            }
        }
    }
    assert_eq!(scene.values().await?, expected(&[("same", false); 8]));
    Ok(())
}

/// A connection on which the subscriber got QoS 1 message `once` by the id 7, and wrote no acknowledgement: it was
/// stopped, and finds the message together with the connection's end.
async fn read_but_never_acknowledged(scene: &mut Scene) -> Result {
    let mut connection = scene.broker.welcome(false).await?;
    scene.subscriber.ready().await?;
    let process = scene.subscriber.process()?;
    process.signal("STOP")?;
    let stat = format!("/proc/{}/stat", process.pid());
    // The state is the first field behind the name in parentheses (proc_pid_stat(5)).
    let stopped = async || Ok(std::fs::read_to_string(&stat)?.contains(") T ").then_some(()));
    eventually("the subscriber is stopped", PATIENCE, stopped).await?;
    connection.publish(7, 1, false, "t", "once").await?;
    connection.close().await?;
    process.signal("CONT")?;
    assert_eq!(connection.rest().await?, [], "nothing was acknowledged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qos_1_message_repeated_because_its_puback_was_never_written_is_stored_once() -> Result {
    let mut scene = Scene::start(&[]).await?;
    read_but_never_acknowledged(&mut scene).await?;
    let mut second = scene.broker.welcome(true).await?;
    second.publish(7, 1, true, "t", "once").await?;
    second.acked(7).await?;
    assert_eq!(scene.values().await?.len(), 1);
    // It is one repetition, not a rule for the id.
    second.publish(7, 1, true, "t", "once").await?;
    second.acked(7).await?;
    assert_eq!(scene.values().await?.len(), 2);
    Ok(())
}

/// Sensors repeat themselves: what only looks like the message before is another one.
#[tokio::test(flavor = "multi_thread")]
async fn a_qos_1_message_that_may_be_another_is_stored() -> Result {
    for (pkid, dup, value, resumed) in [
        (8, true, "once", true),  // another id
        (7, false, "once", true), // a first delivery
        (7, true, "other", true), // other content
        (7, true, "once", false), // ids of another session
    ] {
        let mut scene = Scene::start(&[]).await?;
        read_but_never_acknowledged(&mut scene).await?;
        let mut second = scene.broker.welcome(resumed).await?;
        second.publish(pkid, 1, dup, "t", value).await?;
        second.acked(pkid).await?;
        assert_eq!(scene.values().await?, expected(&[("once", false), (value, dup)]), "{pkid} {dup} {value} {resumed}");
    }
    Ok(())
}

/// Once acknowledged, an id is free for the same content, whatever DUP says: the broker may never have had the PUBACK,
/// or it may have lost the first delivery of another message.
#[tokio::test(flavor = "multi_thread")]
async fn a_qos_1_message_like_one_that_was_acknowledged_is_stored_and_marked() -> Result {
    let mut scene = Scene::start(&[]).await?;
    let mut first = scene.broker.welcome(false).await?;
    acknowledged(&mut first, false).await?;
    first.cut()?;
    let mut second = scene.broker.welcome(true).await?;
    acknowledged(&mut second, true).await?;
    assert_eq!(scene.values().await?, expected(&[("same", false), ("same", true)]));
    Ok(())
}

async fn acknowledged(connection: &mut Connection, dup: bool) -> Result {
    connection.publish(7, 1, dup, "t", "same").await?;
    connection.acked(7).await
}
