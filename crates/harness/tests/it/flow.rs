//! Messages of every kind arrive as they were sent, complete, in order, once.

use base64::Engine as _;
use harness::publish::{Outgoing, numbered, publish};

use super::{Result, System, numbers};

async fn ten_thousand(qos: u8, topics: &str) -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", topics)]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("casa/sala", 0, 10_000, qos)).await?;
    system.subscriber.until("all are captured", |status| captured(status) >= 10_000).await?;
    assert_eq!(system.delivered("casa/sala").await?, numbers(0, 10_000));
    let rows = system.api.rows().all().await?;
    assert_eq!(rows.len(), 10_000, "nothing else is stored");
    assert!(rows.iter().all(|row| row.qos == Some(qos.into()) && row.dup == Some(false)));
    let end = system.subscriber.process()?.terminate()?;
    assert_eq!(end.code(), Some(0), "{}", system.subscriber.log());
    Ok(())
}

/// The spool's own count of everything that it was ever given is not shown; what is waiting and what is stored is.
fn captured(status: &serde_json::Value) -> u64 {
    status["spool"]["captured"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_at_qos_1_arrive_complete_and_in_order() -> Result {
    ten_thousand(1, "#:1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_messages_at_qos_2_arrive_complete_and_in_order() -> Result {
    ten_thousand(2, "casa/#:2").await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_payload_and_any_topic_arrive_as_they_were_sent() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "#:2")]).await? else { return Ok(()) };
    let every_byte: Vec<u8> = (0..=255).collect();
    let large: Vec<u8> = (0..1 << 20).map(|index: u32| b'a' + (index % 26) as u8).collect();
    let large_binary: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8 | 0x80).collect();
    let long_topic = format!("t/{}", "x".repeat(65_000));
    // MQTT 5.0 §1.5.4 and §4.7.1: anything but U+0000 and wildcards. mosquitto refuses control characters by itself.
    let odd_topic = r#"/ /"'\%20?&=;,:@!$^*()[]{}<>|~`´ção/😀/ü ñ/..//"#;
    let sent = [
        ("empty", b"".to_vec()),
        ("text", "ação \"quoted\" \\ \n\r\t\u{1}\u{7f}\u{2028}😀".into()),
        ("json", br#"{"temperatura": 21.50, "a": [1, null]}"#.to_vec()),
        ("null", b"a\0b".to_vec()),
        ("bytes", every_byte),
        ("large", large),
        ("large-binary", large_binary),
        (long_topic.as_str(), b"long".to_vec()),
        (odd_topic, b"odd".to_vec()),
    ];
    for (qos, (topic, payload)) in (0u8..).map(|index| index % 3).zip(&sent) {
        publish(system.broker.addr(), vec![Outgoing::new(*topic, payload.clone(), qos)]).await?;
    }
    system.subscriber.until("all are captured", |status| captured(status) >= sent.len() as u64).await?;
    system.subscriber.drained().await?;
    let rows = system.api.rows().all().await?;
    assert_eq!(rows.len(), sent.len());
    for (topic, payload) in &sent {
        let row = rows.iter().find(|row| row.topico.as_deref() == Some(topic)).expect(topic);
        let value = row.valor.as_deref().unwrap_or_default();
        let received = match row.formato.as_deref() {
            None => value.as_bytes().to_vec(),
            Some("base64") => base64::engine::general_purpose::STANDARD.decode(value)?,
            Some(other) => panic!("{other}"),
        };
        assert_eq!(&received, payload, "{topic}");
        assert_eq!(row.formato.is_some(), std::str::from_utf8(payload).is_err(), "text stays text: {topic}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_and_capture_time_arrive() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "vivo:1,guardado:1")]).await? else { return Ok(()) };
    let before = dados::Timestamp::now();
    publish(system.broker.addr(), vec![Outgoing::new("vivo", "1", 1), Outgoing::new("other", "1", 1)]).await?;
    let retained = Outgoing { retain: true, ..Outgoing::new("guardado", "2", 1) };
    publish(system.broker.addr(), vec![retained]).await?;
    system.subscriber.until("both are captured", |status| captured(status) >= 2).await?;
    // A new subscriber gets the retained message from the broker's store; a restarted one with its session does not.
    let dir = tempfile::tempdir_in(system.dir.path())?;
    let mut late = harness::system::Subscriber::start(
        dir.path(),
        &system.broker.url(),
        &system.api.url(),
        &[("MQTT_TOPICS", "guardado:1")],
    )?;
    late.until("the retained message is captured", |status| captured(status) == 1).await?;
    late.drained().await?;
    late.process()?.terminate()?;
    late.restart()?;
    late.ready().await?;
    system.subscriber.drained().await?;
    let rows = system.api.rows().all().await?;
    let after = dados::Timestamp::now();
    let summary: Vec<_> = rows.iter().map(|row| (row.topico.as_deref().unwrap_or_default(), row.retido)).collect();
    assert_eq!(summary, [("vivo", Some(false)), ("guardado", Some(false)), ("guardado", Some(true))]);
    for row in rows {
        let captured: dados::Timestamp = row.timestamp.expect("a capture time").parse()?;
        assert!((before..=after).contains(&captured));
        assert_eq!((row.qos, row.dup), (Some(1), Some(false)));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_subscribers_of_a_group_share_the_messages() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "$share/ponte/casa/#:1")]).await? else { return Ok(()) };
    let dir = tempfile::tempdir_in(system.dir.path())?;
    let settings = [("MQTT_TOPICS", "casa/#:1"), ("MQTT_SHARED_GROUP", "ponte")];
    let mut second =
        harness::system::Subscriber::start(dir.path(), &system.broker.url(), &system.api.url(), &settings)?;
    second.ready().await?;
    publish(system.broker.addr(), numbered("casa/x", 0, 1000, 1)).await?;
    let rows = system.api.rows();
    rows.stored(1000).await?;
    let shares = [captured(&system.subscriber.status().await?), captured(&second.status().await?)];
    assert_eq!(shares.iter().sum::<u64>(), 1000);
    assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
    let mut values: Vec<usize> =
        rows.values("casa/x").await?.iter().map(|value| value.parse()).collect::<std::result::Result<_, _>>()?;
    values.sort_unstable();
    assert!(values.into_iter().eq(0..1000));
    second.drained().await?;
    system.subscriber.drained().await
}
