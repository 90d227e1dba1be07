//! Rows looked at one by one, in the order of their ids: a window at a time, whose end is known before.

use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments as _, AssertSqlSafe, SqliteConnection};

use super::by_time::TIME;
use super::read::columns;
use super::selection::{End, Walk, direction};
use crate::store::{Order, Span, Wanted};

/// Rows of the first window, and of the largest: each is four times as large as the one before.
pub(super) const WINDOW_ROWS_MIN: u64 = if cfg!(test) { 2 } else { 1_024 };
pub(super) const WINDOW_ROWS_MAX: u64 = if cfg!(test) { 4 } else { 16_384 };
/// Wildcards and bytes of a pattern: beyond, it takes in more than it should, and each row is looked at again.
const PATTERN_STARS_MAX: usize = 8;
const PATTERN_BYTES_MAX: usize = 4_096;

/// Every row, where none is left out.
pub(super) async fn all(conn: &mut SqliteConnection, walk: &mut Walk<'_>) -> Result<End, sqlx::Error> {
    let is_done = rows(conn, walk, walk.selection.span()).await?;
    Ok(if is_done { End::Done } else { End::Full })
}

/// The selected rows of a span.
pub(super) async fn span(conn: &mut SqliteConnection, walk: &mut Walk<'_>, span: Span) -> Result<End, sqlx::Error> {
    let order = walk.selection.order;
    let (mut rest, mut rows_max) = (span, WINDOW_ROWS_MIN);
    while !rest.is_empty() {
        let window = window(conn, order, rest, rows_max).await?;
        if !rows(conn, walk, window).await? {
            return Ok(End::Full);
        }
        let last = order.last(window);
        rest = order.after(rest, last);
        if !walk.can_afford(window.ids().min(rows_max)) && !rest.is_empty() {
            return Ok(End::Tired(last));
        }
        rows_max = (4 * rows_max).min(WINDOW_ROWS_MAX).min(walk.work_left()).max(WINDOW_ROWS_MIN);
    }
    Ok(End::Done)
}

/// The begin of a span that has at most so many rows.
pub(super) async fn window(
    conn: &mut SqliteConnection,
    order: Order,
    span: Span,
    rows_max: u64,
) -> Result<Span, sqlx::Error> {
    if span.ids() <= rows_max {
        return Ok(span);
    }
    let direction = direction(order);
    let sql = format!("select id from dados where id between ? and ? order by id {direction} limit 1 offset ?");
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(span.low).bind(span.high);
    let last: Option<i64> = query.bind(rows_max.cast_signed() - 1).fetch_optional(conn).await?;
    Ok(last.map_or(span, |id| order.through(span, id)))
}

/// Looks at the rows of a span; false where the page is full before its end.
pub(super) async fn rows(conn: &mut SqliteConnection, walk: &mut Walk<'_>, span: Span) -> Result<bool, sqlx::Error> {
    if span.is_empty() {
        return Ok(true);
    }
    let (topics, bounds) = (&walk.selection.filter.topics, walk.between.is_some());
    let sql = text(topics, bounds, walk.selection.order);
    let mut arguments = SqliteArguments::default();
    let add = |result: Result<(), sqlx::error::BoxDynError>| result.map_err(sqlx::Error::Encode);
    add(arguments.add(span.low))?;
    add(arguments.add(span.high))?;
    match topics {
        Wanted::All => {}
        Wanted::Exactly(topic) => add(arguments.add(topic.clone()))?,
        Wanted::Matching(filter) => add(arguments.add(pattern(filter)))?,
    }
    if let Some(between) = &walk.between {
        add(arguments.add(between.least.clone()))?;
        add(arguments.add(between.greatest.clone()))?;
    }
    let mut selected = sqlx::query_with(AssertSqlSafe(sql), arguments).fetch(conn);
    while let Some(row) = selected.try_next().await? {
        if !walk.take(&row)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The rows of a span. Where a filter has wildcards, some more: see [`pattern`].
fn text(topics: &Wanted, bounds: bool, order: Order) -> String {
    let topic = match topics {
        Wanted::All => "",
        Wanted::Exactly(_) => " and topico = ? collate binary",
        Wanted::Matching(_) => " and topico glob ?",
    };
    let time = if bounds { format!(" and {TIME} between ? and ?") } else { String::new() };
    let direction = direction(order);
    let columns = columns();
    format!("select id, {columns} from dados where id between ? and ?{topic}{time} order by id {direction}")
}

/// A pattern of SQLite that has all topics of a filter, and others whose levels are other ones.
fn pattern(filter: &str) -> String {
    let (mut pattern, mut stars) = (String::new(), 0);
    // `a/#` takes in `a` too.
    let levels = filter.strip_suffix("/#").map_or(filter, |levels| levels);
    for char in levels.chars() {
        if stars == PATTERN_STARS_MAX || pattern.len() > PATTERN_BYTES_MAX {
            break;
        }
        match char {
            '+' | '#' => {
                pattern.push('*');
                stars += 1;
            }
            '*' | '?' | '[' => pattern.extend(['[', char, ']']),
            _ => pattern.push(char),
        }
    }
    let is_whole = stars < PATTERN_STARS_MAX && pattern.len() <= PATTERN_BYTES_MAX && levels.len() == filter.len();
    if !is_whole {
        pattern.push('*');
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_in_what_the_filter_does() {
        for (filter, expected) in [
            ("casa/+/luz", "casa/*/luz"),
            ("casa/#", "casa*"),
            ("#", "*"),
            ("+/#", "**"),
            ("+", "*"),
            ("a*?[b]/+", "a[*][?][[]b]/*"),
            ("$SYS/#", "$SYS*"),
        ] {
            assert_eq!(pattern(filter), expected, "{filter}");
        }
        assert_eq!(pattern(&format!("{}a", "+/".repeat(20_000))), format!("{}*", "*/".repeat(7) + "*"));
        assert!(pattern(&"[".repeat(65_000)).len() < 4_200);
    }
}
