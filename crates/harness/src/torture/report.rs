//! What a run found, as a table.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::memory::Curve;
use super::schedule::Kind;
use super::verdict::Verdict;

/// One run.
#[derive(Debug)]
pub struct Report {
    /// The run can be had again with it.
    pub seed: u64,
    /// From the first message to the last row.
    pub took: Duration,
    /// Messages at QoS 1 and 2.
    pub messages: [u64; 2],
    /// How often each kind of fault began.
    pub faults: BTreeMap<Kind, u64>,
    /// Whether disks could be filled.
    pub filled_disks: bool,
    /// What is stored, against what was promised.
    pub verdict: Verdict,
    /// What did not come to rest, or does not work any more.
    pub stuck: Option<String>,
    /// By how many messages the lists and charts are off; must be zero.
    pub miscounted: u64,
    /// Programs that ended by themselves, or not cleanly.
    pub deaths: Vec<String>,
    /// The same while their disk was full.
    pub gave_up: u64,
    /// Connections on which the broker had forgotten the session, beside the first.
    pub sessions_lost: u64,
    /// The subscriber's and the API's.
    pub memory: [Curve; 2],
    /// Where the logs and data are, if they were kept.
    pub kept: Option<PathBuf>,
}

impl Report {
    /// Which promises were broken; none if the run passed.
    pub fn failures(&self) -> Vec<String> {
        let stuck = self.stuck.iter().cloned();
        let miscounted = (self.miscounted > 0).then(|| format!("{} messages miscounted by topic", self.miscounted));
        self.verdict.failures().into_iter().chain(stuck).chain(miscounted).chain(self.deaths.iter().cloned()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        let mut line = |name: &str, text: String| writeln!(f, "  {name:<22}{text}");
        line("seed", self.seed.to_string())?;
        line("minutes", format!("{:.1}", self.took.as_secs_f64() / 60.0))?;
        line("messages", format!("{} at QoS 1, {} at QoS 2", self.messages[0], self.messages[1]))?;
        for (index, (kind, count)) in self.faults.iter().enumerate() {
            line(if index == 0 { "faults" } else { "" }, format!("{count:>4} × {}", kind.name()))?;
        }
        if !self.filled_disks {
            line("", "   0 × full disk: mounting is not allowed here".into())?;
        }
        line("rows", verdict.rows.to_string())?;
        let missing = (verdict.missing_acknowledged, verdict.missing_confirmed, verdict.lost_by_broker);
        line(
            "missing",
            format!("{} acknowledged, {} in the broker; lost by the broker {}", missing.0, missing.1, missing.2),
        )?;
        let (marked, unmarked) = (verdict.repeated_qos_1.saturating_sub(verdict.unmarked), verdict.unmarked);
        line("repeated at QoS 1", format!("{marked} marked, {unmarked} unmarked"))?;
        line("miscounted by topic", self.miscounted.to_string())?;
        line("repeated at QoS 2", verdict.repeated_qos_2.to_string())?;
        line("repeated by broker", verdict.repeated_by_broker.to_string())?;
        line("damaged", format!("{}; never issued {}", verdict.damaged, verdict.never_issued))?;
        let (by_broker, by_us) = (verdict.disordered, verdict.reordered);
        line("out of order", format!("{by_broker} against publishing, {by_us} against the wire"))?;
        line(
            "wire",
            format!("{} stray acknowledgements, {} sessions lost", verdict.stray_acknowledgements, self.sessions_lost),
        )?;
        line("gave up on full disk", self.gave_up.to_string())?;
        line("memory, subscriber", self.memory[0].to_string())?;
        line("memory, API", self.memory[1].to_string())?;
        let failures = self.failures();
        line("verdict", if failures.is_empty() { "passed".into() } else { "FAILED".into() })?;
        failures.iter().try_for_each(|failure| writeln!(f, "    {failure}"))?;
        if !failures.is_empty() {
            verdict.examples.iter().try_for_each(|example| writeln!(f, "      such as {example}"))?;
        }
        self.kept.iter().try_for_each(|dir| writeln!(f, "  kept in {}", dir.display()))
    }
}
