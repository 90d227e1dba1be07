//! The session at the broker: removed filters, retained messages, and a broker that has forgotten it.

use harness::publish::{Outgoing, numbered, publish};
use harness::system::Subscriber;

use super::{Result, System, numbers};

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_removed_is_unsubscribed() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "a/#:1,b/#:1")]).await? else { return Ok(()) };
    system.subscriber.process()?.terminate()?;
    system.subscriber.set("MQTT_TOPICS", "a/#:1,c/#:1");
    system.subscriber.restart()?;
    system.subscriber.ready().await?;
    let record = system.subscriber.spool().join("subscriptions.json");
    let gone = async || Ok((!std::fs::read_to_string(&record)?.contains("b/#")).then_some(()));
    harness::eventually("UNSUBACK came", harness::PATIENCE, gone).await?;
    for topic in ["b/x", "c/x", "a/x"] {
        publish(system.broker.addr(), numbered(topic, 0, 10, 1)).await?;
    }
    system.api.rows().stored_value("a/x", "9").await?;
    assert_eq!(system.delivered("c/x").await?, numbers(0, 10));
    assert_eq!(system.delivered("b/x").await?, Vec::<String>::new());
    Ok(())
}

/// What is stored of twenty retained messages, and of one that comes later, by a subscriber with this setting over three
/// connections.
async fn retained(setting: &str) -> Result<Option<Vec<String>>> {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "outro:1")]).await? else { return Ok(None) };
    let retained = |number: usize| Outgoing { retain: true, ..Outgoing::new(format!("r/{number}"), "antes", 1) };
    publish(system.broker.addr(), (0..20).map(retained).collect()).await?;
    let dir = tempfile::tempdir_in(system.dir.path())?;
    let settings = [("MQTT_TOPICS", "r/#:1"), ("MQTT_RETAINED", setting)];
    let (broker, api) = (system.broker.url(), system.api.url());
    let mut late = Subscriber::start(dir.path(), &broker, &api, &settings)?;
    late.ready().await?;
    if setting == "store" {
        late.until("they are captured", |status| status["spool"]["captured"] == 20).await?;
    }
    late.process()?.terminate()?;
    late.restart()?;
    late.ready().await?;
    system.broker.restart().await?;
    late.until("it has reconnected", |status| status["broker"]["session_resumed"] == true && status["ready"] == true)
        .await?;
    publish(system.broker.addr(), vec![Outgoing::new("r/0", "depois", 1)]).await?;
    system.api.rows().stored_value("r/0", "depois").await?;
    late.drained().await?;
    let rows = system.api.rows().all().await?;
    Ok(Some(rows.into_iter().filter_map(|row| row.valor).collect()))
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_messages_are_stored_once_for_a_new_filter() -> Result {
    let Some(values) = retained("store").await? else { return Ok(()) };
    assert_eq!(values, [vec!["antes"; 20], vec!["depois"]].concat());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_messages_are_skipped_where_they_are_not_wanted() -> Result {
    let Some(values) = retained("skip").await? else { return Ok(()) };
    assert_eq!(values, ["depois"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_broker_has_lost_is_noticed_and_begun_anew() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "#:2")]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("fluxo", 0, 500, 2)).await?;
    system.api.rows().stored(500).await?;
    system.broker.stop()?;
    system.broker.forget()?;
    system.broker.restart().await?;
    system.subscriber.until("it is connected again", |status| status["ready"] == true).await?;
    assert!(system.subscriber.log().contains("the broker has lost the session"), "{}", system.subscriber.log());
    publish(system.broker.addr(), numbered("fluxo", 500, 500, 2)).await?;
    system.api.rows().stored(1_000).await?;
    assert_eq!(system.delivered("fluxo").await?, numbers(0, 1_000), "ids that begin anew mean other messages");
    let metrics = system.subscriber.metrics().await?;
    assert!(metrics.contains("ponte_subscriber_sessions_lost_total 1"), "{metrics}");
    assert!(metrics.contains("ponte_subscriber_captured_total 1000"), "{metrics}");
    Ok(())
}
