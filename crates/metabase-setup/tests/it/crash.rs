//! A run may end anywhere: the next one completes it, and nothing is there twice.

use metabase_setup::config::{Config, Waits};
use metabase_setup::run;

use crate::metabase::{Failure, Metabase};
use crate::{config, provision};

/// What there is after a run that nothing disturbed, and how many requests it took.
async fn undisturbed() -> (serde_json::Value, usize) {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let world = metabase.world();
    (world.shown(), world.log.len())
}

#[tokio::test]
async fn a_run_that_ends_at_any_request_is_completed_by_the_next() {
    let (expected, requests) = undisturbed().await;
    for failure in [Failure::Before, Failure::After] {
        for at in 1..=requests {
            let metabase = Metabase::start().await;
            metabase.world().failure = Some((at, failure));
            let once = config(&metabase);
            let once = Config { waits: Waits { attempts_max: 1, ..once.waits }, ..once };
            let first = run(&once).await;
            metabase.world().failure = None;
            let last = metabase.world().log.last().cloned().unwrap();
            // While Metabase starts, and when the session ends, a failure ends nothing.
            assert!(first.is_err() || at <= 3 || at == requests, "{failure:?} {at}: {last:?}");
            provision(&metabase).await;
            assert_eq!(metabase.world().shown(), expected, "{failure:?} {at}: {last:?}");
            metabase.take_writes();
            provision(&metabase).await;
            let writes = metabase.take_writes();
            assert!(writes.is_empty(), "{failure:?} {at}: {writes:?}");
        }
    }
}

#[tokio::test]
async fn one_run_gets_over_a_failure_at_any_request() {
    let (expected, requests) = undisturbed().await;
    for failure in [Failure::Before, Failure::After] {
        for at in 1..=requests {
            let metabase = Metabase::start().await;
            metabase.world().failure = Some((at, failure));
            provision(&metabase).await;
            assert_eq!(metabase.world().shown(), expected, "{failure:?} {at}");
        }
    }
}
