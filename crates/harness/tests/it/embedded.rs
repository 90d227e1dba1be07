//! The demo's own broker carries the whole system (feature `embedded-broker`).

use harness::broker::embedded::EmbeddedBroker;
use harness::publish::{numbered, publish};
use harness::system::{Api, Subscriber};

use super::{Result, numbers};

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_broker_carries_the_system_and_keeps_the_session() -> Result {
    harness::install_tls();
    let dir = tempfile::tempdir()?;
    let broker = EmbeddedBroker::start(0).await?;
    let api = Api::start(dir.path()).await?;
    let mut subscriber = Subscriber::start(dir.path(), &format!("mqtt://{}", broker.addr()), &api.url(), &[])?;
    subscriber.ready().await?;
    publish(broker.addr(), numbered("casa", 0, 5_000, 1)).await?;
    subscriber.until("all are captured", |status| status["spool"]["captured"] == 5_000).await?;
    assert_eq!(subscriber.process()?.terminate()?.code(), Some(0));
    publish(broker.addr(), numbered("casa", 5_000, 1_000, 1)).await?;
    subscriber.restart()?;
    subscriber.until("the rest is captured", |status| status["spool"]["captured"] == 6_000).await?;
    subscriber.drained().await?;
    assert_eq!(api.rows().values("casa").await?, numbers(0, 6_000));
    Ok(())
}
