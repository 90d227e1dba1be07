//! TLS on the API itself: reload, half-written files, silence, and plain HTTP on its port.

use std::fs;
use std::path::Path;
use std::time::Duration;

use ponte_api::config::Config;
use reqwest::{Certificate, Client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::access::{certificate, set_tokens};
use crate::{App, client, spawn_with};

fn serve(dir: &Path) -> impl FnOnce(&mut Config) {
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    |config| {
        config.access.api_tls_cert_file = Some(cert);
        config.access.api_tls_key_file = Some(key);
    }
}

fn trusting(ca: &Certificate) -> Client {
    client();
    Client::builder().no_proxy().pool_max_idle_per_host(0).tls_certs_only([ca.clone()]).build().unwrap()
}

async fn get(app: &App, client: &Client) -> Result<reqwest::Response, reqwest::Error> {
    client.get(format!("https://{}/dados", app.addr)).send().await
}

#[tokio::test]
async fn a_new_certificate_is_served_and_a_bad_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let first_ca = certificate(&path);
    let first = trusting(&first_ca);
    let app = spawn_with(dir, serve(&path)).await;
    let answer = get(&app, &first).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=86400");

    // A key that is not the certificate's, half a certificate, none: the old one stays.
    let (cert, key) = (fs::read(path.join("cert.pem")).unwrap(), fs::read(path.join("key.pem")).unwrap());
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (name, bytes) in [("key.pem", other.as_bytes()), ("cert.pem", &cert[..cert.len() / 2]), ("cert.pem", b"")] {
        fs::write(path.join(name), bytes).unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(get(&app, &first).await.unwrap().status(), 200, "{name}");
    }
    fs::write(path.join("key.pem"), key).unwrap();
    let second = trusting(&certificate(&path));
    while get(&app, &second).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // A client that goes on with an earlier session does not look at certificates again.
    assert!(get(&app, &trusting(&first_ca)).await.is_err(), "the old one is gone");
}

#[tokio::test]
async fn who_says_nothing_or_speaks_plainly_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let ca = trusting(&certificate(&path));
    let app = spawn_with(dir, |config| {
        serve(&path)(config);
        config.api_connections_max = 2;
    })
    .await;
    let mut plain = TcpStream::connect(app.addr).await.unwrap();
    plain.write_all(b"GET /dados HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    // Those that say nothing have all places, and lose them to one that does.
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(app.addr).await.unwrap());
    }
    get(&app, &ca).await.unwrap();
    // The others are not waited for longer than a handshake may take.
    for stream in &mut silent {
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    get(&app, &ca).await.unwrap();
}

#[tokio::test]
async fn files_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    certificate(dir.path());
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let missing = dir.path().join("missing");
    for (cert, key, variable) in [
        (Some(&cert), None, "API_TLS_KEY_FILE"),
        (None, Some(&key), "API_TLS_CERT_FILE"),
        (Some(&missing), Some(&key), "API_TLS_CERT_FILE"),
        (Some(&cert), Some(&missing), "API_TLS_KEY_FILE"),
        (Some(&key), Some(&key), "API_TLS_CERT_FILE"),
        (Some(&cert), Some(&cert), "API_TLS_KEY_FILE"),
    ] {
        let app = spawn_with(tempfile::tempdir().unwrap(), |config| {
            set_tokens(config);
            config.access.api_tls_cert_file = cert.cloned();
            config.access.api_tls_key_file = key.cloned();
        })
        .await;
        let fatal = app.task.await.unwrap().unwrap_err();
        assert_eq!(fatal.exit, service::Exit::Usage);
        assert!(fatal.message.starts_with(variable), "{}", fatal.message);
    }
}
