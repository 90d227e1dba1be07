//! Metabase beside a writer: it reads what is there, whatever becomes of the writer, and can change nothing.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::probe::{Probe, Shield};
use super::{Bench, Result, post};

/// So many are written while the readers read, a few at a time.
const ROWS: i64 = 4_000;
const ROWS_A_POST: i64 = 20;

/// A shielded Metabase, and the most rows that it has seen.
struct Reader {
    shield: Shield,
    probe: Probe,
    seen: i64,
}

impl Reader {
    /// Both of its connections see at least so many rows, and none that it saw is gone.
    async fn sees(&mut self, at_least: i64) -> Result {
        for connection in ["kept", "fresh"] {
            let answer = self.probe.ask(&format!("{connection} {COUNT}")).await?;
            let count = answer["rows"][0][0].as_i64();
            let count = count.unwrap_or_else(|| panic!("{:?}, {connection}: {answer}", self.shield));
            assert!(count >= at_least.max(self.seen), "{:?}, {connection}: {count} of {at_least}", self.shield);
            self.seen = count;
        }
        Ok(())
    }
}

const COUNT: &str = r#"SELECT COUNT(*) AS "count" FROM "dados""#;

/// A Metabase behind every shield; none where they may not be arranged.
async fn readers(bench: &Bench) -> Result<Option<Vec<Reader>>> {
    let mut readers = Vec::new();
    for shield in Shield::ALL {
        let Some(probe) = bench.driver.start_shielded(&bench.api.database(), shield).await? else { return Ok(None) };
        readers.push(Reader { shield, probe, seen: 0 });
    }
    Ok(Some(readers))
}

/// Posts until the API is gone; counts what it has acknowledged.
async fn post_until_it_is_gone(api: String, acknowledged: Arc<AtomicI64>) {
    let rows: Value = (0..ROWS_A_POST).map(|number| json!({"topico": "vivo", "valor": number})).collect();
    while post(&api, &rows).await.is_ok() {
        acknowledged.fetch_add(ROWS_A_POST, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_cannot_write_follows_a_writer_through_its_death() -> Result {
    let Some(mut bench) = Bench::start("").await? else { return Ok(()) };
    let Some(mut readers) = readers(&bench).await? else { return Ok(()) };
    let acknowledged = Arc::new(AtomicI64::new(0));
    let mut posting = JoinSet::new();
    posting.spawn(post_until_it_is_gone(bench.api.url(), Arc::clone(&acknowledged)));
    while acknowledged.load(Ordering::SeqCst) < ROWS {
        for reader in &mut readers {
            reader.sees(acknowledged.load(Ordering::SeqCst)).await?;
        }
        ensure!(posting.try_join_next().is_none(), "the API takes no more");
    }
    bench.api.kill()?;
    posting.join_next().await.expect("one task")?;
    let promised = acknowledged.load(Ordering::SeqCst);
    for reader in &mut readers {
        reader.sees(promised).await?;
    }

    bench.api.restart().await?;
    post(&bench.api.url(), &json!({"topico": "vivo", "valor": "de volta"})).await?;
    let stored = bench.api.rows().newest_id().await?;
    assert!(stored > promised);
    for reader in &mut readers {
        reader.sees(stored).await?;
        assert_eq!(reader.seen, stored, "{:?}", reader.shield);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_changes_nothing_and_leaves_nothing() -> Result {
    let Some(bench) = Bench::start("").await? else { return Ok(()) };
    post(&bench.api.url(), &json!({"topico": "t", "valor": 1})).await?;
    let Some(mut readers) = readers(&bench).await? else { return Ok(()) };
    let before = files(&bench)?;
    for (reader, round) in readers.iter_mut().zip(2..) {
        reader.sees(round - 1).await?;
        for sql in ["insert into dados (valor) values ('x')", "delete from dados", "drop table leituras"] {
            for connection in ["kept", "fresh"] {
                let answer = reader.probe.ask(&format!("{connection} {sql}")).await?;
                let error = answer["error"].as_str().unwrap_or_else(|| panic!("{:?}: {answer}", reader.shield));
                assert!(error.contains("SQLITE_READONLY"), "{:?}: {error}", reader.shield);
            }
        }
        post(&bench.api.url(), &json!({"topico": "t", "valor": round})).await?;
        reader.sees(round).await?;
    }
    assert_eq!(files(&bench)?, before, "none of theirs, none gone");
    assert_eq!(bench.api.rows().values("t").await?.len(), 1 + Shield::ALL.len());
    Ok(())
}

/// The names and owners of the files beside the database, and its own.
fn files(bench: &Bench) -> Result<Vec<(OsString, u32)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(bench.api.database().parent().expect("it is in a directory"))? {
        let entry = entry?;
        files.push((entry.file_name(), entry.metadata()?.uid()));
    }
    files.sort();
    Ok(files)
}

/// A clean end merges the log into the database and deletes it, and who may not write cannot make it anew; a connection
/// that is open meanwhile keeps it from being deleted.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_recovers_from_a_clean_end_of_the_writer() -> Result {
    let Some(mut bench) = Bench::start("").await? else { return Ok(()) };
    post(&bench.api.url(), &json!({"topico": "t", "valor": 1})).await?;
    let Some(mut readers) = readers(&bench).await? else { return Ok(()) };
    for connected in [false, true] {
        let stored = bench.api.rows().newest_id().await?;
        assert!(bench.api.process()?.terminate()?.success());
        for reader in &mut readers {
            if connected {
                reader.sees(stored).await?;
            } else {
                let answer = reader.probe.ask(&format!("fresh {COUNT}")).await?;
                let error = answer["error"].as_str().unwrap_or_else(|| panic!("{:?}: {answer}", reader.shield));
                // The first from a read-only mount, the second where only the directory's mode forbids it.
                let expected = if reader.shield.mounted { "SQLITE_CANTOPEN" } else { "SQLITE_READONLY_DIRECTORY" };
                assert!(error.contains(expected), "{:?}: {error}", reader.shield);
            }
        }
        bench.api.restart().await?;
        post(&bench.api.url(), &json!({"topico": "t", "valor": 1})).await?;
        for reader in &mut readers {
            reader.sees(stored + 1).await?;
        }
    }
    Ok(())
}
