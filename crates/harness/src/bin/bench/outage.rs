//! Follows the memory of both programs over an outage of the API.

use std::time::Duration;

use anyhow::ensure;
use harness::broker::mosquitto::{Mosquitto, Options};
use harness::publish::publish;
use harness::system::{Api, Subscriber};

use super::table::{Limit, Row, Table};
use super::{Cli, message, mib, progress};

/// Messages between two looks.
const STEPS: usize = 10;
/// Far more than anything takes here.
const PATIENCE: Duration = Duration::from_secs(600);

/// Publishes while the API is away, then lets it catch up; tells each step.
pub(crate) async fn measure(cli: &Cli, table: &mut Table) -> anyhow::Result<()> {
    let messages = cli.outage_messages;
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("broker");
    std::fs::create_dir(&store)?;
    let broker = Mosquitto::start(&store, Options::default()).await?;
    let mut api = Api::start(dir.path()).await?;
    let settings = [("MQTT_TOPICS", "bench/#:1"), ("SPOOL_MAX_BYTES", "4GiB")];
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &settings)?;
    subscriber.ready().await?;
    api.kill()?;
    progress("outage:\n captured  delivered   subscriber MiB   API MiB");
    let step = messages.div_ceil(STEPS);
    for first in (0..messages).step_by(step) {
        let end = messages.min(first + step);
        publish(broker.addr(), (first..end).map(message).collect()).await?;
        subscriber.until("all are captured", |status| status["spool"]["captured"] == end).await?;
        progress(&format!("{end:>9}          -   {:>14.1}         -", mib(subscriber.process()?.resident_kib()?)));
    }
    api.restart().await?;
    let rows = api.rows();
    for share in 1..=STEPS {
        let due = (messages * share / STEPS) as i64;
        let arrived = async || Ok((rows.newest_id().await? >= due).then_some(()));
        harness::eventually("the API catches up", PATIENCE, arrived).await?;
        let (ours, theirs) = (subscriber.process()?.resident_kib()?, api.process()?.resident_kib()?);
        progress(&format!("{messages:>9}  {due:>9}   {:>14.1}   {:>7.1}", mib(ours), mib(theirs)));
    }
    subscriber.drained().await?;
    let stored = rows.newest_id().await?;
    ensure!(stored == messages as i64, "{stored} rows of {messages} messages");
    let (ours, theirs) = (subscriber.process()?.resident_kib_max()?, api.process()?.resident_kib_max()?);
    let work = |name: &str| format!("memory over an outage of the API of {messages} messages: {name}");
    let limit = |must, aim| Limit::AtMost { must, aim };
    table.push(Row::figure(work("subscriber"), "MiB", [mib(ours)], limit(40.0, 20.0)));
    table.push(Row::figure(work("API"), "MiB", [mib(theirs)], limit(80.0, 40.0)));
    Ok(())
}
