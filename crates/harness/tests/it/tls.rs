//! TLS, mutual TLS, passwords and websockets: what fits connects, what does not says why, without a hot loop.

use std::time::Duration;

use harness::broker::mosquitto::Options;
use harness::certs::Certs;
use harness::publish::{numbered, publish};
use harness::system::{Api, Subscriber};

use super::{Result, System, broker, numbers};

fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// Publishes through a plain listener beside the one under test, and expects it to arrive.
async fn arrives(options: Options, settings: &[(&str, &str)]) -> Result {
    let plain = harness::free_addr()?;
    let extra = format!("listener {} 127.0.0.1\nallow_anonymous true\n", plain.port());
    // Each listener has its own rules only with this line, which comes first.
    let options = Options { extra, ..options };
    let Some(mut system) = System::with_broker(options, settings).await? else { return Ok(()) };
    publish(plain, numbered("casa", 0, 100, 1)).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 100).await?;
    assert_eq!(system.delivered("casa").await?, numbers(0, 100));
    let (code, output) = system.subscriber.run(&["check"])?;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("ok    BROKER_ADDR"), "{output}");
    Ok(())
}

/// Expects a refusal in these words, visible in the status, in `check`, and tried at a civil pace.
async fn refused(options: Options, settings: &[(&str, &str)], words: &str) -> Result {
    let Some((broker, dir)) = broker(options).await? else { return Ok(()) };
    let api = Api::start(dir.path()).await?;
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), settings)?;
    let says =
        |status: &serde_json::Value| status["broker"]["fault"].as_str().is_some_and(|fault| fault.contains(words));
    subscriber.until(words, says).await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let attempts = subscriber.log().matches("no broker").count();
    assert!((1..=12).contains(&attempts), "{attempts} attempts in two seconds:\n{}", subscriber.log());
    assert_eq!(subscriber.status().await?["ready"], false);
    let (code, output) = subscriber.run(&["check"])?;
    assert_eq!(code, 69, "{output}");
    assert!(output.contains("fail  BROKER_ADDR") && output.contains(words), "{output}");
    for secret in ["wrong-secret", "right-secret"] {
        assert!(!subscriber.log().contains(secret) && !output.contains(secret), "a secret is shown");
    }
    assert_eq!(subscriber.process()?.terminate()?.code(), Some(0), "it never gives up, and stops when told");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_an_authority_of_ones_own() -> Result {
    let dir = tempfile::tempdir()?;
    let certs = Certs::create(dir.path())?;
    let ca = text(&certs.ca);
    arrives(Options { tls: Some((certs, false)), ..Options::default() }, &[("MQTT_CA_FILE", &ca)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_with_a_client_certificate() -> Result {
    let dir = tempfile::tempdir()?;
    let certs = Certs::create(dir.path())?;
    let (ca, cert, key) = (text(&certs.ca), text(&certs.client_cert), text(&certs.client_key));
    let settings = [("MQTT_CA_FILE", ca.as_str()), ("MQTT_CERT_FILE", &cert), ("MQTT_KEY_FILE", &key)];
    arrives(Options { tls: Some((certs, true)), ..Options::default() }, &settings).await
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_plain_and_with_tls() -> Result {
    arrives(Options { websockets: true, ..Options::default() }, &[]).await?;
    let dir = tempfile::tempdir()?;
    let certs = Certs::create(dir.path())?;
    let ca = text(&certs.ca);
    let options = Options { websockets: true, tls: Some((certs, false)), ..Options::default() };
    arrives(options, &[("MQTT_CA_FILE", &ca)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_settings_work_with_user_and_password_over_tls() -> Result {
    let dir = tempfile::tempdir()?;
    let certs = Certs::create(dir.path())?;
    let ca = text(&certs.ca);
    let options = Options {
        tls: Some((certs, false)),
        login: Some(("turma".into(), "right-secret".into())),
        ..Options::default()
    };
    let settings = [("HIVE_USER", "turma"), ("HIVE_PSWD", "right-secret"), ("MQTT_CA_FILE", ca.as_str())];
    let Some(system) = System::with_broker(options, &settings).await? else { return Ok(()) };
    assert!(!system.subscriber.log().contains("right-secret"));
    let (code, output) = system.subscriber.run(&["check"])?;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("(hidden)") && !output.contains("right-secret"), "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_another_authority_is_not_trusted() -> Result {
    let dir = tempfile::tempdir()?;
    let certs = Certs::create(&dir.path().join("theirs"))?;
    let ours = text(&Certs::create(&dir.path().join("ours"))?.ca);
    let options = Options { tls: Some((certs, false)), ..Options::default() };
    refused(options.clone(), &[("MQTT_CA_FILE", &ours)], "UnknownIssuer").await?;
    refused(options, &[], "set MQTT_CA_FILE").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_its_certificate_is_told_so() -> Result {
    let dir = tempfile::tempdir()?;
    let certs = Certs::create(dir.path())?;
    let ca = text(&certs.ca);
    let options = Options { tls: Some((certs, true)), ..Options::default() };
    refused(options, &[("MQTT_CA_FILE", &ca)], "CertificateRequired").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_names_the_settings_and_waits() -> Result {
    let options = Options { login: Some(("turma".into(), "right-secret".into())), ..Options::default() };
    let settings = [("HIVE_USER", "turma"), ("HIVE_PSWD", "wrong-secret")];
    refused(options, &settings, "HIVE_USER").await
}

#[tokio::test(flavor = "multi_thread")]
async fn less_quality_of_service_than_asked_for_is_an_error_that_shows() -> Result {
    let options = Options { extra: "max_qos 1\n".into(), ..Options::default() };
    let Some((broker, dir)) = broker(options).await? else { return Ok(()) };
    let api = Api::start(dir.path()).await?;
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &[("MQTT_TOPICS", "a/#:2,b/#:1")])?;
    let says = |status: &serde_json::Value| status["broker"]["subscription_faults"][0].is_string();
    subscriber.until("the downgrade shows", says).await?;
    let status = subscriber.status().await?;
    assert_eq!(status["ready"], false, "{status}");
    assert_eq!(status["broker"]["subscription_faults"].as_array().map(Vec::len), Some(1), "{status}");
    assert!(subscriber.log().contains("ERROR"), "{}", subscriber.log());
    Ok(())
}
