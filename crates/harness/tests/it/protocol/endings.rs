//! Every way in which a broker turns a client away: passing ones are tried again soon, and where a person must act, the
//! person is told what to do and the broker is left in peace.

use std::time::Duration;

use harness::broker::mosquitto::{Mosquitto, Options};
use harness::broker::scripted::ScriptedBroker;
use harness::system::Subscriber;
use harness::{PATIENCE, eventually};
use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode as Refusal, Disconnect, DisconnectProperties, DisconnectReasonCode as Ending, Packet,
};
use tempfile::TempDir;

use super::super::broker;
use super::{Result, delays_ms};

/// The least wait where only a person can mend it.
const LONG_MS: u64 = 30_000;
/// The longest first wait where it may pass by itself.
const SHORT_MS: u64 = 100;
/// What tells of a connection in the log.
const CONNECTED: &str = "session=";

/// A subscriber without an API: nothing is stored here.
struct Guest {
    subscriber: Subscriber,
    broker: ScriptedBroker,
    _dir: TempDir,
}

impl Guest {
    fn arrive() -> Result<Self> {
        harness::install_tls();
        let (dir, broker) = (tempfile::tempdir()?, ScriptedBroker::start()?);
        let api = format!("http://{}", harness::free_addr()?);
        let subscriber = Subscriber::start(dir.path(), &broker.url(), &api, &[])?;
        Ok(Self { subscriber, broker, _dir: dir })
    }

    /// Once it has been turned away: the fault that it tells, and how long it waits.
    async fn turned_away(&mut self) -> Result<(String, u64)> {
        let logged = async || Ok(delays_ms(&self.subscriber.log()).first().copied());
        let delay_ms = eventually("a wait is logged", PATIENCE, logged).await?;
        let status = self.subscriber.status().await?;
        assert_eq!((&status["ready"], &status["broker"]["connected"]), (&false.into(), &false.into()), "{status}");
        assert!(self.subscriber.process()?.is_running(), "{}", self.subscriber.log());
        Ok((status["broker"]["fault"].as_str().unwrap_or_default().to_owned(), delay_ms))
    }
}

/// What a person reads of an ending that only a person can mend; none for one that may pass by itself.
fn advice_on_ending(code: Ending) -> Option<&'static str> {
    match code {
        Ending::SessionTakenOver => Some("MQTT_CLIENT_ID"),
        Ending::NotAuthorized => Some("NotAuthorized"),
        Ending::QuotaExceeded => Some("QuotaExceeded"),
        Ending::AdministrativeAction => Some("AdministrativeAction"),
        Ending::UseAnotherServer => Some("UseAnotherServer"),
        Ending::ServerMoved => Some("ServerMoved"),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_disconnect_is_followed_by_another_attempt_or_by_advice() -> Result {
    let codes: Vec<_> = (0..=u8::MAX).filter_map(|code| Ending::try_from(code).ok()).collect();
    assert_eq!(codes.len(), 29, "all that rumqttc knows");
    for code in codes {
        let mut guest = Guest::arrive()?;
        guest.broker.welcome(false).await?.disconnect(code).await?;
        let (fault, delay_ms) = guest.turned_away().await?;
        match advice_on_ending(code) {
            Some(advice) => assert!(delay_ms >= LONG_MS && fault.contains(advice), "{code:?}: {delay_ms} ms, {fault}"),
            None => {
                assert!(
                    delay_ms <= SHORT_MS && fault.contains(&format!("{code:?}")),
                    "{code:?}: {delay_ms} ms, {fault}"
                );
                guest.broker.welcome(true).await?;
            }
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_that_a_broker_gives_in_words_is_told() -> Result {
    let mut guest = Guest::arrive()?;
    let properties = DisconnectProperties {
        session_expiry_interval: None,
        reason_string: Some("come back after lunch".to_owned()),
        user_properties: Vec::new(),
        server_reference: None,
    };
    let disconnect = Disconnect { reason_code: Ending::ServerBusy, properties: Some(properties) };
    guest.broker.welcome(false).await?.send(Packet::Disconnect(disconnect)).await?;
    let (fault, _) = guest.turned_away().await?;
    assert!(fault.contains("ServerBusy") && fault.contains("come back after lunch"), "{fault}");
    Ok(())
}

/// Every refusal of MQTT 5.0 §3.2.2.2 that rumqttc knows.
const REFUSALS: [Refusal; 21] = [
    Refusal::UnspecifiedError,
    Refusal::MalformedPacket,
    Refusal::ProtocolError,
    Refusal::ImplementationSpecificError,
    Refusal::UnsupportedProtocolVersion,
    Refusal::ClientIdentifierNotValid,
    Refusal::BadUserNamePassword,
    Refusal::NotAuthorized,
    Refusal::ServerUnavailable,
    Refusal::ServerBusy,
    Refusal::Banned,
    Refusal::BadAuthenticationMethod,
    Refusal::TopicNameInvalid,
    Refusal::PacketTooLarge,
    Refusal::QuotaExceeded,
    Refusal::PayloadFormatInvalid,
    Refusal::RetainNotSupported,
    Refusal::QoSNotSupported,
    Refusal::UseAnotherServer,
    Refusal::ServerMoved,
    Refusal::ConnectionRateExceeded,
];

/// What a person reads of a refusal that only a person can mend; empty for one that may pass by itself.
fn advice_on_refusal(code: Refusal) -> &'static [&'static str] {
    match code {
        Refusal::BadUserNamePassword => &["HIVE_USER", "HIVE_PSWD"],
        Refusal::NotAuthorized => &["HIVE_USER", "HIVE_PSWD", "MQTT_CLIENT_ID"],
        Refusal::ClientIdentifierNotValid => &["MQTT_CLIENT_ID"],
        Refusal::UnsupportedProtocolVersion => &["MQTT 5"],
        Refusal::Banned => &["Banned"],
        Refusal::BadAuthenticationMethod => &["BadAuthenticationMethod"],
        Refusal::QuotaExceeded => &["QuotaExceeded"],
        Refusal::UseAnotherServer => &["UseAnotherServer"],
        Refusal::ServerMoved => &["ServerMoved"],
        _ => &[],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_followed_by_another_attempt_or_by_advice() -> Result {
    for code in REFUSALS {
        let mut guest = Guest::arrive()?;
        guest.broker.accept().await?.refuse(code).await?;
        let (fault, delay_ms) = guest.turned_away().await?;
        let advice = advice_on_refusal(code);
        assert!(advice.iter().all(|word| fault.contains(word)), "{code:?}: {fault}");
        if advice.is_empty() {
            assert!(delay_ms <= SHORT_MS && fault.contains(&format!("{code:?}")), "{code:?}: {delay_ms} ms, {fault}");
            let _connection = guest.broker.welcome(false).await?;
            guest.subscriber.ready().await?;
        } else {
            assert!(delay_ms >= LONG_MS, "{code:?}: {delay_ms} ms, {fault}");
        }
    }
    Ok(())
}

/// Two subscribers by one name: each connection of one ends the other's.
struct Namesakes {
    both: Vec<Subscriber>,
    _broker: Mosquitto,
    _dir: TempDir,
}

impl Namesakes {
    async fn arrive() -> Result<Option<Self>> {
        let Some((broker, dir)) = broker(Options::default()).await? else { return Ok(None) };
        let api = format!("http://{}", harness::free_addr()?);
        let mut both = Vec::new();
        for name in ["one", "two"] {
            let own = dir.path().join(name);
            std::fs::create_dir(&own)?;
            both.push(Subscriber::start(&own, &broker.url(), &api, &[("MQTT_CLIENT_ID", "ponte")])?);
        }
        Ok(Some(Self { both, _broker: broker, _dir: dir }))
    }

    fn logs(&self) -> String {
        self.both.iter().map(Subscriber::log).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_subscribers_with_one_client_id_start_no_storm() -> Result {
    /// Without back-off it would be hundreds a second.
    const CONNECTIONS_MAX: usize = 50;
    const OBSERVED: Duration = Duration::from_secs(5);
    let Some(namesakes) = Namesakes::arrive().await? else { return Ok(()) };
    let met = async || Ok((namesakes.logs().matches(CONNECTED).count() >= 2).then_some(()));
    eventually("both have connected", PATIENCE, met).await?;
    tokio::time::sleep(OBSERVED).await;
    let logs = namesakes.logs();
    let connections = logs.matches(CONNECTED).count();
    assert!(connections <= CONNECTIONS_MAX, "{connections} connections:\n{logs}");
    Ok(())
}

/// mosquitto says why in a DISCONNECT that ends behind its reason code (MQTT 5.0 §3.14.2.2.1), which rumqttc passes
/// over: what is left is that connections are closed again and again.
#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_subscribers_with_one_client_id_says_what_to_do() -> Result {
    let Some(namesakes) = Namesakes::arrive().await? else { return Ok(()) };
    let advised = async || {
        for subscriber in &namesakes.both {
            let Ok(status) = subscriber.status().await else { continue };
            if status["broker"]["fault"].as_str().is_some_and(|fault| fault.contains("MQTT_CLIENT_ID")) {
                return Ok(Some(()));
            }
        }
        Ok(None)
    };
    eventually("one says what to do", PATIENCE, advised).await.map_err(|error| error.context(namesakes.logs()))
}

/// A broker that knows only MQTT 3.1.1 answers in its own way (MQTT 3.1.1 §3.2.2.3), which rumqttc passes over.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_knows_only_mqtt_3_is_named_as_such() -> Result {
    let mut guest = Guest::arrive()?;
    let mut connection = guest.broker.accept().await?;
    connection.send_raw(&[0x20, 2, 0, 1]).await?;
    connection.close().await?;
    let (fault, _) = guest.turned_away().await?;
    assert!(fault.contains("MQTT 5"), "{fault}");
    Ok(())
}
