//! A subscriber and an API that asks for a token, over TLS: a wrong token holds everything up and loses nothing.

use std::path::Path;

use harness::binaries::binaries;
use harness::broker::mosquitto::Options;
use harness::certs::Certs;
use harness::publish::{numbered, publish};
use harness::system::{Api, Subscriber, run};
use harness::{PATIENCE, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Result, broker, numbers};

/// The file that [`token`] makes, in the API's folder.
pub(crate) const TOKENS: &str = "tokens";

/// A new token of an API that runs in `dir`.
pub(crate) fn token(dir: &Path, name: &str, scope: &str) -> Result<String> {
    let args = ["token", "new", "--name", name, "--scope", scope, "--file", TOKENS];
    let (code, output) = run(&binaries()?.api, dir, &args, &[])?;
    assert_eq!(code, 0, "{output}");
    Ok(output.lines().next().unwrap_or_default().to_owned())
}

/// A page of another site that points its name at us (DNS rebinding) reads nothing of the status port either.
#[tokio::test(flavor = "multi_thread")]
async fn the_status_port_answers_to_names_of_ours_alone() -> Result {
    let dir = tempfile::tempdir()?;
    let subscriber = Subscriber::start(dir.path(), "mqtt://127.0.0.1:1", "http://127.0.0.1:1", &[])?;
    let base = format!("http://{}", subscriber.status_addr());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let answers = async || Ok(client.get(format!("{base}/healthz")).send().await.ok().map(drop));
    eventually("the status port answers", PATIENCE, answers).await?;
    for path in ["/healthz", "/readyz", "/metrics", "/none"] {
        let status = async |name: &str, value: &str| {
            anyhow::Ok(client.get(format!("{base}{path}")).header(name, value).send().await?.status().as_u16())
        };
        assert_eq!(status("host", "evil.example").await?, 403, "{path}");
        assert_ne!(status("host", "localhost:8081").await?, 403, "{path}");
        let mut stream = tokio::net::TcpStream::connect(subscriber.status_addr()).await?;
        let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{path}: {answer}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_then_the_right_one_over_tls_and_nothing_is_lost() -> Result {
    let Some((broker, dir)) = broker(Options::default()).await? else { return Ok(()) };
    let (write, read) = (token(dir.path(), "subscriber", "write")?, token(dir.path(), "reader", "read")?);
    let certs = Certs::create(&dir.path().join("certs"))?;
    let text = |path: &Path| path.display().to_string();
    let (ca, cert, key) = (text(&certs.ca), text(&certs.server_cert), text(&certs.server_key));
    let settings =
        [("API_TOKENS_FILE", TOKENS), ("API_TLS_CERT_FILE", cert.as_str()), ("API_TLS_KEY_FILE", key.as_str())];
    let mut api = Api::prepare(dir.path(), &settings)?;
    api.launch()?;
    let base = format!("https://localhost:{}", api.addr().port());
    let authority = reqwest::Certificate::from_pem(&std::fs::read(&certs.ca)?)?;
    let client = reqwest::Client::builder().tls_certs_only([authority]).build()?;
    let ready = async || Ok(client.get(format!("{base}/readyz")).send().await.ok().map(drop));
    eventually("the API answers", PATIENCE, ready).await?;

    // One that may only read is as good as none.
    let wrong = [("API_TOKEN", read.as_str()), ("API_CA_FILE", ca.as_str())];
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &base, &wrong)?;
    subscriber.ready().await?;
    publish(broker.addr(), numbered("casa", 0, 200, 1)).await?;
    subscriber.until("all are captured", |status| status["spool"]["captured"] == 200).await?;
    let says = |words: &'static str| {
        move |status: &serde_json::Value| status["api"]["fault"].as_str().is_some_and(|fault| fault.contains(words))
    };
    subscriber.until("it names the setting", says("API_TOKEN")).await?;
    assert_eq!(subscriber.status().await?["spool"]["waiting"], 200);
    subscriber.process()?.terminate()?;
    subscriber.set("API_TOKEN", "ponte_unknown");
    subscriber.restart()?;
    subscriber.until("the token is unknown", says("unknown or has expired")).await?;
    subscriber.process()?.terminate()?;
    subscriber.set("API_TOKEN", &write);
    subscriber.restart()?;
    subscriber.drained().await?;

    let answer = client.get(format!("{base}/dados?limite=1000")).bearer_auth(&read).send().await?;
    let rows: Vec<dados::Dado> = serde_json::from_str(&answer.error_for_status()?.text().await?)?;
    let values: Vec<_> = rows.into_iter().rev().filter_map(|row| row.valor).collect();
    assert_eq!(values, numbers(0, 200), "each once, in order");
    for secret in [&write, &read] {
        assert!(!subscriber.log().contains(secret.as_str()) && !api.process()?.log().contains(secret.as_str()));
    }
    assert!(api.process()?.log().contains("access refused"), "{}", api.process()?.log());
    Ok(())
}
