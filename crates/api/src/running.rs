//! Orders to the running API, from subcommands that leave the work to the process that owns the database.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use service::ask::{Answer, Server, ask};
use service::{Exit, Fatal, shown};

use crate::config::Config;

/// Between two looks at how far the work has come.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The API that runs at `API_ADDR`.
pub(crate) struct Running {
    server: Server,
    /// The same without the token: `/readyz` needs none.
    anybody: Server,
    addr: SocketAddr,
}

impl Running {
    pub(crate) fn new(config: &Config) -> Self {
        let server = config.server();
        let anybody = Server { token: None, ..server.clone() };
        Self { server, anybody, addr: config.api_addr }
    }

    /// Sends an order. A refused token is the fault of `API_TOKEN`; any other answer is the caller's to judge.
    pub(crate) async fn order(&self, path: &str) -> Result<Answer, Fatal> {
        let answer = ask(&self.server, "POST", path).await?;
        if matches!(answer.status, 401 | 403) {
            let (addr, said) = (self.addr, shown(&answer.body));
            let problem = format_args!("the API at {addr} wants a token with the scope write: {said}");
            return Err(Fatal::setting("API_TOKEN", problem));
        }
        Ok(answer)
    }

    /// What an accepted order was answered with; fails where it was not accepted.
    pub(crate) fn accepted<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, Fatal> {
        let accepted = (answer.status == 202).then(|| serde_json::from_str(&answer.body).ok()).flatten();
        accepted.ok_or_else(|| {
            let (addr, said) = (self.addr, shown(&answer.body));
            Fatal::new(Exit::Unavailable, format_args!("{addr}: not what ponte-api says: {said}"))
        })
    }

    /// What `/readyz` says after a pause; none while the API is not ready: the work goes on when the disk does.
    pub(crate) async fn look<T: DeserializeOwned>(&self) -> Result<Option<T>, Fatal> {
        tokio::time::sleep(LOOK_EVERY).await;
        Ok(serde_json::from_str(&ask(&self.anybody, "GET", "/readyz").await?.body).ok())
    }
}
