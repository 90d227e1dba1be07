//! What was done to the system and what it did by itself: a log, counts, and what must be told.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::schedule::{Fault, Kind};

/// How long after a full disk has room again a program may still end because of it.
const AFTERMATH: Duration = Duration::from_secs(5);
/// SIGKILL, and SIGTERM where it comes before a program has had the time to ask for it.
const KILLED: [i32; 2] = [9, 15];

/// The log and the counts.
pub(super) struct Journal {
    began: Instant,
    log: File,
    /// How often each kind began.
    pub(super) counts: BTreeMap<Kind, u64>,
    /// Disks that are full, and until when programs are excused.
    full: BTreeMap<Kind, Option<Instant>>,
    /// Ends that nobody asked for, or that were no clean ones.
    pub(super) deaths: Vec<String>,
    /// Ends while the disk was full: a program may give up, and be started again.
    pub(super) gave_up: u64,
}

impl Journal {
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let log = File::create(path).with_context(|| path.display().to_string())?;
        let (counts, full) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { began: Instant::now(), log, counts, full, deaths: Vec::new(), gave_up: 0 })
    }

    /// Writes a line, with the time.
    pub(super) fn note(&mut self, text: &str) {
        // Whoever reads it does so after a failure: what cannot be written is no reason to end the run.
        let _ = writeln!(self.log, "{:9.3} {text}", self.began.elapsed().as_secs_f64());
    }

    pub(super) fn begin(&mut self, fault: &Fault) {
        let kind = fault.kind;
        *self.counts.entry(kind).or_default() += 1;
        self.full.insert(kind, None);
        let how = match kind {
            Kind::HoldBroker | Kind::HoldApi => format!(" {:?}, then cut: {}", fault.held, fault.then_cut),
            _ => String::new(),
        };
        self.note(&format!("{}: {} ms{how}", kind.name(), fault.lasts.as_millis()));
    }

    pub(super) fn end(&mut self, fault: &Fault) {
        self.full.insert(fault.kind, Some(Instant::now() + AFTERMATH));
        self.note(&format!("{}: over", fault.kind.name()));
    }

    /// It was told to end, or killed.
    pub(super) fn ended(&mut self, name: &str, disk: Kind, status: ExitStatus) {
        if !status.success() && !status.signal().is_some_and(|signal| KILLED.contains(&signal)) {
            self.judge(format!("{name}, told to stop: {status}"), disk);
        }
    }

    /// Nobody told it to end.
    pub(super) fn died(&mut self, name: &str, disk: Kind, status: ExitStatus) {
        self.judge(format!("{name}, by itself: {status}"), disk);
    }

    fn judge(&mut self, text: String, disk: Kind) {
        let excuse = self.full.get(&disk);
        if excuse.is_some_and(|until| until.is_none_or(|until| Instant::now() < until)) {
            self.gave_up += 1;
            self.note(&format!("{text} (its disk is full)"));
        } else {
            let at = self.began.elapsed().as_secs_f64();
            self.note(&text);
            self.deaths.push(format!("{text} after {at:.1} s"));
        }
    }
}
