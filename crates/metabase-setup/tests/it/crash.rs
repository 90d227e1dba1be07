//! A run may end anywhere: the next one completes it, and nothing is there twice.

use metabase_setup::config::{Config, Waits};
use metabase_setup::run;

use crate::metabase::{Failure, Metabase};
use crate::{config, provision};

/// What there is after a run that nothing disturbed.
struct Undisturbed {
    shown: serde_json::Value,
    /// How many requests it took …
    requests: usize,
    /// … and how many of them it took until Metabase was ready.
    ready: usize,
}

async fn undisturbed() -> Undisturbed {
    let metabase = Metabase::start().await;
    provision(&metabase).await;
    let world = metabase.world();
    let ready = world.log.iter().position(|entry| entry.path.ends_with("/properties") && entry.status == 200);
    Undisturbed { shown: world.shown(), requests: world.log.len(), ready: ready.unwrap() + 1 }
}

#[tokio::test]
async fn a_run_that_ends_at_any_request_is_completed_by_the_next() {
    let Undisturbed { shown: expected, requests, ready } = undisturbed().await;
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
            assert!(first.is_err() || at <= ready || at == requests, "{failure:?} {at}: {last:?}");
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
    let Undisturbed { shown: expected, requests, .. } = undisturbed().await;
    for failure in [Failure::Before, Failure::After] {
        for at in 1..=requests {
            let metabase = Metabase::start().await;
            metabase.world().failure = Some((at, failure));
            provision(&metabase).await;
            assert_eq!(metabase.world().shown(), expected, "{failure:?} {at}");
        }
    }
}
