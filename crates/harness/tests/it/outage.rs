//! Kills, restarts and full spools: nothing that was acknowledged is lost.

use std::fs;
use std::io::Write as _;

use harness::broker::mosquitto::Options;
use harness::disk::Disk;
use harness::proxy::Proxy;
use harness::publish::{Outgoing, numbered, publish};
use harness::system::{Api, Subscriber};
use tokio::task::JoinSet;

use super::{Result, System, assert_none_missing, broker, numbers, segments};

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_killed_in_mid_stream_loses_nothing() -> Result {
    let Some(stored) = killed_in_mid_stream(1).await? else { return Ok(()) };
    assert_eq!(unmarked_repetitions(&stored), 0);
    Ok(())
}

/// Tries the way round rumqttc's wedge too: a PUBREL that the broker repeats after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_killed_in_mid_stream_at_qos_2_stores_every_message_once() -> Result {
    let Some(stored) = killed_in_mid_stream(2).await? else { return Ok(()) };
    assert_eq!(stored.len(), COUNT, "P2: exactly once");
    Ok(())
}

/// What is stored after four kills in mid-stream, of which no message is missing.
async fn killed_in_mid_stream(qos: u8) -> Result<Option<Vec<dados::Dado>>> {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", &format!("#:{qos}"))]).await? else { return Ok(None) };
    let broker = system.broker.addr();
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(broker, numbered("fluxo", 0, COUNT, qos)));
    let rows = system.api.rows();
    for kill in 1..=4 {
        rows.stored(kill * 2000).await?;
        system.subscriber.process()?.kill()?;
        system.subscriber.restart()?;
    }
    publishing.join_next().await.expect("one task")??;
    all_arrived(&mut system).await.map(Some)
}

/// Waits for the last of [`COUNT`] numbers, and asserts that none is missing.
async fn all_arrived(system: &mut System) -> Result<Vec<dados::Dado>> {
    let rows = system.api.rows();
    rows.stored_value("fluxo", &(COUNT - 1).to_string()).await?;
    system.subscriber.ready().await?;
    system.subscriber.drained().await?;
    let stored = rows.all().await?;
    let values: Vec<_> = stored.iter().filter_map(|row| row.valor.clone()).collect();
    assert_none_missing(&values, COUNT);
    Ok(stored)
}

/// Messages of a stream that is disturbed.
const COUNT: usize = 20_000;

/// mosquitto sends a PUBLISH again after its restart although it has had the PUBREC; the publisher waits meanwhile, so
/// that its own hop repeats nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_restarted_in_mid_stream_at_qos_2_stores_every_message_once() -> Result {
    const PARTS: usize = 4;
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "#:2")]).await? else { return Ok(()) };
    for part in 0..PARTS {
        publish(system.broker.addr(), numbered("fluxo", part * COUNT / PARTS, COUNT / PARTS, 2)).await?;
        // Most of it is still on its way to the subscriber.
        system.broker.restart().await?;
        if part == 2 {
            system.subscriber.process()?.kill()?;
            system.subscriber.restart()?;
        }
    }
    let stored = all_arrived(&mut system).await?;
    assert_eq!(stored.len(), COUNT, "P2: exactly once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_is_away_for_fifty_thousand_messages_misses_none() -> Result {
    const BEFORE: usize = 1_000;
    const COUNT: usize = 51_000;
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    let broker = system.broker.addr();
    publish(broker, numbered("fluxo", 0, BEFORE, 1)).await?;
    system.api.kill()?;
    publish(broker, numbered("fluxo", BEFORE, COUNT - BEFORE, 1)).await?;
    // The broker owes nothing: all of it is in the spool while the API is away.
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == COUNT).await?;
    let status = system.subscriber.status().await?;
    assert_eq!(status["ready"], true, "an outage of the API does not stop the capture: {status}");
    assert!(status["spool"]["waiting"].as_u64() >= Some((COUNT - BEFORE) as u64), "{status}");
    assert!(status["api"]["fault"].is_string(), "the outage is visible: {status}");
    system.api.restart().await?;
    assert_eq!(system.delivered("fluxo").await?, numbers(0, COUNT), "complete, in order, once");
    let kib = system.subscriber.process()?.resident_kib_max()?;
    assert!(kib <= 128 << 10, "what waits is on the disk, not in memory: {kib} KiB");
    assert_eq!(system.subscriber.status().await?["api"]["fault"], serde_json::Value::Null);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_killed_again_and_again_stores_every_message_once() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(system.broker.addr(), numbered("fluxo", 0, COUNT, 1)));
    for kill in 1..=5 {
        let rows = system.api.rows();
        rows.stored(kill * 1000).await?;
        system.api.kill()?;
        system.api.restart().await?;
    }
    publishing.join_next().await.expect("one task")??;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == COUNT).await?;
    assert_eq!(system.delivered("fluxo").await?, numbers(0, COUNT), "P3: the HTTP hop is exactly once");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_is_found_again_with_its_session() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("fluxo", 0, 500, 1)).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 500).await?;
    system.broker.stop()?;
    system.subscriber.until("the loss is visible", |status| status["ready"] == false).await?;
    let status = system.subscriber.status().await?;
    assert!(status["broker"]["fault"].is_string(), "{status}");
    system.broker.restart().await?;
    system.subscriber.until("the session is resumed", |status| status["broker"]["session_resumed"] == true).await?;
    publish(system.broker.addr(), numbered("fluxo", 500, 500, 1)).await?;
    // The broker may have left before it read the last acknowledgements: those messages come again.
    let rows = system.api.rows();
    rows.stored_value("fluxo", "999").await?;
    system.subscriber.drained().await?;
    let rows = rows.all().await?;
    let values: Vec<_> = rows.iter().filter_map(|row| row.valor.clone()).collect();
    assert_none_missing(&values, 1000);
    assert_eq!(unmarked_repetitions(&rows), 0);
    Ok(())
}

/// A system whose subscriber reaches the broker through a network that is cut again and again while messages flow.
async fn cut_in_mid_stream(qos: u8) -> Result<Option<Vec<dados::Dado>>> {
    const CUTS: i64 = 8;
    let Some((broker, dir)) = broker(Options::default()).await? else { return Ok(None) };
    let proxy = Proxy::start(broker.addr()).await?;
    let api = Api::start(dir.path()).await?;
    let (url, topics) = (format!("mqtt://{}", proxy.addr()), format!("#:{qos}"));
    let mut subscriber = Subscriber::start(dir.path(), &url, &api.url(), &[("MQTT_TOPICS", &topics)])?;
    subscriber.ready().await?;
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(broker.addr(), numbered("fluxo", 0, COUNT, qos)));
    let rows = api.rows();
    for cut in 1..=CUTS {
        rows.stored(cut * 1000).await?;
        proxy.cut();
    }
    publishing.join_next().await.expect("one task")??;
    rows.stored_value("fluxo", &(COUNT - 1).to_string()).await?;
    subscriber.ready().await?;
    subscriber.drained().await?;
    let resumed = subscriber.log().matches("session=\"resumed\"").count();
    assert!(resumed >= 3, "the cuts were felt: {}", subscriber.log());
    Ok(Some(rows.all().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_loses_nothing_at_qos_1_and_marks_what_comes_twice() -> Result {
    let Some(rows) = cut_in_mid_stream(1).await? else { return Ok(()) };
    let values: Vec<_> = rows.iter().filter_map(|row| row.valor.clone()).collect();
    assert_none_missing(&values, COUNT);
    assert_eq!(unmarked_repetitions(&rows), 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_cut_sends_qos_2_exactly_once() -> Result {
    let Some(rows) = cut_in_mid_stream(2).await? else { return Ok(()) };
    let values: Vec<_> = rows.into_iter().filter_map(|row| row.valor).collect();
    assert_none_missing(&values, COUNT);
    assert_eq!(values.len(), COUNT, "exactly once");
    Ok(())
}

/// P2: rows whose value was stored before and that do not say so.
fn unmarked_repetitions(rows: &[dados::Dado]) -> usize {
    let mut seen = std::collections::HashSet::new();
    rows.iter().filter(|row| !seen.insert(&row.valor) && row.dup != Some(true)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_the_subscriber_is_stopped_arrives_later() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("fluxo", 0, 2_000, 1)).await?;
    let end = system.subscriber.process()?.terminate()?;
    assert_eq!(end.code(), Some(0));
    publish(system.broker.addr(), numbered("fluxo", 2_000, 2_000, 1)).await?;
    system.subscriber.restart()?;
    system.subscriber.ready().await?;
    assert_eq!(system.subscriber.status().await?["broker"]["session_resumed"], true);
    system.api.rows().stored(4_000).await?;
    assert_eq!(system.delivered("fluxo").await?, numbers(0, 4_000), "a clean stop repeats nothing");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_stopped_in_mid_stream_repeats_nothing() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    let mut publishing = JoinSet::new();
    publishing.spawn(publish(system.broker.addr(), numbered("fluxo", 0, COUNT, 1)));
    let rows = system.api.rows();
    for stop in 1..=4 {
        rows.stored(stop * 2000).await?;
        let end = system.subscriber.process()?.terminate()?;
        assert_eq!(end.code(), Some(0), "{}", system.subscriber.log());
        system.subscriber.restart()?;
        system.subscriber.ready().await?;
    }
    publishing.join_next().await.expect("one task")??;
    rows.stored_value("fluxo", &(COUNT - 1).to_string()).await?;
    let values = system.delivered("fluxo").await?;
    assert_none_missing(&values, COUNT);
    assert_eq!(values.len(), COUNT, "a clean stop repeats nothing:\n{}", system.subscriber.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_whose_cursor_went_back_is_sent_again_and_stored_once() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    let cursor = system.subscriber.spool().join("cursor");
    let old = fs::read(&cursor)?;
    publish(system.broker.addr(), numbered("fluxo", 0, 3_000, 1)).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 3_000).await?;
    assert_eq!(system.delivered("fluxo").await?.len(), 3_000);
    system.subscriber.process()?.terminate()?;
    fs::write(&cursor, old)?;
    system.subscriber.restart()?;
    system.subscriber.ready().await?;
    assert!(system.subscriber.log().contains("waiting=3000"), "they are sent again: {}", system.subscriber.log());
    assert_eq!(system.delivered("fluxo").await?, numbers(0, 3_000), "the API skips what it has");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_of_the_spool_costs_nothing_that_was_acknowledged() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    system.api.kill()?;
    publish(system.broker.addr(), numbered("fluxo", 0, 1_000, 1)).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 1_000).await?;
    system.subscriber.process()?.kill()?;
    let last = segments(&system.subscriber.spool()).pop().expect("a segment");
    fs::OpenOptions::new().append(true).open(last)?.write_all(b"PNT1 torn in the middle of a frame")?;
    system.subscriber.restart()?;
    system.subscriber.ready().await?;
    assert!(system.subscriber.log().contains("torn write"), "{}", system.subscriber.log());
    system.api.restart().await?;
    publish(system.broker.addr(), numbered("fluxo", 1_000, 10, 1)).await?;
    system.api.rows().stored(1_010).await?;
    assert_none_missing(&system.delivered("fluxo").await?, 1_010);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_stops_acknowledging_and_goes_on_by_itself() -> Result {
    const COUNT: usize = 4_000;
    let settings = [("SPOOL_MAX_BYTES", "128KiB"), ("MQTT_PACKET_BYTES_MAX", "32KiB")];
    let Some(mut system) = System::start(&settings).await? else { return Ok(()) };
    system.api.kill()?;
    let message = |number: usize| Outgoing::new("fluxo", format!("{number:0>100}"), 1);
    publish(system.broker.addr(), (0..COUNT).map(message).collect()).await?;
    system.subscriber.until("the spool is full", |status| status["spool"]["fault"].is_string()).await?;
    let status = system.subscriber.status().await?;
    assert_eq!(status["ready"], false, "{status}");
    assert!(status["spool"]["bytes"].as_u64() <= Some(128 << 10), "{status}");
    system.api.restart().await?;
    system.api.rows().stored(COUNT as i64).await?;
    let values = system.delivered("fluxo").await?;
    let numbered: Vec<_> = values.iter().map(|value| value.trim_start_matches('0').to_owned()).collect();
    let numbered: Vec<_> =
        numbered.into_iter().map(|value| if value.is_empty() { "0".into() } else { value }).collect();
    assert_none_missing(&numbered, COUNT);
    system.subscriber.until("it is well again", |status| status["ready"] == true).await
}

/// Needs the right to mount; CI has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_spool_loses_nothing() -> Result {
    const COUNT: usize = 8_000;
    let dir = tempfile::tempdir()?;
    let Some(_disk) = Disk::mount(dir.path(), 1 << 20)? else {
        harness::skipped("no small file system can be mounted");
        return Ok(());
    };
    let spool = dir.path().join("spool").display().to_string();
    let Some(mut system) = System::start(&[("SPOOL_DIR", &spool)]).await? else { return Ok(()) };
    system.api.kill()?;
    let message = |number: usize| Outgoing::new("fluxo", format!("{number:0>200}"), 1);
    publish(system.broker.addr(), (0..COUNT).map(message).collect()).await?;
    system.subscriber.until("the disk is full", |status| status["spool"]["fault"].is_string()).await?;
    let status = system.subscriber.status().await?;
    assert_eq!(status["ready"], false, "{status}");
    assert!(status["spool"]["fault"].as_str().is_some_and(|fault| fault.contains("No space left")), "{status}");
    system.api.restart().await?;
    system.api.rows().stored(COUNT as i64).await?;
    let values: Vec<usize> =
        system.delivered("fluxo").await?.iter().map(|value| value.parse()).collect::<std::result::Result<_, _>>()?;
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    assert_none_missing(&values, COUNT);
    system.subscriber.until("it is well again", |status| status["ready"] == true).await?;
    system.subscriber.process()?.terminate()?;
    Ok(())
}
