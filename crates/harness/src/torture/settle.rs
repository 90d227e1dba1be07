//! After the last fault: everything must come to rest, and then still work.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::ledger::Shared;
use super::stage::Stage;

/// Without any progress; the subscriber's own back-off is shorter.
const STALL_MAX: Duration = Duration::from_secs(90);
const ASK_EVERY: Duration = Duration::from_millis(100);
/// One question to a status page.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Waits until the subscriber has everything, the API has everything, one more message on each topic went the whole way,
/// and both say that they are ready. An error says what did not happen.
pub(super) async fn settle(stage: &mut Stage, ledger: &Shared) -> anyhow::Result<()> {
    stage.traffic.pause().await?;
    at_rest(stage, ledger).await?;
    stage.traffic.one_more().await?;
    at_rest(stage, ledger).await?;
    let is_ready = async |stage: &mut Stage| {
        let api = tokio::time::timeout(ANSWER_MAX, stage.api.ready()).await;
        Ok(u64::from(!(api.is_ok_and(|api| api.is_ok()) && status(stage).await["ready"] == true)))
    };
    until_zero("both are ready", stage, is_ready).await
}

async fn at_rest(stage: &mut Stage, ledger: &Shared) -> anyhow::Result<()> {
    let owed = async |_: &mut Stage| Ok(ledger.lock().expect("no holder panics").owed());
    until_zero("the broker is rid of everything", stage, owed).await?;
    let waiting = async |stage: &mut Stage| Ok(status(stage).await["spool"]["waiting"].as_u64().unwrap_or(u64::MAX));
    until_zero("the spool is empty", stage, waiting).await
}

/// Null where there is none.
async fn status(stage: &Stage) -> serde_json::Value {
    let status = tokio::time::timeout(ANSWER_MAX, stage.subscriber.status()).await;
    status.ok().and_then(Result::ok).unwrap_or_default()
}

/// Waits as long as there is progress.
async fn until_zero(
    what: &str,
    stage: &mut Stage,
    left: impl AsyncFn(&mut Stage) -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    let (mut least, mut since) = (u64::MAX, Instant::now());
    loop {
        stage.look_after()?;
        let now = left(stage).await.context(what.to_owned())?;
        if now == 0 {
            return Ok(());
        }
        if now < least {
            (least, since) = (now, Instant::now());
        }
        if since.elapsed() > STALL_MAX {
            let status = status(stage).await;
            bail!("{what}: no; {now} left, no progress for {STALL_MAX:?}; the subscriber says {status}");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
