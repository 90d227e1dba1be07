//! P4: for every producer, received = stored + quarantined + waiting, whatever is restarted or put back from a copy.

use std::fs;
use std::path::Path;

use dados::Produtor;
use harness::broker::mosquitto::Options;
use harness::publish::{Outgoing, numbered, publish};
use harness::system::{Api, Subscriber};

use super::{Result, System, broker, numbers};

/// Waits until the ledger of the only producer is as wished.
pub(super) async fn until(api: &Api, what: &str, wished: impl Fn(&Produtor) -> bool) -> Result<Produtor> {
    let rows = api.rows();
    let last = std::cell::RefCell::new(Vec::new());
    let probe = async || {
        let ledgers = rows.producers().await?;
        let found = ledgers.first().filter(|ledger| ledgers.len() == 1 && wished(ledger)).cloned();
        last.replace(ledgers);
        Ok(found)
    };
    let found = harness::eventually(what, harness::PATIENCE, probe).await;
    found.map_err(|error| error.context(format!("{:?}", last.borrow())))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sum_comes_out_even_over_quarantine_outages_and_restarts() -> Result {
    let Some((broker, dir)) = broker(Options::default()).await? else { return Ok(()) };
    let mut api = Api::start_with(dir.path(), &[("API_BODY_BYTES_MAX", "64KiB")]).await?;
    let mut subscriber = Subscriber::start(dir.path(), &broker.url(), &api.url(), &[])?;
    subscriber.ready().await?;
    let mut messages = numbered("casa", 0, 1_000, 1);
    messages.insert(500, Outgoing::new("grande", "y".repeat(100_000), 1));
    // The last one is refused too: nothing follows that would tell the API.
    messages.push(Outgoing::new("grande", "z".repeat(100_000), 1));
    publish(broker.addr(), messages).await?;
    let settled = |ledger: &Produtor| ledger.esperando == 0 && ledger.recebidas >= 1_002;
    let ledger = until(&api, "all are accounted for", settled).await?;
    assert_eq!((ledger.armazenadas, ledger.quarentena, ledger.danificadas, ledger.faltando), (1_000, 2, 0, 0));
    assert_eq!((ledger.recebidas, ledger.ultima_sequencia), (1_002, 1_001));
    assert!(ledger.nome.is_some_and(|name| name.starts_with("ponte-")), "the client id");

    api.kill()?;
    publish(broker.addr(), numbered("casa", 1_000, 500, 1)).await?;
    subscriber.until("all are captured", |status| status["spool"]["captured"] == 1_502).await?;
    subscriber.process()?.kill()?;
    subscriber.restart()?;
    api.restart().await?;
    let ledger = until(&api, "the rest arrived", |ledger| ledger.armazenadas == 1_500).await?;
    assert_eq!((ledger.quarentena, ledger.faltando), (2, 0));
    subscriber.until("the subscriber knows it", |status| status["api"]["missing"] == 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_put_back_from_a_copy_shows_as_a_gap() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("fluxo", 0, 300, 1)).await?;
    system.api.rows().stored(300).await?;
    system.api.process()?.terminate()?;
    let copy = fs::read(system.api.database())?;
    system.api.restart().await?;
    publish(system.broker.addr(), numbered("fluxo", 300, 200, 1)).await?;
    system.api.rows().stored(500).await?;
    system.subscriber.drained().await?;

    system.api.process()?.terminate()?;
    fs::write(system.api.database(), copy)?;
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", system.api.database().display()));
    }
    system.api.restart().await?;
    publish(system.broker.addr(), numbered("fluxo", 500, 100, 1)).await?;
    let complete = |ledger: &Produtor| ledger.faltando == 200 && ledger.ultima_sequencia == 600;
    let ledger = until(&system.api, "the gap shows", complete).await?;
    assert_eq!(ledger.armazenadas, 400, "what came later is stored all the same");
    system.subscriber.until("the subscriber says so", |status| status["api"]["missing"] == 200).await?;
    assert!(system.subscriber.log().contains("does not come out even"), "{}", system.subscriber.log());
    let ready = reqwest::get(format!("{}/readyz", system.api.url())).await?.text().await?;
    assert!(ready.contains("\"faltando\":200"), "{ready}");
    let metrics = reqwest::get(format!("{}/metrics", system.api.url())).await?.text().await?;
    assert!(metrics.contains("ponte_api_missing_messages 200"), "{metrics}");
    Ok(())
}

/// What a kill -9, or a copy by an operator's hand, leaves at any moment: the database and its log as they are while
/// the API is frozen.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_is_even_at_any_moment() -> Result {
    const COPIES: usize = 6;
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    let mut publishing = tokio::task::JoinSet::new();
    publishing.spawn(publish(system.broker.addr(), numbered("fluxo", 0, 60_000, 1)));
    let mut copies = Vec::new();
    for copy in 1..=COPIES {
        system.api.rows().stored(copy as i64 * 1_500).await?;
        let dir = tempfile::tempdir_in(system.dir.path())?;
        system.api.process()?.signal("STOP")?;
        for suffix in ["", "-wal"] {
            let from = format!("{}{suffix}", system.api.database().display());
            fs::copy(&from, dir.path().join(format!("dados.db{suffix}")))?;
        }
        system.api.process()?.signal("CONT")?;
        copies.push(dir);
    }
    publishing.join_next().await.expect("one task")??;
    for (before, dir) in copies.iter().enumerate() {
        let api = Api::start(dir.path()).await?;
        let values = api.rows().values("fluxo").await?;
        assert!(values.len() >= (before + 1) * 1_500, "what was readable is in the copy: {}", values.len());
        assert_eq!(values, numbers(0, values.len()), "a prefix, without a gap");
        let ledger = &api.rows().producers().await?[0];
        let count = values.len() as u64;
        assert_eq!((ledger.armazenadas, ledger.ultima_sequencia, ledger.faltando), (count, count, 0));
    }
    Ok(())
}

fn copy_dir(from: &Path, to: &Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// A copy that goes on where the original was: the sequences of new messages were given before, to others.
#[tokio::test(flavor = "multi_thread")]
async fn a_spool_put_back_from_an_older_copy_loses_nothing_and_repeats_nothing() -> Result {
    let Some(mut system) = System::start(&[]).await? else { return Ok(()) };
    let (spool, copy) = (system.subscriber.spool(), system.dir.path().join("copy"));
    system.api.kill()?;
    publish(system.broker.addr(), numbered("fluxo", 0, 300, 1)).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 300).await?;
    // The copy has 300 messages that wait, which the original delivers later.
    system.subscriber.process()?.terminate()?;
    copy_dir(&spool, &copy)?;
    system.api.restart().await?;
    system.subscriber.restart()?;
    publish(system.broker.addr(), numbered("fluxo", 300, 200, 1)).await?;
    system.api.rows().stored(500).await?;
    system.subscriber.drained().await?;
    system.subscriber.process()?.terminate()?;

    fs::remove_dir_all(&spool)?;
    copy_dir(&copy, &spool)?;
    // New messages are captured, and a crash comes, before the API can be asked.
    system.api.kill()?;
    system.subscriber.restart()?;
    system.subscriber.ready().await?;
    publish(system.broker.addr(), numbered("fluxo", 500, 50, 1)).await?;
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 350).await?;
    system.subscriber.process()?.kill()?;
    system.subscriber.restart()?;
    system.subscriber.ready().await?;
    publish(system.broker.addr(), numbered("fluxo", 550, 50, 1)).await?;
    system.api.restart().await?;
    system.api.rows().stored(600).await?;
    assert_eq!(system.delivered("fluxo").await?, numbers(0, 600), "complete, in order, once");
    let log = system.subscriber.log();
    assert!(log.contains("older copy of itself"), "{log}");
    let rows = system.api.rows();
    let even = async || {
        let ledgers = rows.producers().await?;
        Ok((ledgers.len() == 2 && ledgers.iter().all(|l| l.faltando == 0 && l.esperando == 0)).then_some(ledgers))
    };
    let ledgers = harness::eventually("both names come out even", harness::PATIENCE, even).await?;
    let stored: Vec<_> = ledgers.iter().map(|ledger| ledger.armazenadas).collect();
    assert!(stored == [100, 500] || stored == [500, 100], "{ledgers:?}");
    Ok(())
}

/// A cloned machine: two copies of one spool at work at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn two_copies_of_one_spool_store_the_messages_of_both() -> Result {
    let Some(mut system) = System::start(&[("MQTT_TOPICS", "a/#:1")]).await? else { return Ok(()) };
    publish(system.broker.addr(), numbered("a/x", 0, 100, 1)).await?;
    system.api.rows().stored(100).await?;
    system.subscriber.drained().await?;
    system.subscriber.process()?.terminate()?;
    let dir = tempfile::tempdir_in(system.dir.path())?;
    copy_dir(&system.subscriber.spool(), &dir.path().join("spool"))?;
    let settings = [("MQTT_TOPICS", "b/#:1"), ("MQTT_CLIENT_ID", "clone")];
    let (broker, api) = (system.broker.url(), system.api.url());
    let mut clone = Subscriber::start(dir.path(), &broker, &api, &settings)?;
    system.subscriber.restart()?;
    clone.ready().await?;
    system.subscriber.ready().await?;
    for round in 0..5 {
        publish(system.broker.addr(), numbered("a/x", 100 + round * 40, 40, 1)).await?;
        publish(system.broker.addr(), numbered("b/x", round * 60, 60, 1)).await?;
    }
    system.subscriber.until("all are captured", |status| status["spool"]["captured"] == 300).await?;
    clone.until("all are captured", |status| status["spool"]["captured"] == 400).await?;
    system.subscriber.drained().await?;
    clone.drained().await?;
    for topic in ["a/x", "b/x"] {
        // Of a batch whose first sequences the other copy had, the API stores the rest at once; the first come again under
        // the new name, behind it.
        let mut values = system.api.rows().values(topic).await?;
        values.sort_by_key(|value| value.parse::<usize>().ok());
        assert_eq!(values, numbers(0, 300), "each once");
    }
    let logs = system.subscriber.log() + &clone.log();
    assert!(logs.contains("another copy of this spool is at work"), "{logs}");
    Ok(())
}
