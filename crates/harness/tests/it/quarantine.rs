//! A message that the API will not take is set aside with its reason, and everything else flows on.

use harness::publish::{Outgoing, numbered, publish};
use harness::system::{Api, Subscriber};

use super::{Result, System, broker, numbers};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_is_isolated_kept_and_replayed() -> Result {
    let Some((broker, dir)) = broker(harness::broker::mosquitto::Options::default()).await? else { return Ok(()) };
    let mut api = Api::start_with(dir.path(), &[("API_BODY_BYTES_MAX", "64KiB")]).await?;
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &[])?;
    subscriber.ready().await?;
    // Published while the API is away, so that the refused ones are in the middle of large batches.
    api.kill()?;
    let mut messages = numbered("casa", 0, 1000, 1);
    messages.insert(700, Outgoing::new("grande", vec![0xff; 60_000], 1));
    messages.insert(300, Outgoing::new("grande", "y".repeat(100_000), 1));
    publish(broker.addr(), messages).await?;
    subscriber.until("all are captured", |status| status["spool"]["captured"] == 1002).await?;
    api.restart().await?;
    subscriber.drained().await?;
    assert_eq!(api.rows().values("casa").await?, numbers(0, 1000), "the rest flows on, in order, once");
    assert_eq!(api.rows().values("grande").await?, Vec::<String>::new());
    subscriber.until("the quarantine shows", |status| status["spool"]["quarantined"] == 2).await?;

    let (code, listed) = subscriber.run(&["quarantine", "list"])?;
    assert_eq!((code, listed.lines().count()), (0, 2), "{listed}");
    assert!(listed.lines().all(|line| line.contains("413") && line.contains("grande")), "{listed}");
    let first = listed.split('\t').next().unwrap_or_default().to_owned();

    let (code, refused) = subscriber.run(&["quarantine", "replay", "--all"])?;
    assert_eq!(code, 65, "the API has not changed: {refused}");
    let (code, _) = subscriber.run(&["quarantine", "drop", "4711"])?;
    assert_eq!(code, 64, "a sequence that is not there");

    api.set("API_BODY_BYTES_MAX", "1MiB");
    api.restart().await?;
    let kept = std::fs::read_dir(subscriber.spool().join("quarantine"))?
        .map(|entry| anyhow::Ok((entry.as_ref().map_err(|e| anyhow::anyhow!("{e}"))?.path(), ())))
        .collect::<Result<Vec<_>>>()?;
    let copies: Vec<_> =
        kept.iter().map(|(path, ())| Ok((path.clone(), std::fs::read(path)?))).collect::<Result<_>>()?;
    let (code, replayed) = subscriber.run(&["quarantine", "replay", &first])?;
    assert_eq!((code, replayed.as_str()), (0, "replayed 1, still refused 0\n"));
    // A replay that died before it could forget the message stores nothing twice.
    for (path, bytes) in copies {
        std::fs::write(path, bytes)?;
    }
    let (code, replayed) = subscriber.run(&["quarantine", "replay", "--all"])?;
    assert_eq!((code, replayed.as_str()), (0, "replayed 2, still refused 0\n"));
    assert_eq!(api.rows().values("grande").await?.len(), 2);
    let (code, listed) = subscriber.run(&["quarantine", "list"])?;
    let empty = format!("the quarantine of SPOOL_DIR {} is empty\n", subscriber.spool().display());
    assert_eq!((code, listed), (0, empty));
    subscriber.until("the running subscriber sees it", |status| status["spool"]["quarantined"] == 0).await
}

/// As JSON text it would be six times as long as it is, and longer than any body may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_payload_of_eight_mib_of_zeros_is_stored() -> Result {
    const BYTES: usize = 8 << 20;
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    publish(system.broker.addr(), vec![Outgoing::new("zeros", vec![0; BYTES], 1)]).await?;
    system.api.rows().stored(1).await?;
    system.subscriber.drained().await?;
    let rows = system.api.rows().all().await?;
    let [row] = &rows[..] else { panic!("{} rows", rows.len()) };
    assert_eq!(row.formato.as_deref(), Some("base64"));
    let valor = row.valor.as_deref().unwrap_or_default();
    assert_eq!(valor.len(), BYTES.div_ceil(3) * 4);
    assert!(valor.bytes().all(|byte| matches!(byte, b'A' | b'=')), "zeros in base64");
    system.subscriber.until("nothing is in quarantine", |status| status["spool"]["quarantined"] == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_behind_api_url_sends_nothing_into_quarantine() -> Result {
    let Some((broker, dir)) = broker(harness::broker::mosquitto::Options::default()).await? else { return Ok(()) };
    for answer in ["HTTP/1.1 200 OK", "HTTP/1.1 400 Bad Request", "HTTP/1.1 404 Not Found", "HTTP/1.1 302 Found"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let mut portal = tokio::task::JoinSet::new();
        portal.spawn(captive_portal(listener, answer));
        let dir = tempfile::tempdir_in(dir.path())?;
        let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &url, &[])?;
        subscriber.ready().await?;
        publish(broker.addr(), numbered("casa", 0, 10, 1)).await?;
        // The fault may be of the question before the first request: the messages may come after it.
        let says = |status: &serde_json::Value| status["api"]["fault"].is_string() && status["spool"]["captured"] == 10;
        subscriber.until("the fault shows, and all is captured", says).await?;
        let status = subscriber.status().await?;
        assert_eq!(
            (&status["spool"]["waiting"], &status["spool"]["quarantined"]),
            (&10.into(), &0.into()),
            "{answer}: {status}"
        );
    }
    Ok(())
}

/// Answers anything with a page of its own.
async fn captive_portal(listener: tokio::net::TcpListener, answer: &str) -> Result {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let (mut stream, _) = listener.accept().await?;
        let mut request = vec![0; 64 << 10];
        let _ = stream.read(&mut request).await?;
        let page =
            format!("{answer}\r\ncontent-type: text/html\r\ncontent-length: 5\r\nconnection: close\r\n\r\nlogin");
        stream.write_all(page.as_bytes()).await?;
    }
}
