//! What the query string of `GET /dados` may say, and the link to the next page.

use dados::Timestamp;

use crate::negotiate::Format;
use crate::query::{BadParameter, BadQuery, NOT_BEFORE, Pair, bound, escape, pairs};
use crate::store::{Filter, Order, Selection, Wanted};

/// Rows of a page, where the client does not say.
pub(crate) const LIMIT_DEFAULT: u32 = 100;
/// Rows of a page at most; a file has as many as are wanted.
pub(crate) const LIMIT_MAX: u32 = 10_000;
/// Text of a page at most; it ends with the row that goes beyond, or whose value is large.
pub(super) const PAGE_BYTES_MAX: usize = 2 << 20;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) filter: Filter,
    pub(super) order: Order,
    /// Only rows that come after this id in the order.
    pub(super) after_id: Option<i64>,
    pub(super) limit: Option<u64>,
    /// Absent where the client does not say: the header `accept` then decides.
    pub(super) format: Option<Format>,
}

/// The parameters as they are said.
#[derive(Default)]
struct Said {
    topics: Option<Wanted>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    order: Option<Order>,
    after_id: Option<i64>,
    limit: Option<u64>,
    format: Option<Format>,
}

/// Reads the query string; `now` is what a time before now is before.
pub(super) fn parse(query: &str, now: Timestamp) -> Result<Query, BadQuery> {
    let mut said = Said::default();
    for pair in pairs(query) {
        said.take(&pair?, now)?;
    }
    let Said { topics, from, until, order, after_id, limit, format } = said;
    if let (Some(from), Some(until)) = (from, until)
        && from >= until
    {
        return Err(BadQuery::Together(BadParameter::new("desde", NOT_BEFORE)));
    }
    let filter = Filter { topics: topics.unwrap_or(Wanted::All), from, until };
    Ok(Query { filter, order: order.unwrap_or(Order::Descending), after_id, limit, format })
}

impl Said {
    fn take(&mut self, pair: &Pair<'_>, now: Timestamp) -> Result<(), BadParameter> {
        let moment = |moment: Option<Timestamp>| moment.ok_or_else(|| pair.bad(bound::EXPECTED));
        match pair.name {
            "topico" => pair.keep(&mut self.topics, pair.topics()?),
            "desde" => pair.keep(&mut self.from, moment(bound::from(&pair.value, now))?),
            "ate" => pair.keep(&mut self.until, moment(bound::until(&pair.value, now))?),
            "ordem" => {
                let order = match &*pair.value {
                    "asc" => Order::Ascending,
                    "desc" => Order::Descending,
                    _ => return Err(pair.bad("expected asc or desc")),
                };
                pair.keep(&mut self.order, order)
            }
            "limite" => {
                let limit = pair.value.parse().ok().filter(|limit: &u64| *limit > 0);
                pair.keep(&mut self.limit, limit.ok_or_else(|| pair.bad(limit_expected()))?)
            }
            "cursor" => {
                let id = pair.value.parse().ok();
                pair.keep(&mut self.after_id, id.ok_or_else(|| pair.bad("expected a cursor from the Link of a page"))?)
            }
            "formato" => {
                let format = Format::from_name(&pair.value);
                pair.keep(&mut self.format, format.ok_or_else(|| pair.bad("expected json, csv or ndjson"))?)
            }
            _ => Err(pair.bad("unknown parameter; there are topico, desde, ate, ordem, limite, cursor and formato")),
        }
    }
}

fn limit_expected() -> String {
    format!("expected an integer from 1 to {LIMIT_MAX}; with formato=csv or ndjson, any from 1 on")
}

impl Query {
    /// The rows of a page, which has so many bytes of text at most.
    pub(super) fn page(&self, bytes_max: usize) -> Result<Selection, BadParameter> {
        let limit = match self.limit {
            None => LIMIT_DEFAULT,
            Some(limit) => u32::try_from(limit)
                .ok()
                .filter(|limit| *limit <= LIMIT_MAX)
                .ok_or_else(|| BadParameter::new("limite", limit_expected()))?,
        };
        Ok(Selection {
            filter: self.filter.clone(),
            order: self.order,
            after_id: self.after_id,
            newest_id: None,
            limit,
            bytes_max,
        })
    }

    /// The `Link` to the page that comes after `id`. A time before now is in it as the moment that it was, so that all
    /// pages are of the same time.
    pub(super) fn next_link(&self, id: i64) -> String {
        let mut query = format!("limite={}", self.limit.unwrap_or(LIMIT_DEFAULT.into()));
        let mut say = |name: &str, value: &str| {
            query.push_str(&format!("&{name}={}", escape(value)));
        };
        match &self.filter.topics {
            Wanted::All => {}
            Wanted::Exactly(topic) | Wanted::Matching(topic) => say("topico", topic),
        }
        for (name, moment) in [("desde", self.filter.from), ("ate", self.filter.until)] {
            if let Some(moment) = moment {
                say(name, &moment.to_string());
            }
        }
        if self.order == Order::Ascending {
            say("ordem", "asc");
        }
        if self.format == Some(Format::Json) {
            say("formato", "json");
        }
        say("cursor", &id.to_string());
        format!("</dados?{query}>; rel=\"next\"")
    }
}

#[cfg(test)]
mod tests;
