//! The conversation with the broker.
//!
//! - [`options`]: what CONNECT asks for, and TLS
//! - [`v5`]: the event loop of MQTT 5, in the order of steps that keeps acknowledgements honest
//! - [`subscribe`]: what is asked for, and whether it is granted
//! - [`gate`]: which acknowledgements may still be written, and to which connection
//! - [`receive`]: what a PUBLISH is: news, a repetition, or nothing to keep
//! - [`fault`]: what went wrong, in words, and how long to wait after it
//!
//! Everything that knows rumqttc is in here; MQTT 3.1.1 would be a sibling of [`v5`] behind [`Connection`].

mod fault;
mod gate;
mod options;
pub mod probe;
mod receive;
mod subscribe;
mod v5;

use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::Context as _;
use service::Fatal;
use tokio_util::sync::CancellationToken;

pub use gate::{Ack, Gate};
pub(crate) use options::receive_maximum;

use crate::capture::Intake;
use crate::config::Mqtt;
use crate::session::Inbound;
use crate::session::subscriptions::Subscriptions;
use crate::status::Status;
use receive::Receiver;
use subscribe::Subscriber;

/// Requests that may wait in rumqttc: the gate leaves most of it for subscriptions.
const REQUESTS_MAX: usize = 4096;

/// The client of a broker, not yet polled.
pub struct Connection {
    inner: v5::Conversation,
    gate: Arc<Gate>,
}

impl Connection {
    /// Reads the certificates and prepares everything; no traffic yet. `inbound` and `subscriptions` are what earlier
    /// runs left of the session.
    pub fn new(
        config: &Mqtt,
        client_id: &str,
        inbound: Inbound,
        subscriptions: Subscriptions,
        status: Arc<Status>,
    ) -> Result<Self, Fatal> {
        let options = options::build(config, client_id)?;
        let (client, eventloop) = rumqttc::v5::AsyncClient::new(options, REQUESTS_MAX);
        let gate = Arc::new(Gate::new(client.clone()));
        let receiver = Receiver::new(config.retained, inbound, status.clone());
        let subscriber = Subscriber::new(config, client_id, client, subscriptions, status.clone());
        let inner = v5::Conversation::new(config, eventloop, gate.clone(), receiver, subscriber, status);
        Ok(Self { inner, gate })
    }

    /// Where acknowledgements go.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// Starts the thread that polls, and does nothing else: keep-alive runs only inside a poll.
    ///
    /// It ends after `token` is cancelled and the gate has disconnected, or at once where there is no connection.
    pub fn start(self, intake: Intake, token: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the MQTT runtime")?;
        std::thread::Builder::new()
            .name("mqtt".into())
            .spawn(move || runtime.block_on(self.inner.run(intake, token)))
            .context("the MQTT thread")
    }
}
