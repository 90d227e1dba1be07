//! A page of the selected rows: which way to them costs least, and when a page has cost enough.
//!
//! A page is read in one transaction, hence of one snapshot: what the indexes have, and the rows that they do not have
//! yet, one by one. Every way gives the rows in the order of their ids, and a page ends where the next one goes on: with
//! its last row or, where few of many rows are selected, wherever it was when it had cost enough.

use dados::{Dado, topic};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::by_time::{self, Between};
use super::follow::{self, Progress};
use super::merge::Merge;
use super::read::{dado, text};
use super::{by_topic, scan};
use crate::store::{LargeValue, Order, Page, Selection, Span, Wanted};

/// What a page may cost beside its rows, in rows that are looked at one by one: some milliseconds. Here and beside it,
/// tests have smaller numbers, so that few rows come to the limits.
const WORK_MAX: u64 = if cfg!(test) { 256 } else { 24 << 10 };
/// What a selected row may cost.
const WORK_PER_ROW: u64 = 64;
/// What a look into an index and what a row costs that is looked up by its id.
pub(super) const LOOK_WORK: u64 = 16;
/// What a statement costs.
pub(super) const STATEMENT_WORK: u64 = 128;
/// Where one row in so many is selected, the next ones are looked at one by one: an index would cost more.
const DENSE: u64 = 16;

pub(super) fn direction(order: Order) -> &'static str {
    match order {
        Order::Ascending => "asc",
        Order::Descending => "desc",
    }
}

/// Why a part of the way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// There are no more rows on it.
    Done,
    /// The page is full, and there is one more row.
    Full,
    /// The page has cost enough; all up to this id was looked at.
    Tired(i64),
}

/// A page that is being read.
pub(super) struct Walk<'s> {
    pub(super) selection: &'s Selection,
    pub(super) between: Option<Between>,
    rows: Vec<Dado>,
    bytes: usize,
    /// The value of the last row, where it is large.
    large: Option<LargeValue>,
    work_left: u64,
    /// The topics of the filter that the index has, once they are known.
    topics: Option<Known>,
}

#[derive(Debug)]
enum Known {
    These(Vec<String>),
    TooMany,
}

/// Reads a page within a transaction.
pub(super) async fn page(conn: &mut SqliteConnection, selection: &Selection) -> Result<Page, sqlx::Error> {
    let mut walk = Walk::new(selection);
    let end = if selection.filter.is_open() {
        scan::all(conn, &mut walk).await?
    } else {
        let at = follow::progress(conn).await?;
        walk.go(conn, at).await?
    };
    Ok(walk.done(end))
}

impl<'s> Walk<'s> {
    fn new(selection: &'s Selection) -> Self {
        let work_left = WORK_MAX + u64::from(selection.limit) * WORK_PER_ROW;
        let between = Between::new(&selection.filter);
        Self { selection, between, rows: Vec::new(), bytes: 0, large: None, work_left, topics: None }
    }

    /// From run to run of rows that may be of the time, and in each first or last the rows that no topic's index has.
    async fn go(&mut self, conn: &mut SqliteConnection, at: Progress) -> Result<End, sqlx::Error> {
        let order = self.selection.order;
        let mut rest = self.selection.span().and(Span { low: at.oldest_id, high: at.newest_id });
        while !rest.is_empty() {
            let run = match &self.between {
                Some(between) => by_time::next_run(conn, between, order, rest, at.times_until).await?,
                None => Some(rest),
            };
            let Some(run) = run else { break };
            for part in order.split(run, at.topics_until) {
                let end = if self.selection.filter.topics == Wanted::All || part.low > at.topics_until {
                    scan::span(conn, self, part).await?
                } else {
                    self.by_topic(conn, part).await?
                };
                if end != End::Done {
                    return Ok(end);
                }
            }
            let last = order.last(run);
            rest = order.after(rest, last);
            if !self.can_afford(2 * STATEMENT_WORK) && !rest.is_empty() {
                return Ok(End::Tired(last));
            }
        }
        Ok(End::Done)
    }

    /// A part whose rows the index has. Whether a filter's rows are dense is seen by looking at some.
    async fn by_topic(&mut self, conn: &mut SqliteConnection, part: Span) -> Result<End, sqlx::Error> {
        let order = self.selection.order;
        let selection = self.selection;
        let filter = match &selection.filter.topics {
            Wanted::Matching(filter) => filter,
            Wanted::Exactly(topic) => return Merge::new(&[topic], part).go(conn, self).await,
            Wanted::All => return scan::span(conn, self, part).await,
        };
        let (mut rest, mut rows) = (part, scan::WINDOW_ROWS_MIN);
        loop {
            let before = self.rows.len();
            let window = scan::window(conn, order, rest, rows).await?;
            if !scan::rows(conn, self, window).await? {
                return Ok(End::Full);
            }
            let last = order.last(window);
            rest = order.after(rest, last);
            if rest.is_empty() {
                return Ok(End::Done);
            }
            if !self.can_afford(rows) {
                return Ok(End::Tired(last));
            }
            if (self.rows.len() - before) as u64 * DENSE < rows {
                break;
            }
            rows = (2 * rows).min(scan::WINDOW_ROWS_MAX);
        }
        if self.topics.is_none() {
            let (known, looked) = by_topic::matching(conn, filter).await?;
            self.can_afford(looked * LOOK_WORK / 2);
            self.topics = Some(known.map_or(Known::TooMany, Known::These));
        }
        // Taken out, since the walk goes on meanwhile.
        match self.topics.take() {
            Some(Known::These(topics)) => {
                let names: Vec<&str> = topics.iter().map(String::as_str).collect();
                let end = Merge::new(&names, rest).go(conn, self).await;
                self.topics = Some(Known::These(topics));
                end
            }
            too_many => {
                self.topics = too_many;
                scan::span(conn, self, rest).await
            }
        }
    }

    /// How many rows are wanted still, the one included that tells whether there are more.
    pub(super) fn wanted(&self) -> usize {
        self.selection.limit as usize + 1 - self.rows.len()
    }

    /// What the page may cost still.
    pub(super) fn work_left(&self) -> u64 {
        self.work_left
    }

    /// Takes work off what the page may cost; whether anything is left.
    pub(super) fn can_afford(&mut self, work: u64) -> bool {
        self.work_left = self.work_left.saturating_sub(work);
        self.work_left > 0
    }

    /// Takes a row of the right time, if it is of a topic that is wanted: no entry of the index can show a row that is of
    /// another topic by now. False where the page is full: then there is one more.
    pub(super) fn take(&mut self, row: &SqliteRow) -> Result<bool, sqlx::Error> {
        let is_wanted = match &self.selection.filter.topics {
            Wanted::All => true,
            Wanted::Exactly(topic) => text(row, 1)?.is_some_and(|text| text == *topic),
            Wanted::Matching(filter) => text(row, 1)?.is_some_and(|text| topic::matches(filter, &text)),
        };
        if !is_wanted {
            return Ok(true);
        }
        let is_full = self.large.is_some() || self.bytes > self.selection.bytes_max;
        if is_full || self.rows.len() == self.selection.limit as usize {
            return Ok(false);
        }
        let (row, large) = dado(row)?;
        self.bytes += [&row.valor, &row.topico].into_iter().flatten().map(|text| json_bytes(text)).sum::<usize>();
        self.large = large;
        self.rows.push(row);
        Ok(true)
    }

    fn done(self, end: End) -> Page {
        let next_after_id = match end {
            End::Done => None,
            End::Full => self.rows.last().map(|row| row.id),
            End::Tired(id) => Some(id),
        };
        Page { rows: self.rows, large: self.large, next_after_id }
    }
}

/// Bytes of a text as JSON, about: an escape of a control character has six (RFC 8259 §7).
fn json_bytes(text: &str) -> usize {
    let escaped = |byte: u8| match byte {
        ..0x20 => 5,
        b'"' | b'\\' => 1,
        _ => 0,
    };
    text.len() + text.bytes().map(escaped).sum::<usize>()
}

#[cfg(test)]
mod tests;
