//! Which rows of `dados` to read, in which order, and how far.

use dados::{Dado, Timestamp};

use super::Wanted;

/// Which rows to read, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) filter: Filter,
    pub(crate) order: Order,
    /// Only rows that come after this id in the order.
    pub(crate) after_id: Option<i64>,
    /// No row with a greater id, in either order.
    pub(crate) newest_id: Option<i64>,
    /// At most so many.
    pub(crate) limit: u32,
    /// Text of the rows; the one that goes beyond is the last. So is a row whose value is a [`LargeValue`].
    pub(crate) bytes_max: usize,
}

/// A value of more than [`LARGE_VALUE_BYTES`], which is left in the database: its row is read without it, and
/// `Reader::piece` reads it a piece at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LargeValue {
    /// Its row.
    pub(crate) id: i64,
    pub(crate) bytes: usize,
}

/// The largest value that is read with its row. SQLite, the driver, the row and its JSON have a copy each, and the driver
/// reads some rows ahead.
pub(crate) const LARGE_VALUE_BYTES: usize = 256 << 10;

/// What the rows have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) topics: Wanted,
    /// Captured at this moment or later.
    pub(crate) from: Option<Timestamp>,
    /// Captured before this moment.
    pub(crate) until: Option<Timestamp>,
}

/// Which ids come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

/// What was selected, as far as one page goes.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Dado>,
    /// The value of the last row, where it is large.
    pub(crate) large: Option<LargeValue>,
    /// The `after_id` of the page that comes next; none where nothing more is selected. Where the rows that were looked at
    /// have cost as much as a page may, it comes before the page is full.
    pub(crate) next_after_id: Option<i64>,
}

/// Ids from `low` to `high`, both included; none where `low` is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) low: i64,
    pub(crate) high: i64,
}

impl Span {
    /// The empty one.
    const NONE: Self = Self { low: i64::MAX, high: i64::MIN };

    pub(crate) fn is_empty(self) -> bool {
        self.low > self.high
    }

    /// How many ids there are.
    pub(crate) fn ids(self) -> u64 {
        if self.is_empty() { 0 } else { self.high.abs_diff(self.low).saturating_add(1) }
    }

    /// The ids that both have.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }

    /// The ids up to `id`.
    pub(crate) fn up_to(self, id: i64) -> Self {
        Self { high: self.high.min(id), ..self }
    }

    /// The ids beyond `id`.
    pub(crate) fn beyond(self, id: i64) -> Self {
        match id.checked_add(1) {
            Some(next) => Self { low: self.low.max(next), ..self },
            None => Self::NONE,
        }
    }

    /// The ids below `id`.
    pub(crate) fn below(self, id: i64) -> Self {
        id.checked_sub(1).map_or(Self::NONE, |before| self.up_to(before))
    }
}

impl Order {
    /// What comes after `id` in this order.
    pub(crate) fn after(self, span: Span, id: i64) -> Span {
        match self {
            Self::Ascending => span.beyond(id),
            Self::Descending => span.below(id),
        }
    }

    /// The last id of a span that is not empty, in this order.
    pub(crate) fn last(self, span: Span) -> i64 {
        match self {
            Self::Ascending => span.high,
            Self::Descending => span.low,
        }
    }

    /// The ids up to `id` and those beyond, in this order: one part may be empty.
    pub(crate) fn split(self, span: Span, id: i64) -> [Span; 2] {
        match self {
            Self::Ascending => [span.up_to(id), span.beyond(id)],
            Self::Descending => [span.beyond(id), span.up_to(id)],
        }
    }

    /// What the part of a span that begins where it does and ends with `id` is, in this order.
    pub(crate) fn through(self, span: Span, id: i64) -> Span {
        match self {
            Self::Ascending => span.up_to(id),
            Self::Descending => Span { low: span.low.max(id), ..span },
        }
    }
}

impl Filter {
    /// Whether every row passes.
    pub(crate) fn is_open(&self) -> bool {
        self.topics == Wanted::All && self.from.is_none() && self.until.is_none()
    }
}

impl Selection {
    /// The ids that rows may have.
    pub(crate) fn span(&self) -> Span {
        let all = Span { low: i64::MIN, high: self.newest_id.unwrap_or(i64::MAX) };
        self.after_id.map_or(all, |id| self.order.after(all, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(low: i64, high: i64) -> Span {
        Span { low, high }
    }

    #[test]
    fn a_span_is_split_and_followed_in_either_order() {
        use Order::{Ascending, Descending};
        assert_eq!(Ascending.split(span(1, 9), 4), [span(1, 4), span(5, 9)]);
        assert_eq!(Descending.split(span(1, 9), 4), [span(5, 9), span(1, 4)]);
        assert_eq!((Ascending.after(span(1, 9), 4), Descending.after(span(1, 9), 4)), (span(5, 9), span(1, 3)));
        assert_eq!((Ascending.through(span(1, 9), 4), Descending.through(span(1, 9), 4)), (span(1, 4), span(4, 9)));
        assert_eq!((Ascending.last(span(1, 9)), Descending.last(span(1, 9))), (9, 1));
    }

    #[test]
    fn there_is_nothing_beyond_the_last_id() {
        let all = span(i64::MIN, i64::MAX);
        assert!(Order::Ascending.after(all, i64::MAX).is_empty());
        assert!(Order::Descending.after(all, i64::MIN).is_empty());
        assert_eq!((all.ids(), Span::NONE.ids(), span(3, 3).ids()), (u64::MAX, 0, 1));
        assert_eq!(span(1, 5).and(span(3, 9)), span(3, 5));
        assert!(span(1, 2).and(span(3, 9)).is_empty());
    }
}
