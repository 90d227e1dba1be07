//! The table that the bench prints, for people and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::spread::Spread;

/// What a figure must keep to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Limit {
    /// The contract's floor, and what we aim at.
    AtLeast { must: f64, aim: f64 },
    /// The contract's ceiling, and what we aim at.
    AtMost { must: f64, aim: f64 },
    /// For information.
    None,
}

impl Limit {
    fn verdict(self, value: f64) -> &'static str {
        let (must, aim) = match self {
            Self::AtLeast { must, aim } => (value >= must, value >= aim),
            Self::AtMost { must, aim } => (value <= must, value <= aim),
            Self::None => return "",
        };
        match (must, aim) {
            (_, true) => "aim met",
            (true, false) => "met",
            (false, false) => "MISSED",
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast { must, aim } => format!("≥ {must} ({aim})"),
            Self::AtMost { must, aim } => format!("≤ {must} ({aim})"),
            Self::None => String::new(),
        }
    }
}

/// One line of the table: a figure of ours beside its reference, both measured in each round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) work: String,
    /// Of `ours` and `reference`.
    pub(crate) unit: &'static str,
    pub(crate) ours: Spread,
    /// What it is compared with; none where the figure speaks for itself.
    pub(crate) reference: Option<(&'static str, Spread)>,
    /// How many times as good as the reference, round by round; without a reference, ours.
    pub(crate) ratio: Spread,
    pub(crate) limit: Limit,
}

/// A figure without a limit that explains a row, such as a process's CPU time.
#[derive(Clone, Debug)]
pub(crate) struct Detail {
    pub(crate) of: &'static str,
    pub(crate) what: String,
    pub(crate) value: Spread,
}

/// What was measured so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    details: Vec<Detail>,
    /// What was not measured, and why.
    skipped: Vec<String>,
}

impl Row {
    /// A rate of ours against another one, one pair a round.
    pub(crate) fn rates(
        work: impl Into<String>,
        unit: &'static str,
        reference: &'static str,
        pairs: &[(f64, f64)],
        limit: Limit,
    ) -> Self {
        Self {
            work: work.into(),
            unit,
            ours: Spread::of(pairs.iter().map(|(ours, _)| *ours)),
            reference: Some((reference, Spread::of(pairs.iter().map(|(_, theirs)| *theirs)))),
            ratio: Spread::of(pairs.iter().map(|(ours, theirs)| ours / theirs)),
            limit,
        }
    }

    /// Milliseconds of ours against those of another way, one pair a round; the ratio is how many times as long that
    /// takes.
    pub(crate) fn times(work: impl Into<String>, reference: &'static str, pairs: &[(f64, f64)], limit: Limit) -> Self {
        let ratio = Spread::of(pairs.iter().map(|(ours, theirs)| theirs / ours));
        Self { ratio, ..Self::rates(work, "ms", reference, pairs, limit) }
    }

    /// A figure that stands alone.
    pub(crate) fn figure(
        work: impl Into<String>,
        unit: &'static str,
        values: impl IntoIterator<Item = f64>,
        limit: Limit,
    ) -> Self {
        let ours = Spread::of(values);
        Self { work: work.into(), unit, ours, reference: None, ratio: ours, limit }
    }

    /// The worst case counts for a ceiling, the median for a floor.
    fn judged(&self) -> f64 {
        match (self.limit, &self.reference) {
            (Limit::AtMost { .. }, None) => self.ratio.most,
            _ => self.ratio.median,
        }
    }

    fn verdict(&self) -> &'static str {
        self.limit.verdict(self.judged())
    }
}

impl Table {
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn explain(&mut self, of: &'static str, what: impl Into<String>, values: impl IntoIterator<Item = f64>) {
        self.details.push(Detail { of, what: what.into(), value: Spread::of(values) });
    }

    pub(crate) fn skip(&mut self, why: impl Into<String>) {
        self.skipped.push(why.into());
    }

    /// Whether a contract's limit was missed.
    pub(crate) fn is_missed(&self) -> bool {
        self.rows.iter().any(|row| row.verdict() == "MISSED")
    }

    /// Markdown, so that it can be pasted where it is told.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from(
            "\n| work | unit | ponte | reference | | ratio | must (aim) | |\n|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let (name, reference, ratio) = match &row.reference {
                Some((name, spread)) => (*name, spread.to_string(), row.ratio.to_string()),
                None => ("", String::new(), String::new()),
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {name} | {reference} | {ratio} | {} | {} |",
                row.work,
                row.unit,
                row.ours,
                row.limit.text(),
                row.verdict()
            );
        }
        if !self.details.is_empty() {
            text.push_str("\n| of | what | median (range) |\n|---|---|---|\n");
        }
        for detail in &self.details {
            let _ = writeln!(text, "| {} | {} | {} |", detail.of, detail.what, detail.value);
        }
        for why in &self.skipped {
            let _ = writeln!(text, "\nSKIPPED: {why}");
        }
        text
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "work": row.work,
                "unit": row.unit,
                "ponte": row.ours.json(),
                "reference": row.reference.as_ref().map(|(name, spread)| json!({ "name": name, "value": spread.json() })),
                "ratio": row.reference.as_ref().map(|_| row.ratio.json()),
                "limit": row.limit.text(),
                "verdict": row.verdict(),
            })
        };
        let detail = |detail: &Detail| json!({ "of": detail.of, "what": detail.what, "value": detail.value.json() });
        json!({
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "details": self.details.iter().map(detail).collect::<Vec<_>>(),
            "skipped": self.skipped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_limit_is_told() {
        let limit = Limit::AtLeast { must: 0.5, aim: 1.0 };
        for (ours, verdict, missed) in [(40.0, "MISSED", true), (50.0, "met", false), (100.0, "aim met", false)] {
            let mut table = Table::default();
            table.push(Row::rates("work", "rows/s", "reference", &[(ours, 100.0)], limit));
            assert!(table.markdown().contains(verdict), "{}", table.markdown());
            assert_eq!(table.is_missed(), missed, "{ours}");
        }
    }

    #[test]
    fn the_shorter_time_is_the_better_one() {
        let row = Row::times("work", "reference", &[(2.0, 100.0), (1.0, 100.0), (4.0, 100.0)], Limit::None);
        assert_eq!((row.ours.median, row.ratio.least, row.ratio.median, row.ratio.most), (2.0, 25.0, 50.0, 100.0));
    }

    #[test]
    fn a_ceiling_is_judged_by_the_worst_round() {
        let mut table = Table::default();
        table.push(Row::figure("memory", "MiB", [10.0, 41.0, 10.0], Limit::AtMost { must: 40.0, aim: 20.0 }));
        assert!(table.is_missed());
        assert_eq!(table.json()["rows"][0]["verdict"], "MISSED");
    }

    #[test]
    fn what_was_skipped_is_said_aloud() {
        let mut table = Table::default();
        table.skip("no paho-mqtt");
        assert!(table.markdown().contains("SKIPPED: no paho-mqtt"));
    }
}
