//! The index of the topics, which follows the rows: it takes them up by the thousand, so that its pages are shared.
//!
//! An index that SQLite keeps dirties a page a topic at every commit; with rows of fifty topics that is more than the
//! rows themselves. This one lags behind, up to a cursor that moves in the same transaction as the entries, and whoever
//! reads by topic looks through the rows beyond the cursor one by one. Both are read of one snapshot, and so the answer
//! is the same at any lag.

use dados::topic;
use futures_util::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::text::Text;
use crate::store::{Order, Span};

/// Topics that one step takes up at most, nearly: each has a page of its own, and a batch may wait for the step.
pub(super) const STEP_TOPICS: i64 = 512;
/// Rows whose topics are counted first. Of 512 rows, half as many topics are no more than [`STEP_TOPICS`] in all, if the
/// rest is like them.
pub(super) const SAMPLE_ROWS: i64 = 512;
/// Topics that are looked at to find those of a filter; where there are more, the rows are looked at instead.
const LOOKED_MAX: usize = if cfg!(test) { 4 } else { 1_024 };
/// The name of its cursor.
pub(super) const NAME: &str = "dados_por_topico";

/// Takes up the rows after `last_id` up to `until`.
pub(super) fn add_step(text: &mut Text, last_id: i64, until: i64) -> Result<(), sqlx::Error> {
    // In the index's order: every page is written once. An entry may be there: see the triggers.
    text.say(
        "insert or ignore into dados_por_topico (topico, dado_id)
         select topico, id from dados where id > ? and id <= ? and topico is not null order by topico, id",
    );
    text.bind(last_id)?;
    text.bind(until)
}

/// Of the rows after `last_id` up to `until`, the last that a step takes up: `sample` tells of the first of them how many
/// there are, up to [`SAMPLE_ROWS`], and of how many topics.
pub(super) async fn end_of_step(
    conn: &mut SqliteConnection,
    last_id: i64,
    until: i64,
    sample: (i64, i64),
) -> Result<i64, sqlx::Error> {
    let (rows, topics) = sample;
    // Where the first rows share their topics, as they nearly always do, the others are not counted.
    if topics <= rows / 2 {
        return Ok(until);
    }
    let count = "select count(*), count(distinct topico) from dados where id > ? and id <= ?";
    let (rows, topics): (i64, i64) = sqlx::query_as(count).bind(last_id).bind(until).fetch_one(&mut *conn).await?;
    if topics <= STEP_TOPICS {
        return Ok(until);
    }
    let last = "select max(id) from (select id from dados where id > ? order by id limit 0 + ?)";
    // Never none: there are at least as many rows as topics.
    sqlx::query_scalar(last).bind(last_id).bind(rows * STEP_TOPICS / topics).fetch_one(conn).await
}

/// From topic to topic, each by a look into the index; a blob, which only another program can have written, comes after
/// any text.
const TOPICS: &str = "with recursive topic (name) as (
        select min(topico) from dados_por_topico where topico >= ?1 and topico < x''
        union all
        select (select min(topico) from dados_por_topico where topico > name and topico < x'') from topic
        where name is not null
    )
    select cast(name as blob) from topic where name is not null limit ?2";

/// The topics of a filter that the index has, none where too many others are among them; and how many were looked at.
pub(super) async fn matching(
    conn: &mut SqliteConnection,
    filter: &str,
) -> Result<(Option<Vec<String>>, u64), sqlx::Error> {
    let prefix = topic::literal_prefix(filter);
    let mut looked = sqlx::query(TOPICS).bind(prefix).bind(LOOKED_MAX as i64 + 1).fetch(conn);
    let (mut topics, mut count) = (Vec::new(), 0);
    while let Some(row) = looked.try_next().await? {
        // Bytes that are no UTF-8 are no topic.
        let Ok(name) = str::from_utf8(row.try_get(0)?) else { continue };
        if !name.starts_with(prefix) {
            break;
        }
        count += 1;
        if count > LOOKED_MAX {
            return Ok((None, count as u64));
        }
        if topic::matches(filter, name) {
            topics.push(name.to_owned());
        }
    }
    Ok((Some(topics), count as u64))
}

/// The first ids of each topic, in an order: the topics are a JSON array; of each, its place there and an array of ids.
fn ids_text(order: Order) -> String {
    let direction = super::selection::direction(order);
    format!(
        "select wanted.key, (
             select json_group_array(dado_id) from (
                 select dado_id from dados_por_topico
                 where topico = wanted.value and dado_id between ?2 and ?3 order by dado_id {direction} limit ?4))
         from json_each(?1) as wanted"
    )
}

/// The first ids of each topic within a span, at most `each`.
pub(super) async fn ids(
    conn: &mut SqliteConnection,
    topics: &[&str],
    order: Order,
    span: Span,
    each: usize,
) -> Result<Vec<Vec<i64>>, sqlx::Error> {
    let decode = |error: serde_json::Error| sqlx::Error::Decode(error.into());
    let names = serde_json::to_string(topics).map_err(decode)?;
    let query = sqlx::query_as(AssertSqlSafe(ids_text(order)));
    let query = query.bind(names).bind(span.low).bind(span.high).bind(each as i64);
    let mut found = vec![Vec::new(); topics.len()];
    for (place, ids) in query.fetch_all(conn).await? {
        let (place, ids): (i64, String) = (place, ids);
        if let Some(found) = usize::try_from(place).ok().and_then(|place| found.get_mut(place)) {
            *found = serde_json::from_str(&ids).map_err(decode)?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
