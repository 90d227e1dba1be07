//! A check beside a subscriber that runs: it says how that one is, and takes nothing from it.

use harness::broker::mosquitto::Options;
use harness::publish::{Outgoing, numbered, publish};
use tokio::task::{JoinSet, block_in_place};

use super::super::{Result, System, numbers};
use super::says;

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_is_well_is_told_so() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "casa/#:1")]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("casa/sala", 0, 50, 1)).await?;
    system.api.rows().stored(50).await?;
    system.subscriber.drained().await?;
    let (code, output) = block_in_place(|| system.subscriber.run(&["check"]))?;
    assert_eq!(code, 0, "{output}");
    for (subject, words) in [
        ("clock", "this machine's clock says"),
        ("SPOOL_DIR", "can be written"),
        ("disk of the spool", "commits a second"),
        ("SPOOL_MAX_BYTES 1 GiB", ""),
        ("BROKER_ADDR", "connected with MQTT 5"),
        ("MQTT_SESSION_EXPIRY", "for 7 days, as asked"),
        ("MQTT_TOPICS", "the broker grants casa/# with QoS 1"),
        ("API_URL", "ready to store"),
        ("API_TOKEN", "asks for no token"),
        ("clocks", "agree"),
        ("STATUS_ADDR", "runs and is ready; 50 messages captured so far, 0 wait"),
        ("outage budget", "the broker alone would hold"),
    ] {
        says(&output, "ok", subject, words);
    }
    assert!(output.contains("default of mosquitto") && !output.contains("fail  "), "{output}");

    let (code, output) = block_in_place(|| system.subscriber.run(&["check", "--rate", "12"]))?;
    assert_eq!(code, 0, "{output}");
    says(&output, "ok", "outage budget", "at 12 msg/s the spool holds");
    says(&output, "ok", "outage budget", "the broker alone would hold 83 s");
    assert_eq!(block_in_place(|| system.subscriber.run(&["check", "--rate", "0"]))?.0, 64);
    Ok(())
}

/// What is stored of a flow during which checks ran, and how often the subscriber has connected.
async fn undisturbed(settings: &[(&str, &str)], qos: u8) -> Result {
    const COUNT: usize = 2_000;
    let Some(mut system) = System::with_broker(Options::default(), settings).await? else { return Ok(()) };
    let retained = |number: usize| Outgoing { retain: true, ..Outgoing::new(format!("r/{number}"), "antes", 1) };
    publish(system.broker.addr(), (0..100).map(retained).collect()).await?;
    system.api.rows().stored(100).await?;
    let (addr, mut flow) = (system.broker.addr(), JoinSet::new());
    flow.spawn(async move {
        for first in (0..COUNT).step_by(100) {
            publish(addr, numbered("fluxo", first, 100, qos)).await?;
        }
        anyhow::Ok(())
    });
    for _ in 0..3 {
        let (code, output) = block_in_place(|| system.subscriber.run(&["check"]))?;
        assert_eq!(code, 0, "{output}");
    }
    while let Some(published) = flow.join_next().await {
        published??;
    }
    system.api.rows().stored(100 + COUNT as i64).await?;
    assert_eq!(system.delivered("fluxo").await?, numbers(0, COUNT), "a check takes nothing, and doubles nothing");
    assert_eq!(system.api.rows().all().await?.len(), 100 + COUNT, "no retained message comes a second time");
    let metrics = system.subscriber.metrics().await?;
    assert!(metrics.contains("ponte_subscriber_connects_total 1\n"), "the session was taken over:\n{metrics}");
    // What is subscribed is the session's still, and the broker keeps nothing for a client that was a check.
    system.subscriber.process()?.terminate()?;
    publish(system.broker.addr(), numbered("depois", 0, 10, qos)).await?;
    system.subscriber.restart()?;
    system.subscriber.until("the session is resumed", |status| status["broker"]["session_resumed"] == true).await?;
    system.api.rows().stored_value("depois", "9").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_takes_nothing_from_a_subscriber_that_runs() -> Result {
    undisturbed(&[("MQTT_TOPICS", "#:2")], 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_no_member_of_a_shared_group() -> Result {
    let settings = [("MQTT_TOPICS", "r/#:1,fluxo:1,depois:1"), ("MQTT_SHARED_GROUP", "ponte"), ("MQTT_CLIENT_ID", "a")];
    // A shared subscription brings no retained messages (MQTT 5.0 §4.8.2): they are published while it is there.
    undisturbed(&settings, 1).await
}
