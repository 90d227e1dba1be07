//! What a real broker seldom does, done by a scripted one to the real subscriber.
//!
//! - [`acks`]: acknowledgements go to the connection that their message came on, once
//! - [`duplicates`]: what is one message sent twice, and what are two messages
//! - [`endings`]: every way in which a broker turns a client away
//! - [`malformed`]: what is no MQTT, or breaks its rules
//! - [`options`]: what CONNACK and SUBACK may say
//! - [`peer_text`]: what a broker says in words
//! - [`pressure`]: a broker that sends too much or reads too little

mod acks;
mod duplicates;
mod endings;
mod malformed;
pub(crate) mod options;
mod peer_text;
mod pressure;

use dados::Dado;
use harness::broker::scripted::ScriptedBroker;
use harness::system::{Api, Subscriber};
use tempfile::TempDir;

use super::Result;

/// The products around a scripted broker, in the order in which they are taken down.
struct Scene {
    subscriber: Subscriber,
    api: Api,
    broker: ScriptedBroker,
    _dir: TempDir,
}

impl Scene {
    /// The subscriber is on its way to the broker; the script goes on from there.
    async fn start(settings: &[(&str, &str)]) -> Result<Self> {
        Self::with_broker(ScriptedBroker::start()?, settings).await
    }

    async fn with_broker(broker: ScriptedBroker, settings: &[(&str, &str)]) -> Result<Self> {
        harness::install_tls();
        let dir = tempfile::tempdir()?;
        let api = Api::start(dir.path()).await?;
        let subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), settings)?;
        Ok(Self { subscriber, api, broker, _dir: dir })
    }

    /// All rows once the spool is empty and its process is still well.
    async fn rows(&mut self) -> Result<Vec<Dado>> {
        self.subscriber.drained().await?;
        assert!(self.subscriber.process()?.is_running(), "{}", self.subscriber.log());
        self.api.rows().all().await
    }

    /// The same as values with their `dup` flags.
    async fn values(&mut self) -> Result<Vec<(String, bool)>> {
        let value = |row: Dado| (row.valor.unwrap_or_default(), row.dup == Some(true));
        Ok(self.rows().await?.into_iter().map(value).collect())
    }
}

/// The waits before the next attempt that the subscriber has logged, in milliseconds.
fn delays_ms(log: &str) -> Vec<u64> {
    let delay = |line: &str| line.split_once("delay_ms=")?.1.split_whitespace().next()?.parse().ok();
    log.lines().filter(|line| line.contains("no broker")).filter_map(delay).collect()
}
