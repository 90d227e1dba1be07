//! Short runs of the oracle, with seeds whose faults are known to meet in bad ways; `cargo torture` runs longer ones.

use std::time::Duration;

use harness::broker::mosquitto;
use harness::torture::schedule::Kind;
use harness::torture::{Options, report::Report, run};

use super::Result;

const LENGTH: Duration = Duration::from_secs(20);
/// What a debug build on a busy machine keeps up with.
const RATE: u32 = 400;

/// None where mosquitto is missing and may be.
async fn torture(options: Options) -> Result<Option<Report>> {
    harness::install_tls();
    if !mosquitto::installed() {
        harness::skipped("mosquitto is not installed");
        return Ok(None);
    }
    let report = run(&Options { rate: RATE, ..options }).await?;
    if !report.filled_disks {
        harness::skipped("full disks in the torture: mounting is not allowed here");
    }
    Ok(Some(report))
}

async fn passes(seed: u64) -> Result {
    let Some(report) = torture(Options::new(seed, LENGTH)).await? else { return Ok(()) };
    assert!(report.failures().is_empty(), "\n{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_1_keeps_every_promise() -> Result {
    passes(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_2_keeps_every_promise() -> Result {
    passes(2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn seed_3_keeps_every_promise() -> Result {
    passes(3).await
}

/// Here acknowledgements wait in a half-open link while the subscriber is restarted.
#[tokio::test(flavor = "multi_thread")]
async fn seed_8_keeps_every_promise() -> Result {
    passes(8).await
}

/// Somebody takes the subscriber's name at the API, while it runs and while it is down.
#[tokio::test(flavor = "multi_thread")]
async fn an_attacker_who_takes_the_name_makes_nothing_vanish() -> Result {
    let Some(report) = torture(Options { attacks: true, ..Options::new(5, LENGTH) }).await? else { return Ok(()) };
    assert!(report.failures().is_empty(), "\n{report}");
    let attacks = [Kind::TakeName, Kind::TakeNameDown].map(|kind| report.faults.get(&kind).copied().unwrap_or(0));
    assert!(attacks.iter().all(|count| *count > 0), "\n{report}");
    Ok(())
}

/// The oracle can fail: a spool that is emptied takes acknowledged messages with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_that_loses_messages_is_found_out() -> Result {
    let options = Options { sabotage: true, ..Options::new(1, LENGTH / 5) };
    let Some(report) = torture(options).await? else { return Ok(()) };
    assert!(report.verdict.missing_acknowledged > 0, "\n{report}");
    assert!(!report.failures().is_empty());
    if let Some(kept) = report.kept {
        std::fs::remove_dir_all(kept)?;
    }
    Ok(())
}
