//! The index of time, which follows the rows: of each block of ids, the least and the greatest time.
//!
//! Rows come nearly in the order of their times. So a block covers little time, and a span of time touches few blocks,
//! which lie together: their rows are read one by one. A block may be wider than its rows, as after a deletion, but no
//! narrower. Rows beyond the cursor are in no block yet, and are read one by one too.

use dados::Timestamp;
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::text::Text;
use crate::store::{Filter, Order, Span};

/// A block has the ids that are the same but for so many bits at their end: 1,024.
const BLOCK_BITS: u32 = 10;
/// The name of its cursor.
pub(super) const NAME: &str = "dados_por_tempo";

/// A row's time as texts compare: `YYYY-MM-DD HH:MM:SS`, with or without decimals. RFC 3339, which only another program
/// can have written, is brought into that form; what is neither is no time, and no span has it. The triggers of
/// migration 7 say the same.
pub(super) const TIME: &str = "case substr(timestamp, 11, 1)
    when ' ' then timestamp when 'T' then strftime('%Y-%m-%d %H:%M:%f', timestamp) end";

/// A span of time as [`TIME`] compares with it: both bounds included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Between {
    pub(super) least: String,
    pub(super) greatest: String,
}

impl Between {
    /// None where the filter does not speak of time.
    pub(super) fn new(filter: &Filter) -> Option<Self> {
        if filter.from.is_none() && filter.until.is_none() {
            return None;
        }
        // Years begin with a digit, and a colon comes after all digits.
        Some(Self {
            least: filter.from.map_or_else(|| "0".to_owned(), least),
            greatest: filter.until.map_or_else(|| ":".to_owned(), greatest),
        })
    }
}

/// The least text of a moment: `03:21:45` comes before `03:21:45.0`, and both mean the same.
fn least(moment: Timestamp) -> String {
    moment.to_sql().trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What comes after all texts of the millisecond before a moment, finer ones included.
fn greatest(moment: Timestamp) -> String {
    // Nothing comes before the first moment.
    Timestamp::from_ms(moment.as_ms() - 1).map_or_else(|_| String::new(), |before| before.to_sql() + ":")
}

/// Takes up the rows after `last_id` up to `until`, which are not of many blocks.
pub(super) fn add_step(text: &mut Text, last_id: i64, until: i64) -> Result<(), sqlx::Error> {
    // A block at a time: all at once would have to be sorted, since SQLite cannot know that blocks grow with ids.
    let statement = format!(
        "insert into dados_por_tempo (bloco, minimo, maximo)
         select ?, min(t), max(t) from (select {TIME} as t from dados where id > ? and id <= ?)
         having min(t) is not null
         on conflict (bloco) do update set minimo = min(minimo, excluded.minimo), maximo = max(maximo, excluded.maximo)"
    );
    let mut after = last_id;
    while after < until {
        let block = (after + 1) >> BLOCK_BITS;
        let end = last_of_block(block).min(until);
        text.say(&statement);
        text.bind(block)?;
        text.bind(after)?;
        text.bind(end)?;
        after = end;
    }
    Ok(())
}

fn last_of_block(block: i64) -> i64 {
    (block << BLOCK_BITS) | ((1 << BLOCK_BITS) - 1)
}

/// The first ids of a span, in an order, among which a row may be of the time: blocks that lie together. None where no
/// row is. `indexed_until` is the cursor.
pub(super) async fn next_run(
    conn: &mut SqliteConnection,
    between: &Between,
    order: Order,
    span: Span,
    indexed_until: i64,
) -> Result<Option<Span>, sqlx::Error> {
    for part in order.split(span, indexed_until) {
        if part.is_empty() {
            continue;
        }
        if part.low > indexed_until {
            return Ok(Some(part));
        }
        let blocks = Span { low: part.low >> BLOCK_BITS, high: part.high >> BLOCK_BITS };
        let Some(first) = find(conn, between, order, blocks, true).await? else { continue };
        let rest = order.after(blocks, first);
        let others = if rest.is_empty() { None } else { find(conn, between, order, rest, false).await? };
        let run = match (others, order) {
            (Some(other), Order::Ascending) => Span { low: first, high: other - 1 },
            (Some(other), Order::Descending) => Span { low: other + 1, high: first },
            (None, Order::Ascending) => Span { low: first, ..blocks },
            (None, Order::Descending) => Span { high: first, ..blocks },
        };
        let ids = Span { low: run.low << BLOCK_BITS, high: last_of_block(run.high) };
        return Ok(Some(ids.and(part)));
    }
    Ok(None)
}

/// The first block of these that touches the time, or the first one that does not.
async fn find(
    conn: &mut SqliteConnection,
    between: &Between,
    order: Order,
    blocks: Span,
    touches: bool,
) -> Result<Option<i64>, sqlx::Error> {
    let query = sqlx::query_scalar(AssertSqlSafe(find_text(order, touches)));
    let query = query.bind(blocks.low).bind(blocks.high).bind(&between.least).bind(&between.greatest);
    query.fetch_optional(conn).await
}

fn find_text(order: Order, touches: bool) -> String {
    let not = if touches { "" } else { "not " };
    let direction = super::selection::direction(order);
    format!(
        "select bloco from dados_por_tempo
         where bloco between ?1 and ?2 and {not}(maximo >= ?3 and minimo <= ?4) order by bloco {direction} limit 1"
    )
}

#[cfg(test)]
mod tests;
