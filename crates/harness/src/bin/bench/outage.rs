//! Follows the memory of both programs over an outage of the API.

use std::time::Duration;

use anyhow::ensure;
use harness::broker::mosquitto::{Mosquitto, Options};
use harness::publish::publish;
use harness::system::{Api, Subscriber};

use super::{line, message};

/// Messages between two looks.
const STEPS: usize = 10;
/// Far more than anything takes here.
const PATIENCE: Duration = Duration::from_secs(600);

/// Publishes while the API is away, then lets it catch up; prints a line a step.
pub(crate) async fn follow(messages: usize) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("broker");
    std::fs::create_dir(&store)?;
    let broker = Mosquitto::start(&store, Options::default()).await?;
    let mut api = Api::start(dir.path()).await?;
    let settings = [("MQTT_TOPICS", "bench/#:1"), ("SPOOL_MAX_BYTES", "4GiB")];
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &settings)?;
    subscriber.ready().await?;
    api.kill()?;
    line(" captured  delivered   subscriber MiB   API MiB");
    let step = messages.div_ceil(STEPS);
    for first in (0..messages).step_by(step) {
        let end = messages.min(first + step);
        publish(broker.addr(), (first..end).map(message).collect()).await?;
        subscriber.until("all are captured", |status| status["spool"]["captured"] == end).await?;
        line(&format!("{end:>9}          -   {:>14.1}         -", mib(subscriber.process()?.resident_kib()?)));
    }
    api.restart().await?;
    let rows = api.rows();
    for share in 1..=STEPS {
        let due = (messages * share / STEPS) as i64;
        let arrived = async || Ok((rows.newest_id().await? >= due).then_some(()));
        harness::eventually("the API catches up", PATIENCE, arrived).await?;
        let (ours, theirs) = (subscriber.process()?.resident_kib()?, api.process()?.resident_kib()?);
        line(&format!("{messages:>9}  {due:>9}   {:>14.1}   {:>7.1}", mib(ours), mib(theirs)));
    }
    subscriber.drained().await?;
    let stored = rows.newest_id().await?;
    ensure!(stored == messages as i64, "{stored} rows of {messages} messages");
    let (ours, theirs) = (subscriber.process()?.resident_kib_max()?, api.process()?.resident_kib_max()?);
    line(&format!("peak: subscriber {:.1} MiB, API {:.1} MiB", mib(ours), mib(theirs)));
    Ok(())
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
