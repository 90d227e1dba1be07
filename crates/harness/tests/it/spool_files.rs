//! Files of the spool that somebody removes or damages, while the subscriber runs or while it does not: nothing is
//! acknowledged into a file that nobody finds again, and what is lost is in the log and in the ledger.

use std::fs;
use std::path::Path;

use dados::Produtor;
use harness::publish::{Outgoing, numbered, publish};

use super::{Result, System, numbers, segments};

/// Waits until the ledger of the only producer is as wished.
async fn ledger(system: &System, what: &str, wished: impl Fn(&Produtor) -> bool) -> Result<Produtor> {
    let found = super::ledger::until(&system.api, what, wished).await;
    found.map_err(|error| error.context(system.subscriber.log()))
}

/// A system whose API is away, with so many messages in the spool.
async fn waiting(count: usize, settings: &[(&str, &str)]) -> Result<Option<System>> {
    let Some(mut system) = System::start(settings).await? else { return Ok(None) };
    publish(system.broker.addr(), numbered("fluxo", 0, 20, 1)).await?;
    system.api.rows().stored(20).await?;
    system.subscriber.drained().await?;
    system.api.kill()?;
    publish(system.broker.addr(), numbered("fluxo", 20, count - 20, 1)).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == count).await?;
    Ok(Some(system))
}

fn remove_segments(spool: &Path) -> Result {
    Ok(segments(spool).into_iter().try_for_each(fs::remove_file)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_removed_under_the_running_subscriber_loses_nothing() -> Result {
    let removals: [fn(&Path) -> Result; 2] = [|spool| Ok(fs::remove_dir_all(spool)?), remove_segments];
    for remove in removals {
        let Some(mut system) = waiting(1_000, &[]).await? else { return Ok(()) };
        remove(&system.subscriber.spool())?;
        // No message need come for it to be noticed.
        system.subscriber.until("it is unready", |status| status["ready"] == false).await?;
        publish(system.broker.addr(), numbered("fluxo", 1_000, 1_000, 1)).await?;
        system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 2_000).await?;
        system.subscriber.ready().await?;
        // What was acknowledged after the removal is found again.
        system.subscriber.process()?.kill()?;
        system.subscriber.restart()?;
        system.api.restart().await?;
        system.subscriber.ready().await?;
        system.api.rows().stored(2_000).await?;
        system.subscriber.drained().await?;
        // The kill may overtake acknowledgements: what the broker then sends again at QoS 1 is marked.
        let rows = system.api.rows().all().await?;
        let first: Vec<_> =
            rows.iter().filter(|row| row.dup != Some(true)).filter_map(|row| row.valor.clone()).collect();
        assert_eq!(first, numbers(0, 2_000), "complete, in order, once");
        let count = rows.len() as u64;
        let settled = move |ledger: &Produtor| ledger.recebidas == count && ledger.armazenadas == count;
        let ledger = ledger(&system, "all are accounted for", settled).await?;
        assert_eq!((ledger.danificadas, ledger.faltando), (0, 0));
        let log = system.subscriber.log();
        assert!(log.contains("removed or replaced"), "{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_removed_while_the_subscriber_is_stopped_are_in_the_ledger() -> Result {
    let Some(mut system) = waiting(1_000, &[]).await? else { return Ok(()) };
    system.subscriber.process()?.terminate()?;
    remove_segments(&system.subscriber.spool())?;
    system.subscriber.restart()?;
    system.subscriber.ready().await?;
    let log = system.subscriber.log();
    assert!(log.contains("are missing from the spool") && log.contains("messages=980"), "{log}");
    system.api.restart().await?;
    publish(system.broker.addr(), numbered("fluxo", 1_000, 50, 1)).await?;
    system.api.rows().stored(70).await?;
    let settled = |ledger: &Produtor| ledger.recebidas == 1_050 && ledger.esperando == 0;
    let ledger = ledger(&system, "all are accounted for", settled).await?;
    assert_eq!((ledger.armazenadas, ledger.danificadas, ledger.faltando), (70, 980, 0));
    Ok(())
}

/// The oldest of several segments, removed under the running subscriber, cannot be put back.
#[tokio::test(flavor = "multi_thread")]
async fn older_segments_removed_under_the_running_subscriber_are_in_the_ledger() -> Result {
    const COUNT: usize = 60;
    let settings = [("SPOOL_MAX_BYTES", "64MiB"), ("MQTT_PACKET_BYTES_MAX", "1MiB")];
    let Some(mut system) = System::start(&settings).await? else { return Ok(()) };
    system.api.kill()?;
    let big = (0..COUNT).map(|_| Outgoing::new("grande", "x".repeat(500_000), 1)).collect();
    publish(system.broker.addr(), big).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == COUNT).await?;
    assert!(segments(&system.subscriber.spool()).len() > 2);
    remove_segments(&system.subscriber.spool())?;
    system.subscriber.until("it is unready", |status| status["ready"] == false).await?;
    system.subscriber.ready().await?;
    system.api.restart().await?;
    publish(system.broker.addr(), numbered("fluxo", 0, 10, 1)).await?;
    system.api.rows().stored_value("fluxo", "9").await?;
    system.subscriber.drained().await?;
    let settled = |ledger: &Produtor| ledger.recebidas == 70 && ledger.esperando == 0 && ledger.danificadas > 0;
    let ledger = ledger(&system, "all are accounted for", settled).await?;
    assert!(ledger.armazenadas > 10, "the newest segment was put back: {ledger:?}");
    assert_eq!((ledger.armazenadas + ledger.danificadas, ledger.faltando), (70, 0));
    assert!(system.subscriber.log().contains("are missing from the spool"), "{}", system.subscriber.log());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_after_a_clean_stop_is_damage_and_no_torn_write() -> Result {
    let Some(mut system) = waiting(1_000, &[]).await? else { return Ok(()) };
    system.subscriber.process()?.terminate()?;
    let segment = segments(&system.subscriber.spool()).pop().expect("a segment");
    let mut bytes = fs::read(&segment)?;
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("frames");
    bytes[last] ^= 1;
    fs::write(&segment, bytes)?;
    system.subscriber.restart()?;
    system.api.restart().await?;
    system.subscriber.ready().await?;
    system.subscriber.drained().await?;
    let settled = |ledger: &Produtor| ledger.recebidas == 1_000 && ledger.esperando == 0 && ledger.danificadas > 0;
    let ledger = ledger(&system, "all are accounted for", settled).await?;
    assert_eq!((ledger.armazenadas + ledger.danificadas, ledger.faltando), (1_000, 0));
    let log = system.subscriber.log();
    assert!(!log.contains("torn write") && log.contains("set aside"), "{log}");
    assert!(system.subscriber.spool().join("corrupt").read_dir()?.count() > 0);
    Ok(())
}
