//! What CONNECT asks for, and what CONNACK and SUBACK may say to it.

use std::time::Duration;

use harness::broker::scripted::Connection;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnAckProperties, SubscribeReasonCode as Code};

use super::{Result, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn connect_asks_for_a_session_that_outlasts_the_subscriber() -> Result {
    let settings =
        [("MQTT_CLIENT_ID", "ponte-7"), ("MQTT_SESSION_EXPIRY", "1h"), ("HIVE_USER", "u"), ("HIVE_PSWD", "p")];
    let scene = Scene::start(&settings).await?;
    let connection = scene.broker.accept().await?;
    let connect = connection.connect();
    assert_eq!((connect.client_id.as_str(), connect.clean_start), ("ponte-7", false));
    let properties = connect.properties.as_ref().expect("properties");
    assert_eq!(properties.session_expiry_interval, Some(3600));
    assert!(properties.receive_maximum.is_some_and(|maximum| (10..=1000).contains(&maximum)), "{properties:?}");
    // rumqttc hands on messages without their topic where it invites aliases.
    assert_eq!(properties.topic_alias_max.unwrap_or(0), 0);
    let login = connection.login().expect("a login");
    assert_eq!((login.username.as_str(), login.password.as_str()), ("u", "p"));
    Ok(())
}

/// rumqttc takes the server's zero, "no keep-alive", for its interval.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_keep_alive_gets_no_storm_of_pings() -> Result {
    let scene = Scene::start(&[]).await?;
    let mut connection = with_server_keep_alive(&scene, 0).await?;
    connection.quiet(Duration::from_secs(2)).await?;
    assert!(connection.pings() < 5, "{} pings", connection.pings());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keep_alive_of_the_broker_is_obeyed() -> Result {
    let scene = Scene::start(&[("MQTT_KEEP_ALIVE", "1h")]).await?;
    let mut connection = with_server_keep_alive(&scene, 5).await?;
    assert_eq!(connection.connect().keep_alive, 3600);
    connection.ping().await
}

async fn with_server_keep_alive(scene: &Scene, seconds: u16) -> Result<Connection> {
    let mut connection = scene.broker.accept().await?;
    let properties = ConnAckProperties { server_keep_alive: Some(seconds), ..no_properties() };
    connection.connack(false, Some(properties)).await?;
    connection.grant().await?;
    Ok(connection)
}

pub(crate) fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_is_not_granted_in_full_is_named_while_the_others_flow() -> Result {
    let wanted = ["granted", "forbidden", "too-many", "downgraded"];
    let topics = wanted.map(|filter| format!("{filter}/#:2")).join(",");
    let mut scene = Scene::start(&[("MQTT_TOPICS", &topics)]).await?;
    let mut connection = scene.broker.accept().await?;
    connection.connack(false, None).await?;
    let subscribe = connection.subscribe().await?;
    let full = Code::Success(QoS::ExactlyOnce);
    // One code a filter, in the order of the SUBSCRIBE (MQTT 5.0 §3.9.3).
    let code = |path: &str| match path.split('/').next() {
        Some("forbidden") => Code::NotAuthorized,
        Some("too-many") => Code::QuotaExceeded,
        Some("downgraded") => Code::Success(QoS::AtLeastOnce),
        _ => full,
    };
    let codes: Vec<_> = subscribe.filters.iter().map(|filter| code(&filter.path)).collect();
    assert_eq!(codes.iter().filter(|code| **code == full).count(), 1, "{subscribe:?}");
    connection.suback(subscribe.pkid, codes).await?;
    let told = |status: &serde_json::Value| {
        status["broker"]["subscription_faults"].as_array().is_some_and(|faults| !faults.is_empty())
    };
    scene.subscriber.until("the faults are told", told).await?;
    let status = scene.subscriber.status().await?;
    assert_eq!((&status["ready"], &status["broker"]["connected"]), (&false.into(), &true.into()), "{status}");
    let faults = status["broker"]["subscription_faults"].to_string();
    for (filter, word) in [("forbidden/#", "NotAuthorized"), ("too-many/#", "QuotaExceeded"), ("downgraded/#", "QoS 1")]
    {
        assert!(faults.contains(filter) && faults.contains(word), "{faults}");
    }
    assert!(!faults.contains("granted/#"), "{faults}");
    // By its exit code `health` tells whether /readyz answers 200.
    assert_ne!(scene.subscriber.run(&["health"])?.0, 0);
    connection.publish(1, 2, false, "granted/x", "1").await?;
    connection.acked(1).await?;
    assert_eq!(scene.values().await?, [("1".to_owned(), false)]);
    Ok(())
}

/// rumqttc keeps what a CONNACK says over what was asked for. A broker that once grants no session would never again be
/// asked for one.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_connack_overrides_is_asked_for_again() -> Result {
    let scene = Scene::start(&[("MQTT_SESSION_EXPIRY", "1h"), ("MQTT_KEEP_ALIVE", "1h")]).await?;
    let mut connection = scene.broker.accept().await?;
    let properties =
        ConnAckProperties { session_expiry_interval: Some(0), server_keep_alive: Some(60), ..no_properties() };
    connection.connack(false, Some(properties)).await?;
    connection.grant().await?;
    connection.cut()?;
    let again = scene.broker.accept().await?;
    let connect = again.connect();
    assert_eq!(connect.properties.as_ref().and_then(|it| it.session_expiry_interval), Some(3600));
    assert_eq!(connect.keep_alive, 3600);
    Ok(())
}
