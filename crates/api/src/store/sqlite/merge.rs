//! The rows of some topics by the index, in the order of their ids: the ids of each topic are put together as they come.

use std::collections::{BinaryHeap, VecDeque};

use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::by_time::TIME;
use super::by_topic;
use super::read::columns;
use super::selection::{End, LOOK_WORK, STATEMENT_WORK, Walk};
use crate::store::{Order, Span};

/// Ids that are read of all topics together, about; of each at least one.
const IDS_AT_ONCE: usize = if cfg!(test) { 4 } else { 2_048 };

/// The ids of one topic that were read and not used yet.
#[derive(Debug, Default)]
struct Source {
    ids: VecDeque<i64>,
    /// Whether the index has no more of them within the span.
    is_done: bool,
}

/// Topics, and the ids that they have in a span.
pub(super) struct Merge<'t> {
    topics: &'t [&'t str],
    sources: Vec<Source>,
    /// The next id of each topic that has one; the greatest rank is the next of all.
    next: BinaryHeap<(i64, usize)>,
    rest: Span,
    /// The id before the next: it may be in the index with two topics, after someone has replaced its row.
    last: Option<i64>,
}

/// What grows the sooner an id comes.
fn rank(order: Order, id: i64) -> i64 {
    match order {
        Order::Ascending => !id,
        Order::Descending => id,
    }
}

impl<'t> Merge<'t> {
    pub(super) fn new(topics: &'t [&'t str], span: Span) -> Self {
        let sources = topics.iter().map(|_| Source::default()).collect();
        Self { topics, sources, next: BinaryHeap::new(), rest: span, last: None }
    }

    /// Takes the rows until there are no more, or the page is full or has cost enough.
    pub(super) async fn go(mut self, conn: &mut SqliteConnection, walk: &mut Walk<'_>) -> Result<End, sqlx::Error> {
        if self.rest.is_empty() {
            return Ok(End::Done);
        }
        let order = walk.selection.order;
        loop {
            let read = self.refill(conn, order, walk.wanted()).await?;
            let ids = self.pop(order, walk.wanted());
            let Some(last) = ids.last().copied() else {
                if self.next.is_empty() && self.sources.iter().all(|source| source.is_done) {
                    return Ok(End::Done);
                }
                continue;
            };
            if !take(conn, walk, &ids).await? {
                return Ok(End::Full);
            }
            self.rest = order.after(self.rest, last);
            if !walk.can_afford((read + ids.len() as u64) * LOOK_WORK + 2 * STATEMENT_WORK) {
                return Ok(End::Tired(last));
            }
        }
    }

    /// Reads on where ids are used up: where the last one came from, the next may too. How many looks that has taken.
    async fn refill(&mut self, conn: &mut SqliteConnection, order: Order, wanted: usize) -> Result<u64, sqlx::Error> {
        let is_empty = |source: &Source| !source.is_done && source.ids.is_empty();
        let empty: Vec<usize> = (0..self.sources.len()).filter(|at| is_empty(&self.sources[*at])).collect();
        if empty.is_empty() {
            return Ok(0);
        }
        let each = (IDS_AT_ONCE / empty.len()).clamp(1, wanted);
        let topics: Vec<&str> = empty.iter().map(|at| self.topics[*at]).collect();
        let found = by_topic::ids(conn, &topics, order, self.rest, each).await?;
        for (at, ids) in empty.iter().zip(found) {
            self.sources[*at].is_done = ids.len() < each;
            self.next.extend(ids.first().map(|id| (rank(order, *id), *at)));
            self.sources[*at].ids = ids.into();
        }
        Ok(empty.len() as u64)
    }

    /// The next ids of all topics: up to where one of them has to be read on.
    fn pop(&mut self, order: Order, wanted: usize) -> Vec<i64> {
        let mut popped = Vec::new();
        while popped.len() < wanted {
            let Some((_, at)) = self.next.pop() else { break };
            let source = &mut self.sources[at];
            let id = source.ids.pop_front();
            if std::mem::replace(&mut self.last, id) != id {
                popped.extend(id);
            }
            match source.ids.front() {
                Some(id) => self.next.push((rank(order, *id), at)),
                None if source.is_done => {}
                None => break,
            }
        }
        popped
    }
}

/// The rows of these ids that are of the time, in the order of the ids.
fn text(bounds: bool) -> String {
    let time = if bounds { format!(" where {TIME} between ?2 and ?3") } else { String::new() };
    format!(
        "select dados.id, {} from json_each(?1) as wanted cross join dados on dados.id = wanted.value{time}",
        columns()
    )
}

/// Takes the rows of these ids; false where the page is full before the last.
async fn take(conn: &mut SqliteConnection, walk: &mut Walk<'_>, ids: &[i64]) -> Result<bool, sqlx::Error> {
    let ids = serde_json::to_string(ids).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mut query = sqlx::query(AssertSqlSafe(text(walk.between.is_some()))).bind(ids);
    if let Some(between) = &walk.between {
        query = query.bind(between.least.clone()).bind(between.greatest.clone());
    }
    let mut selected = query.fetch(conn);
    while let Some(row) = selected.try_next().await? {
        if !walk.take(&row)? {
            return Ok(false);
        }
    }
    Ok(true)
}
