//! A broker that sends more than it may, or reads nothing: memory stays bounded, and nothing is missing.

use anyhow::Context as _;
use harness::broker::scripted::{Connection, ScriptedBroker, message};
use harness::{PATIENCE, eventually};
use rumqttc::v5::mqttbytes::v5::Packet;

use super::super::{assert_none_missing, numbers};
use super::{Result, Scene};

/// Far more than a build for tests ever needs, far less than an unbounded queue would take.
const RESIDENT_KIB_MAX: u64 = 128 << 10;

impl Scene {
    fn assert_memory_bounded(&mut self) -> Result {
        let kib = self.subscriber.process()?.resident_kib_max()?;
        eprintln!("most memory of the subscriber: {kib} KiB");
        assert!(kib <= RESIDENT_KIB_MAX, "{kib} KiB");
        Ok(())
    }
}

/// rumqttc's flush has no timeout: a peer that stops reading holds up the loop, keep-alive included.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_reading_is_left_and_nothing_is_missing() -> Result {
    const COUNT: u16 = 60_000;
    let mut scene = Scene::with_broker(ScriptedBroker::start_narrow()?, &[("MQTT_KEEP_ALIVE", "5s")]).await?;
    let mut deaf = scene.broker.welcome(false).await?;
    let numbered = |dup| move |pkid: u16| message(pkid, 1, dup, "t", &(pkid - 1).to_string());
    deaf.send_all((1..=COUNT).map(numbered(false))).await?;
    // Their acknowledgements are more than the connection holds; nobody reads them.
    // The one where a flush hangs, the other where the last acknowledgements just fitted. The log is asked, since the
    // status shows a fault only until the next connection is tried.
    let ends = ["stopped reading", "does not answer pings"];
    eventually("the watchdog ends the connection", PATIENCE, async || {
        let log = scene.subscriber.log();
        Ok(ends.iter().any(|end| log.contains(end)).then_some(()))
    })
    .await?;
    let mut second = scene.broker.welcome(true).await?;
    drop(deaf);
    // A broker that has read no acknowledgement sends everything again.
    // This one does not read while it sends: no more at once than its narrow connection holds acknowledgements for.
    for first in (1..=COUNT).step_by(100) {
        second.send_all((first..first + 100).map(numbered(true))).await?;
        for pkid in first..first + 100 {
            second.acked(pkid).await.with_context(|| scene.subscriber.log())?;
        }
    }
    let rows = scene.rows().await?;
    let values: Vec<_> = rows.iter().filter_map(|row| row.valor.clone()).collect();
    assert_none_missing(&values[..COUNT.into()], COUNT.into());
    assert!(rows[COUNT.into()..].iter().all(|row| row.dup == Some(true)), "what is there twice says so");
    scene.assert_memory_bounded()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_ignores_the_receive_maximum_does_not_fill_the_memory() -> Result {
    const COUNT: usize = 200_000;
    const PAYLOAD_BYTES: usize = 200;
    let mut scene = Scene::start(&[("MQTT_KEEP_ALIVE", "1h")]).await?;
    let mut connection = scene.broker.welcome(false).await?;
    let messages = (0..COUNT).map(|number| ("t".to_owned(), format!("{number:<PAYLOAD_BYTES$}")));
    connection.flood(messages).await?;
    let values = scene.values().await?;
    scene.assert_memory_bounded()?;
    let values: Vec<_> = values.iter().map(|(value, _)| value.trim_end().to_owned()).collect();
    assert_eq!(values, numbers(0, COUNT));
    scene.subscriber.process()?.terminate()?;
    let rest = connection.rest().await?;
    assert!(matches!(rest[..], [Packet::Disconnect(_)]), "{rest:?}");
    Ok(())
}

/// Nothing can be stored, since the API is away and the spool is full, and the broker pushes until the subscriber goes
/// offline.
async fn pushed_offline() -> Result<(Scene, Connection)> {
    const COUNT: usize = 5_000;
    const PAYLOAD_BYTES: usize = 32 << 10; // all of it is more than the memory that is allowed
    let settings = [("SPOOL_MAX_BYTES", "1MiB"), ("MQTT_PACKET_BYTES_MAX", "64KiB"), ("MQTT_KEEP_ALIVE", "5s")];
    let mut scene = Scene::start(&settings).await?;
    scene.api.kill()?;
    let mut connection = scene.broker.welcome(false).await?;
    let messages = (0..COUNT).map(|number| ("t".to_owned(), format!("{number:<PAYLOAD_BYTES$}")));
    let offline = |status: &serde_json::Value| {
        status["broker"]["fault"].as_str().is_some_and(|fault| fault.contains("does not keep up"))
    };
    tokio::select! {
        // A reset by the subscriber may come before its status is asked.
        flood = connection.flood(messages) => assert!(flood.is_err(), "all of it was taken"),
        offline = scene.subscriber.until("it goes offline", offline) => offline?,
    }
    scene.subscriber.until("it goes offline", offline).await?;
    Ok((scene, connection))
}

/// What has come waits in a bounded intake, the rest with the broker, behind TCP and then behind the end of the
/// connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_pushes_against_a_full_spool_does_not_fill_the_memory() -> Result {
    let (mut scene, connection) = pushed_offline().await?;
    scene.assert_memory_bounded()?;
    drop(connection);
    scene.api.restart().await?;
    let mut again = scene.broker.welcome(true).await?;
    again.publish(1, 1, false, "later", "good").await?;
    again.acked(1).await?;
    scene.rows().await?;
    assert_eq!(scene.api.rows().values("later").await?, ["good"]);
    scene.assert_memory_bounded()
}

/// A connection that nobody reads from any more would hold what the broker has in flight.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_goes_offline_closes_its_connection() -> Result {
    let (_scene, mut connection) = pushed_offline().await?;
    let rest = connection.rest().await.map_err(|error| error.context("the connection is still open"))?;
    assert!(rest.iter().all(|packet| matches!(packet, Packet::PubAck(_) | Packet::Disconnect(_))), "{rest:?}");
    Ok(())
}
