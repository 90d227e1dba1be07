//! What a broker says in words, or instead of them, does not fill memory, disk or terminal, and forges no log line.

use harness::broker::scripted::message;
use harness::{PATIENCE, eventually};
use rumqttc::v5::mqttbytes::v5::{
    Connect, Disconnect, DisconnectProperties, DisconnectReasonCode, Packet, SubscribeReasonCode,
};

use super::{Result, Scene};

/// Log and fault stay short, whatever the broker sends.
const LOG_BYTES_MAX: usize = 32 << 10;
const FAULT_BYTES_MAX: usize = 4 << 10;
/// DESIGN.md: what the subscriber may have in RAM.
const RESIDENT_KIB_MAX: u64 = 40 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_writes_log_lines_writes_none_of_ours() -> Result {
    const FORGED: &str = "ERROR forged line";
    let mut scene = Scene::start(&[]).await?;
    let reason = format!("\n{FORGED}\u{1b}[2J").repeat(2_000);
    let properties = DisconnectProperties {
        session_expiry_interval: None,
        reason_string: Some(reason),
        user_properties: Vec::new(),
        server_reference: None,
    };
    let disconnect = Disconnect { reason_code: DisconnectReasonCode::ServerBusy, properties: Some(properties) };
    scene.broker.welcome(false).await?.send(Packet::Disconnect(disconnect)).await?;
    let told = async || Ok(scene.subscriber.log().contains("ServerBusy").then_some(()));
    eventually("the ending is logged", PATIENCE, told).await?;
    let log = scene.subscriber.log();
    assert!(log.len() <= LOG_BYTES_MAX, "{} bytes are logged", log.len());
    assert!(!log.lines().any(|line| line.starts_with(FORGED)) && !log.contains("\u{1b}[2J"), "{log}");
    let status = scene.subscriber.status().await?;
    let fault = status["broker"]["fault"].as_str().unwrap_or_default();
    assert!(fault.len() <= FAULT_BYTES_MAX, "/readyz tells a fault of {} bytes", fault.len());
    let _connection = scene.broker.welcome(false).await?;
    scene.subscriber.ready().await
}

/// rumqttc itself logs packets that it does not expect, and every code of a SUBACK.
#[tokio::test(flavor = "multi_thread")]
async fn packets_that_break_the_protocol_are_not_logged() -> Result {
    let scene = Scene::start(&[]).await?;
    let mut connection = scene.broker.accept().await?;
    connection.connack(false, None).await?;
    let pkid = connection.subscribe().await?.pkid;
    connection.suback(pkid, vec![SubscribeReasonCode::Unspecified; 20_000]).await?;
    let told = async || Ok(scene.subscriber.log().contains("filters").then_some(()));
    eventually("the SUBACK is looked at", PATIENCE, told).await?;
    let connect = Connect { client_id: "c".repeat(60_000), ..connection.connect().clone() };
    connection.send(Packet::Connect(connect, None, None)).await?;
    scene.broker.welcome(true).await?;
    let log = scene.subscriber.log();
    assert!(log.len() <= LOG_BYTES_MAX, "{} bytes are logged", log.len());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifteen_mib_in_place_of_connack_are_neither_kept_nor_logged() -> Result {
    let mut scene = Scene::start(&[]).await?;
    let payload = "x".repeat(15 << 20);
    for _ in 0..3 {
        let mut connection = scene.broker.accept().await?;
        connection.send(message(1, 1, false, "t", &payload)).await?;
    }
    let _connection = scene.broker.welcome(false).await?;
    scene.subscriber.ready().await?;
    let log = scene.subscriber.log();
    assert!(log.contains("no CONNACK"), "{log}");
    assert!(log.len() <= LOG_BYTES_MAX, "{} bytes are logged", log.len());
    let kib = scene.subscriber.process()?.resident_kib_max()?;
    assert!(kib <= RESIDENT_KIB_MAX, "{kib} KiB");
    Ok(())
}
