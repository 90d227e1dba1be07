//! What a broker refuses, keeps back or limits.

use std::path::PathBuf;

use anyhow::Context as _;
use harness::broker::mosquitto::Options;
use harness::broker::scripted::{Connection, ScriptedBroker};
use harness::publish::{numbered, publish};
use harness::system::Api;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, ConnectReturnCode, RetainForwardRule, SubscribeReasonCode as Code,
};
use tokio::task::{JoinSet, block_in_place};

use super::super::protocol::options::no_properties;
use super::super::{Result, broker};
use super::{check, says};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_named_and_not_shown() -> Result {
    let options = Options { login: Some(("turma".into(), "right-secret".into())), ..Options::default() };
    let Some((broker, dir)) = broker(options).await? else { return Ok(()) };
    let api = Api::start(dir.path()).await?;
    let (url, api) = (broker.url(), api.url());
    let settings =
        [("BROKER_ADDR", url.as_str()), ("API_URL", &api), ("HIVE_USER", "turma"), ("HIVE_PSWD", "wrong-secret")];
    let (code, output) = block_in_place(|| check(dir.path(), &settings, &[]))?;
    assert_eq!(code, 69, "{output}");
    says(&output, "fail", "BROKER_ADDR", "check HIVE_USER, HIVE_PSWD");
    says(&output, "ok", "API_URL", "ready");
    says(&output, "ok", "outage budget", "");
    assert!(!output.contains("wrong-secret"), "{output}");
    Ok(())
}

/// mosquitto's plugin that refuses subscriptions by their filters.
fn dynamic_security() -> Option<PathBuf> {
    let of =
        |dir: std::fs::DirEntry| Some(dir.path().join("mosquitto_dynamic_security.so")).filter(|path| path.exists());
    std::fs::read_dir("/usr/lib").ok()?.flatten().find_map(of)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_this_user_may_not_have_is_named() -> Result {
    let Some(plugin) = dynamic_security() else {
        harness::skipped("mosquitto has no mosquitto_dynamic_security.so");
        return Ok(());
    };
    let rules = tempfile::tempdir()?;
    let file = rules.path().join("rules.json");
    std::fs::write(
        &file,
        r#"{"defaultACLAccess": {"publishClientSend": true, "publishClientReceive": true, "subscribe": false, "unsubscribe": true},
            "groups": [{"groupname": "todos", "roles": [{"rolename": "casa"}]}], "anonymousGroup": "todos",
            "roles": [{"rolename": "casa", "acls": [
                {"acltype": "subscribePattern", "topic": "casa/#", "priority": 1, "allow": true}]}]}"#,
    )?;
    let extra = format!("plugin {}\nplugin_opt_config_file {}\n", plugin.display(), file.display());
    let Some((broker, dir)) = broker(Options { extra, ..Options::default() }).await? else { return Ok(()) };
    let api = Api::start(dir.path()).await?;
    let (url, api) = (broker.url(), api.url());
    let settings = [("BROKER_ADDR", url.as_str()), ("API_URL", &api), ("MQTT_TOPICS", "casa/#:1,lab/#:1")];
    let (code, output) = block_in_place(|| check(dir.path(), &settings, &[]))?;
    assert_eq!(code, 69, "{output}");
    says(&output, "fail", "MQTT_TOPICS", "refuses lab/#: this user may not subscribe to it");
    assert!(!output.contains("refuses casa/#"), "{output}");
    Ok(())
}

/// mosquitto grants every subscription, and keeps back what an acl_file does not let the user read.
#[tokio::test(flavor = "multi_thread")]
async fn a_filter_of_which_nothing_comes_is_named() -> Result {
    let acl = Some("topic readwrite casa/#\ntopic write lab/#\n".to_owned());
    let Some((broker, dir)) = broker(Options { acl, ..Options::default() }).await? else { return Ok(()) };
    let api = Api::start(dir.path()).await?;
    let settings = [("MQTT_TOPICS", "casa/#:1,lab/#:1")];
    let mut subscriber = harness::system::Subscriber::start(dir.path(), &broker.url(), &api.url(), &settings)?;
    subscriber.ready().await?;
    for topic in ["lab/t", "casa/t"] {
        publish(broker.addr(), numbered(topic, 0, 5, 1)).await?;
    }
    api.rows().stored(5).await?;
    let (code, output) = block_in_place(|| subscriber.run(&["check"]))?;
    assert_eq!(code, 0, "{output}");
    says(&output, "warn", "messages", "nothing is stored yet of lab/#");
    assert!(output.contains("acl_file"), "{output}");
    Ok(())
}

/// Answers both connections of a check; gives what the second one asked for, and checks that both leave nothing.
async fn answer(broker: &ScriptedBroker, said: ConnAckProperties, codes: Vec<Code>) -> Result<Connection> {
    let mut first = broker.accept().await?;
    let asked = first.connect().clone();
    assert!(asked.client_id.contains("-check-"), "{asked:?}");
    first.connack(false, Some(said.clone())).await?;
    let rest = first.rest().await?;
    assert!(rest.iter().all(|packet| matches!(packet, rumqttc::v5::mqttbytes::v5::Packet::Disconnect(_))), "{rest:?}");
    let mut second = broker.accept().await?;
    let again = second.connect();
    assert_eq!(
        (again.client_id.as_str(), again.clean_start),
        (asked.client_id.as_str(), true),
        "it ends the first session"
    );
    assert_eq!(again.properties.as_ref().and_then(|it| it.session_expiry_interval).unwrap_or(0), 0);
    second.connack(false, Some(said)).await?;
    let subscribe = second.subscribe().await?;
    for filter in &subscribe.filters {
        assert!(matches!(filter.retain_forward_rule, RetainForwardRule::Never), "{filter:?}");
        assert!(!filter.path.starts_with("$share/turma/"), "{filter:?}");
    }
    // Messages that match come before the answer: they are not acknowledged, since they are not kept.
    second.publish(1, 1, false, "casa/x", "1").await?;
    second.suback(subscribe.pkid, codes).await?;
    Ok(second)
}

async fn with_script(settings: &[(&str, &str)], said: ConnAckProperties, codes: Vec<Code>) -> Result<(i32, String)> {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let (broker, api) = (ScriptedBroker::start()?, Api::start(dir.path()).await?);
    let mut settings: Vec<_> = settings.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    settings.extend([("BROKER_ADDR".to_owned(), broker.url()), ("API_URL".to_owned(), api.url())]);
    let path = dir.path().to_owned();
    let mut running = JoinSet::new();
    running.spawn_blocking(move || {
        harness::system::run(&harness::binaries::binaries()?.subscriber, &path, &["check"], &settings)
    });
    let mut second = answer(&broker, said, codes).await?;
    let rest = second.rest().await?;
    assert!(rest.iter().all(|packet| matches!(packet, rumqttc::v5::mqttbytes::v5::Packet::Disconnect(_))), "{rest:?}");
    running.join_next().await.context("it runs")??
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_with_small_limits_is_told_by_what_follows() -> Result {
    let said = ConnAckProperties {
        session_expiry_interval: Some(3_600),
        receive_max: Some(10),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: Some(4_096),
        topic_alias_max: Some(5),
        server_keep_alive: Some(600),
        ..no_properties()
    };
    let codes = vec![Code::Success(QoS::AtLeastOnce), Code::Success(QoS::AtLeastOnce)];
    let (code, output) = with_script(&[("MQTT_TOPICS", "casa/#:2,lab/#:1")], said, codes).await?;
    assert_eq!(code, 0, "{output}");
    for (level, subject, words) in [
        ("warn", "MQTT_SESSION_EXPIRY", "for 60 min after the subscriber has gone, not for the 7 days"),
        ("warn", "quality of service", "at most QoS 1, and 1 of MQTT_TOPICS ask for more: they get 1"),
        ("warn", "MQTT_KEEP_ALIVE", "every 10 min, in place of our 20 s"),
        ("warn", "MQTT_TOPICS", "grants casa/# with QoS 1 instead of 2"),
        ("ok", "MQTT_RETAINED", "no retained messages"),
        ("ok", "message size", "up to 4 KiB"),
        ("ok", "the broker's other limits", "10 publishes at once (receive maximum) and 5 topic aliases"),
    ] {
        says(&output, level, subject, words);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_lacks_what_is_needed_fails_the_check() -> Result {
    let said = ConnAckProperties {
        session_expiry_interval: Some(0),
        wildcard_subscription_available: Some(0),
        shared_subscription_available: Some(0),
        ..no_properties()
    };
    let codes = vec![Code::SharedSubscriptionsNotSupported, Code::NotAuthorized];
    let settings = [("MQTT_TOPICS", "casa/#:1,lab/x:1"), ("MQTT_SHARED_GROUP", "turma")];
    let (code, output) = with_script(&settings, said, codes).await?;
    assert_eq!(code, 69, "{output}");
    says(&output, "warn", "MQTT_SESSION_EXPIRY", "keeps no session");
    says(&output, "fail", "MQTT_SHARED_GROUP", "no shared subscriptions");
    says(&output, "fail", "MQTT_TOPICS", "no filter with + or #");
    says(&output, "fail", "MQTT_TOPICS", "refuses $share/turma/lab/x: this user may not subscribe");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_hangs_up_at_the_subscription_is_told_so() -> Result {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let broker = ScriptedBroker::start()?;
    let settings = vec![("BROKER_ADDR".to_owned(), broker.url())];
    let path = dir.path().to_owned();
    let mut running = JoinSet::new();
    running.spawn_blocking(move || {
        harness::system::run(&harness::binaries::binaries()?.subscriber, &path, &["check"], &settings)
    });
    for subscribes in [false, true] {
        let mut connection = broker.accept().await?;
        connection.connack(false, None).await?;
        if subscribes {
            connection.subscribe().await?;
            connection.cut()?;
        } else {
            connection.rest().await?;
        }
    }
    let (code, output) = running.join_next().await.context("it runs")???;
    assert_eq!(code, 69, "{output}");
    says(&output, "fail", "MQTT_TOPICS", "did not answer the subscription");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_refuses_the_client_is_told_so() -> Result {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let broker = ScriptedBroker::start()?;
    let settings = vec![("BROKER_ADDR".to_owned(), broker.url()), ("MQTT_CLIENT_ID".to_owned(), "lab".to_owned())];
    let path = dir.path().to_owned();
    let mut running = JoinSet::new();
    running.spawn_blocking(move || {
        harness::system::run(&harness::binaries::binaries()?.subscriber, &path, &["check"], &settings)
    });
    let connection = broker.accept().await?;
    assert!(connection.connect().client_id.starts_with("lab-check-"), "{:?}", connection.connect());
    connection.refuse(ConnectReturnCode::NotAuthorized).await?;
    let (code, output) = running.join_next().await.context("it runs")???;
    assert_eq!(code, 69, "{output}");
    says(&output, "fail", "BROKER_ADDR", "not authorized");
    Ok(())
}
