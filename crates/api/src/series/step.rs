//! How long a step is, where it begins, and how minutes and hours become points. All of it is pure.

use dados::{Ponto, Timestamp};

use crate::store::{Numbers, Rollup};

/// Points that an answer has at most.
pub(super) const POINTS_MAX: u64 = 10_000;
/// Points that are enough for a chart: the step that is chosen gives no more, if there is one.
const POINTS_ENOUGH: u64 = 1_000;

const MINUTE_MS: i64 = 60_000;

/// The length of a step, all of which begin at the same moment as a day does, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Minute,
    FiveMinutes,
    QuarterHour,
    Hour,
    SixHours,
    Day,
}

impl Step {
    /// From the shortest to the longest; each is a multiple of the one before.
    pub(crate) const ALL: [Self; 6] =
        [Self::Minute, Self::FiveMinutes, Self::QuarterHour, Self::Hour, Self::SixHours, Self::Day];

    /// Its name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::SixHours => "6h",
            Self::Day => "1d",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == name)
    }

    fn ms(self) -> i64 {
        MINUTE_MS
            * match self {
                Self::Minute => 1,
                Self::FiveMinutes => 5,
                Self::QuarterHour => 15,
                Self::Hour => 60,
                Self::SixHours => 6 * 60,
                Self::Day => 24 * 60,
            }
    }

    /// What its points are made of: the fewest numbers that make them exactly.
    pub(super) fn rollup(self) -> Rollup {
        match self {
            Self::Minute | Self::FiveMinutes | Self::QuarterHour => Rollup::Minute,
            Self::Hour | Self::SixHours | Self::Day => Rollup::Hour,
        }
    }

    /// The beginning of the step that a moment is in.
    fn floor(self, moment: Timestamp) -> i64 {
        moment.as_ms().div_euclid(self.ms()) * self.ms()
    }

    /// The range that takes in all steps from `from` to before `until`; none where it goes beyond what a time can be.
    pub(super) fn around(self, from: Timestamp, until: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let end = self.floor(until);
        let end = if end < until.as_ms() { end + self.ms() } else { end };
        Timestamp::from_ms(self.floor(from)).ok().zip(Timestamp::from_ms(end).ok())
    }

    /// How many steps there are from before `from` to after `until`.
    pub(super) fn points(self, from: Timestamp, until: Timestamp) -> u64 {
        let ms = self.floor(until) - self.floor(from) + if self.floor(until) < until.as_ms() { self.ms() } else { 0 };
        (ms / self.ms()).max(0).unsigned_abs()
    }

    /// The shortest step that gives enough points and no more; else the longest.
    pub(super) fn for_chart(from: Timestamp, until: Timestamp) -> Self {
        Self::shortest(from, until, POINTS_ENOUGH).unwrap_or(Self::Day)
    }

    /// The shortest step that gives no more than so many points.
    pub(super) fn shortest(from: Timestamp, until: Timestamp, points_max: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.points(from, until) <= points_max)
    }
}

/// Puts minutes or hours, which come in the order of time, together into points.
#[derive(Debug)]
pub(super) struct Fold {
    step: Step,
    points: Vec<Ponto>,
    open: Option<Numbers>,
}

impl Fold {
    pub(super) fn new(step: Step) -> Self {
        Self { step, points: Vec::new(), open: None }
    }

    pub(super) fn take(&mut self, numbers: Numbers) {
        let start_ms = self.step.floor(numbers.at);
        match &mut self.open {
            Some(open) if open.at.as_ms() >= start_ms => {
                open.count += numbers.count;
                open.sum += numbers.sum;
                open.least = open.least.min(numbers.least);
                open.most = open.most.max(numbers.most);
            }
            _ => {
                self.close();
                // A step's beginning is a time wherever the step's range is one.
                let at = Timestamp::from_ms(start_ms).unwrap_or(numbers.at);
                self.open = Some(Numbers { at, ..numbers });
            }
        }
    }

    fn close(&mut self) {
        if let Some(Numbers { at, count, sum, least, most }) = self.open.take().filter(|open| open.count > 0) {
            // A mean lies between its numbers, whatever is lost in the last digit of their sum.
            let mean = Some(sum / count as f64).filter(|mean| mean.is_finite()).map(|mean| mean.max(least).min(most));
            self.points.push(Ponto { inicio: at, n: count, media: mean, minimo: least, maximo: most });
        }
    }

    pub(super) fn done(mut self) -> Vec<Ponto> {
        self.close();
        self.points
    }
}

#[cfg(test)]
mod tests;
