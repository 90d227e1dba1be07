//! The oracle: breaks the whole system in every way it knows while messages flow, and then compares what is stored with
//! what was promised.
//!
//! - [`message`]: what is sent, composed of a seed and an id; [`traffic`]: who sends it
//! - [`schedule`]: what goes wrong and when, a pure function of the seed
//! - `stage`: the system, and what each fault does to it; [`attack`]: a client that takes the subscriber's name; `journal`: what was done
//! - [`wire`]: listens between broker and subscriber; [`ledger`]: what was promised to whom
//! - `settle`: everything must come to rest; [`stored`]: what the API shows then; [`verdict`] and `order`: the
//!   comparison
//! - [`memory`], [`report`]: what the run was like

pub mod attack;
mod journal;
pub mod ledger;
pub mod memory;
pub mod message;
mod order;
pub mod report;
pub mod schedule;
mod settle;
mod stage;
pub mod stored;
pub mod traffic;
pub mod verdict;
pub mod wire;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ledger::Shared;
use report::Report;
use schedule::{Allowed, Edge};
use stage::Stage;
use stored::Stored;

use crate::generate::projected;
use crate::system::Api;

/// How often the programs are looked after.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Rows of one page when everything is read back.
const PAGE_ROWS: usize = 2000;

/// What a run is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of messages and faults.
    pub seed: u64,
    /// How long faults begin.
    pub length: Duration,
    /// Messages a second.
    pub rate: u32,
    /// Kill the broker too, which loses messages by itself.
    pub broker_kill: bool,
    /// Somebody sends under the subscriber's name. The messages that it sends again come in another order.
    pub attacks: bool,
    /// Write down every message and acknowledgement between broker and subscriber.
    pub wire_log: bool,
    /// Keep logs and data though the run passed.
    pub keep: bool,
    /// Empty the spool once while messages wait in it, to see the run fail.
    pub sabotage: bool,
}

impl Options {
    /// The usual ones.
    pub fn new(seed: u64, length: Duration) -> Self {
        Self {
            seed,
            length,
            rate: 1000,
            broker_kill: false,
            attacks: false,
            wire_log: false,
            keep: false,
            sabotage: false,
        }
    }
}

/// One run. An error is one of the oracle itself; what the system did wrong is in the report.
pub async fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(!options.length.is_zero() && options.rate > 0, "a run without time or messages tries nothing");
    // Before the clock runs: building them may take minutes.
    crate::binaries::binaries()?;
    let dir = tempfile::Builder::new().prefix("ponte-torture-").tempdir().context("a temporary directory")?;
    let began = Instant::now();
    let ledger = Shared::default();
    let mut stage = Stage::set(dir.path(), options, ledger.clone()).await?;
    let ran = ordeal(&mut stage, options, &ledger).await;
    if let Err(error) = ran {
        let kept = keep(dir.path())?;
        return Err(error.context(format!("the oracle itself failed; logs and data are in {}", kept.display())));
    }
    let stuck = settle::settle(&mut stage, &ledger).await.err().map(|error| format!("{error:#}"));
    let ledger = ledger.lock().expect("no holder panics").clone();
    let mut stored = Stored::new(options.seed, &ledger);
    let read = stage.api.rows().newest_first(PAGE_ROWS, |page| page.iter().for_each(|row| stored.take(row))).await;
    let unread = read.err().map(|error| format!("the rows cannot be read: {error:#}"));
    let derived = derived(&stage.api).await.map_err(|error| format!("what is derived cannot be read: {error:#}"));
    let at_qos = |qos| ledger.ids().filter(|id| id.qos() == qos).count() as u64;
    let mut report = Report {
        seed: options.seed,
        took: began.elapsed(),
        messages: [at_qos(1), at_qos(2)],
        faults: stage.journal.counts.clone(),
        filled_disks: stage.has_disks(),
        verdict: verdict::Verdict { attacked: options.attacks, ..verdict::judge(&ledger, &stored) },
        miscounted: derived.as_ref().map_or(0, |counted| counted.abs_diff(stored.rows)),
        stuck: stuck.or(unread).or(derived.err()),
        deaths: stage.journal.deaths.clone(),
        gave_up: stage.journal.gave_up,
        sessions_lost: ledger.sessions_lost.saturating_sub(1),
        memory: stage.memory.clone(),
        kept: None,
    };
    if options.keep || !report.failures().is_empty() {
        report.kept = Some(keep(dir.path())?);
    }
    Ok(report)
}

/// How many messages the projections have counted, once they have taken up all.
async fn derived(api: &Api) -> anyhow::Result<u64> {
    projected(&api.url(), true).await?;
    api.rows().counted_messages().await
}

/// Every fault of the schedule, one edge after the other.
async fn ordeal(stage: &mut Stage, options: &Options, ledger: &Shared) -> anyhow::Result<()> {
    let allowed = Allowed { full_disks: stage.has_disks(), broker_kill: options.broker_kill, attacks: options.attacks };
    let faults = schedule::schedule(options.seed, options.length, allowed);
    let mut past = Duration::ZERO;
    for (at, edge) in schedule::edges(&faults) {
        // From edge to edge: where one took its time, the next ones are late, but last as long as they should.
        wait(stage, at - past).await?;
        past = at;
        match edge {
            Edge::Begin(index) => stage.begin(&faults[index], ledger).await?,
            Edge::End(index) => stage.end(&faults[index]).await?,
        }
    }
    if options.sabotage { stage.sabotage().await } else { Ok(()) }
}

async fn wait(stage: &mut Stage, length: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + length;
    loop {
        stage.look_after()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
    }
}

/// Copies everything to a directory that stays: what is on disks of our own goes with them.
fn keep(dir: &Path) -> anyhow::Result<std::path::PathBuf> {
    let name = dir.file_name().context("a directory without a name")?;
    let kept = dir.with_file_name(format!("{}-kept", name.to_string_lossy()));
    let status = Command::new("cp").arg("-a").args([dir, &kept]).status().context("cp")?;
    ensure!(status.success(), "{} cannot be copied", dir.display());
    Ok(kept)
}
