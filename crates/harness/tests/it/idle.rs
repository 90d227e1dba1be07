//! A system with nothing to do does nothing.

use std::time::Duration;

use harness::publish::{numbered, publish};

use super::{Result, System};

/// Past the time at which the subscriber would report what has changed.
const UNTIL_QUIET: Duration = Duration::from_secs(24);
const QUIET: Duration = Duration::from_secs(5);
/// Of the processor, in so long a time: a loop that does not wait takes all of it.
const CPU_SECONDS_MAX: f64 = 0.5;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_system_leaves_the_processor_alone() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "t:1")]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("t", 0, 3, 1)).await?;
    system.api.rows().stored(3).await?;
    tokio::time::sleep(UNTIL_QUIET).await;
    let before = (system.api.process()?.cpu_seconds()?, system.subscriber.process()?.cpu_seconds()?);
    tokio::time::sleep(QUIET).await;
    let api_took = system.api.process()?.cpu_seconds()? - before.0;
    let subscriber_took = system.subscriber.process()?.cpu_seconds()? - before.1;
    assert!(api_took < CPU_SECONDS_MAX, "the API took {api_took} s of {QUIET:?}");
    assert!(subscriber_took < CPU_SECONDS_MAX, "the subscriber took {subscriber_took} s of {QUIET:?}");
    Ok(())
}
