//! HTTP/1.1 over TCP or TLS: how many connections, how long their headers may take, and how they end.
//!
//! - [`tls`]: the server's certificate, its reload, and handshakes
//! - [`limit`]: connections at the same time; `connection`: one of them; `timer`: how long its heads take
//! - [`hosts`]: names of ours, and other sites' pages; [`once`]: headers that come once
//! - `stall`: who takes nothing is given up; `refusal`: what is answered to heads that cannot be read

mod connection;
pub mod hosts;
pub mod limit;
pub mod once;
mod refusal;
mod stall;
mod timer;
pub mod tls;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use self::connection::Connection;
use self::limit::{ConnectionLimit, Limits};
use self::tls::Tls;

/// How long it rests after a connection could not be taken: no file descriptor may be free.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long requests under way may take once the server is told to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// What answers a program's requests.
pub trait Answer: Send + Sync + 'static {
    /// Answers one; `peer` is who sent it.
    fn answer(&self, request: Request, peer: SocketAddr) -> impl Future<Output = Result<Response, Infallible>> + Send;
}

/// Serves until the token is cancelled and the requests under way have ended, or have had their time.
pub async fn serve(
    listener: StdTcpListener,
    answer: impl Answer,
    limits: Limits,
    tls: Option<Tls>,
    token: CancellationToken,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let reloading = async {
        match &tls {
            Some(tls) => tls.watch().await,
            None => std::future::pending().await,
        }
    };
    let serving = async {
        let connection = Arc::new(Connection { answer, tls: tls.clone(), stopping: token.clone() });
        let mut connections = take(listener, ConnectionLimit::new(limits), &connection).await;
        let ended = async { while connections.join_next().await.is_some() {} };
        // What is left then ends with its set.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, ended).await;
    };
    tokio::select! {
        () = serving => Ok(()),
        () = reloading => Ok(()),
    }
}

/// Takes connections until it is told to stop; gives those that are left.
async fn take<A: Answer>(
    listener: TcpListener,
    mut limit: ConnectionLimit,
    connection: &Arc<Connection<A>>,
) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut seats: HashMap<tokio::task::Id, u64> = HashMap::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = connection.stopping.cancelled() => return connections,
            Some(ended) = connections.join_next_with_id() => {
                // A panic ends a connection too.
                let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
                seats.remove(&task).into_iter().for_each(|seat| limit.leave(seat));
                continue;
            }
            accepted = accept(&listener) => accepted,
        };
        if let Some(seat) = limit.admit(peer.ip()) {
            let (connection, id) = (connection.clone(), seat.id());
            let task = connections.spawn(async move { connection.serve(stream, peer, seat).await });
            seats.insert(task.id(), id);
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                debug!(%error, "no connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}
