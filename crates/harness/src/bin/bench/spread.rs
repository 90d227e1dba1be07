//! Several measurements of one thing: median and range.

use std::fmt;

use serde_json::{Value, json};

/// The median of a few rounds, with the least and the most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of at least one value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(least), Some(most)) = (values.first(), values.last()) else {
            panic!("a spread of no values");
        };
        Self { median: percentile(&values, 50.0), least: *least, most: *most }
    }

    pub(crate) fn json(self) -> Value {
        json!({ "median": self.median, "least": self.least, "most": self.most })
    }
}

/// The smallest of the sorted values that is no less than so many hundredths of them (nearest rank).
pub(crate) fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: f64| match value.abs() {
            1000.0.. => format!("{value:.0}"),
            100.0.. => format!("{value:.1}"),
            _ => format!("{value:.2}"),
        };
        write!(f, "{} ({}–{})", text(self.median), text(self.least), text(self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(
            (percentile(&sorted, 50.0), percentile(&sorted, 99.0), percentile(&sorted, 100.0)),
            (50.0, 99.0, 100.0)
        );
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
    }

    #[test]
    fn a_spread_shows_its_range() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).to_string(), "2.00 (1.00–3.00)");
        assert_eq!(Spread::of([1234.5]).to_string(), "1234 (1234–1234)");
    }
}
