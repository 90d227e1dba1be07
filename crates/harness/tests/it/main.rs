//! The whole system with real processes and a real broker.
//!
//! Each test has its own broker, API, subscriber, ports and directory, and ends by asserting that nothing is left behind.

mod access;
mod clock;
mod compose;
mod demo;
mod doctor;
mod documents;
#[cfg(feature = "embedded-broker")]
mod embedded;
mod flow;
mod generate;
mod idle;
mod ledger;
mod metabase;
mod outage;
mod page;
mod protocol;
mod quarantine;
mod readme;
mod session;
mod spool_files;
mod startup;
mod tls;
mod torture;

use std::path::Path;

use harness::broker::mosquitto::{self, Mosquitto, Options};
use harness::system::{Api, Subscriber};
use tempfile::TempDir;

type Result<T = ()> = anyhow::Result<T>;

/// Everything that runs, in the order in which it is taken down.
struct System {
    subscriber: Subscriber,
    api: Api,
    broker: Mosquitto,
    dir: TempDir,
}

impl System {
    /// All of it, ready; none where mosquitto is missing and may be.
    async fn start(settings: &[(&str, &str)]) -> Result<Option<Self>> {
        Self::with_broker(Options::default(), settings).await
    }

    async fn with_broker(options: Options, settings: &[(&str, &str)]) -> Result<Option<Self>> {
        let Some((broker, dir)) = broker(options).await? else { return Ok(None) };
        let api = Api::start(dir.path()).await?;
        let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), settings)?;
        subscriber.ready().await?;
        Ok(Some(Self { subscriber, api, broker, dir }))
    }

    /// The values that arrived on a topic once the spool is empty, oldest first.
    async fn delivered(&mut self, topic: &str) -> Result<Vec<String>> {
        self.subscriber.drained().await?;
        self.api.rows().values(topic).await
    }
}

/// A broker and a directory for the test; none where mosquitto is missing and may be.
async fn broker(options: Options) -> Result<Option<(Mosquitto, TempDir)>> {
    harness::install_tls();
    if !mosquitto::installed() {
        harness::skipped("mosquitto is not installed");
        return Ok(None);
    }
    let dir = tempfile::tempdir()?;
    let store = dir.path().join("broker");
    std::fs::create_dir(&store)?;
    Ok(Some((Mosquitto::start(&store, options).await?, dir)))
}

/// The numbers from `first` on, as they are published by [`harness::publish::numbered`].
fn numbers(first: usize, count: usize) -> Vec<String> {
    (first..first + count).map(|number| number.to_string()).collect()
}

/// Asserts that `found` has every number, each at least once, first appearances in order.
#[track_caller]
fn assert_none_missing(found: &[String], count: usize) {
    let mut next = 0;
    for value in found {
        let number: usize = value.parse().expect("a number was published");
        assert!(number <= next, "{number} came where {next} was due");
        next = next.max(number + 1);
    }
    assert_eq!(next, count, "the last ones are missing");
}

/// The segments of a spool, oldest first.
fn segments(spool: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(spool).expect("the spool is there");
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}
