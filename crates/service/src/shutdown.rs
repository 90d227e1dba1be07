//! SIGTERM and SIGINT become one cancellation token; what runs gets a bounded time to drain.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// A token that the first SIGTERM or SIGINT cancels. A second signal changes nothing: the drain has its own bound.
///
/// Call it inside a runtime; the listener is tracked by `tasks` and ends with the token.
pub fn on_signal(tasks: &TaskTracker) -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cancelled = token.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => info!("SIGTERM received: draining"),
            _ = interrupt.recv() => info!("SIGINT received: draining"),
            () = cancelled.cancelled() => {}
        }
        cancelled.cancel();
    });
    Ok(token)
}

/// Waits for all tasks, but not longer than `grace`; says whether they ended in time.
pub async fn drain(tasks: &TaskTracker, grace: Duration) -> bool {
    tasks.close();
    let ended = tokio::time::timeout(grace, tasks.wait()).await.is_ok();
    if !ended {
        warn!(grace_s = grace.as_secs(), tasks = tasks.len(), "drain did not complete in time, ending now");
    }
    ended
}
