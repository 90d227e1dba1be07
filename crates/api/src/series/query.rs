//! What the query string of `GET /series` may say.

use dados::{Timestamp, topic};

use super::step::{POINTS_MAX, Step};
use crate::negotiate::Format;
use crate::query::{BadParameter, BadQuery, NOT_BEFORE, Pair, bound, pairs};
use crate::store::SeriesSelection;

/// The field of a message that has none.
const CAMPO_DEFAULT: &str = "valor";
/// How far the range goes back where the client does not say.
const RANGE_DEFAULT_MS: i64 = 24 * 60 * 60 * 1_000;

/// What is asked for; the range is rounded outward to the step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) selection: SeriesSelection,
    pub(super) step: Step,
    /// Absent where the client does not say: the header `accept` then decides.
    pub(super) format: Option<Format>,
}

/// The parameters as they are said.
#[derive(Default)]
struct Said {
    topico: Option<String>,
    campo: Option<String>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
    step: Option<Step>,
    format: Option<Format>,
}

/// Reads the query string; `now` is where a range ends that has no end.
pub(super) fn parse(query: &str, now: Timestamp) -> Result<Query, BadQuery> {
    let mut said = Said::default();
    for pair in pairs(query) {
        said.take(&pair?, now)?;
    }
    let topico = said.topico.ok_or_else(|| {
        BadParameter::new(
            "topico",
            "topico is missing: expected a topic, or nothing (topico=) for readings without one",
        )
    })?;
    let until = said.until.unwrap_or(now);
    let from = match said.from {
        Some(from) => from,
        None => Timestamp::from_ms(until.as_ms() - RANGE_DEFAULT_MS)
            .map_err(|_| BadParameter::new("ate", bound::EXPECTED))?,
    };
    if from >= until {
        return Err(BadQuery::Together(BadParameter::new("desde", NOT_BEFORE)));
    }
    let step = said.step.unwrap_or_else(|| Step::for_chart(from, until));
    if step.points(from, until) > POINTS_MAX {
        return Err(BadQuery::Together(too_many(said.step, from, until)));
    }
    let (from, until) = step.around(from, until).ok_or_else(|| BadParameter::new("ate", bound::EXPECTED))?;
    let campo = said.campo.unwrap_or_else(|| CAMPO_DEFAULT.to_owned());
    let selection = SeriesSelection { topico, campo, rollup: step.rollup(), from, until };
    Ok(Query { selection, step, format: said.format })
}

impl Said {
    fn take(&mut self, pair: &Pair<'_>, now: Timestamp) -> Result<(), BadParameter> {
        let moment = |moment: Option<Timestamp>| moment.ok_or_else(|| pair.bad(bound::EXPECTED));
        match pair.name {
            "topico" => {
                if !pair.value.is_empty() {
                    topic::check_name(&pair.value).map_err(|error| pair.bad(error.to_string()))?;
                }
                pair.keep(&mut self.topico, pair.value.to_string())
            }
            "campo" => pair.keep(&mut self.campo, pair.value.to_string()),
            "desde" => pair.keep(&mut self.from, moment(bound::from(&pair.value, now))?),
            "ate" => pair.keep(&mut self.until, moment(bound::until(&pair.value, now))?),
            "passo" => {
                let step = Step::from_name(&pair.value);
                pair.keep(&mut self.step, step.ok_or_else(|| pair.bad("expected 1m, 5m, 15m, 1h, 6h or 1d"))?)
            }
            "formato" => {
                let format = Format::from_name(&pair.value).filter(|format| *format != Format::Ndjson);
                pair.keep(&mut self.format, format.ok_or_else(|| pair.bad("expected json or csv"))?)
            }
            _ => Err(pair.bad("unknown parameter; there are topico, campo, desde, ate, passo and formato")),
        }
    }
}

/// Names what to change: the step if a longer one fits, else the range.
fn too_many(said: Option<Step>, from: Timestamp, until: Timestamp) -> BadParameter {
    let fits = match Step::shortest(from, until, POINTS_MAX) {
        Some(step) => format!("the shortest passo that fits this range is {}", step.as_str()),
        None => format!("no passo fits this range, which with 1d may have {POINTS_MAX} days"),
    };
    let name = if said.is_some() { "passo" } else { "desde" };
    BadParameter::new(name, format!("an answer has at most {POINTS_MAX} points; {fits}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Rollup;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn read(query: &str) -> Result<Query, BadQuery> {
        parse(query, at("2026-11-23T03:21:45.678Z"))
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let Query { selection, step, format } = read("topico=casa/sala").unwrap();
        assert_eq!((selection.topico.as_str(), selection.campo.as_str(), format), ("casa/sala", "valor", None));
        assert_eq!((step, selection.rollup), (Step::FiveMinutes, Rollup::Minute));
        assert_eq!((selection.from, selection.until), (at("2026-11-22T03:20:00Z"), at("2026-11-23T03:25:00Z")));
        assert_eq!(read("topico=").unwrap().selection.topico, "");
    }

    #[test]
    fn the_range_is_what_is_said_rounded_to_the_step() {
        for (query, step, from, until) in [
            ("desde=-7d", Step::QuarterHour, "2026-11-16T03:15:00Z", "2026-11-23T03:30:00Z"),
            ("ate=2026-11-20T10:00:00Z", Step::FiveMinutes, "2026-11-19T10:00:00Z", "2026-11-20T10:00:00Z"),
            ("desde=2026-10-01&ate=2026-10-31", Step::Hour, "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("desde=2026-10-01&ate=2026-10-31&passo=1d", Step::Day, "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"),
            ("desde=2026-11-23&ate=2026-11-23", Step::FiveMinutes, "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            ("desde=-30m&passo=6h", Step::SixHours, "2026-11-23T00:00:00Z", "2026-11-23T06:00:00Z"),
            ("desde=-2h&ate=-1h", Step::Minute, "2026-11-23T01:21:00Z", "2026-11-23T02:22:00Z"),
            ("desde=2026-11-23T00:00:00+01:00", Step::Minute, "2026-11-22T23:00:00Z", "2026-11-23T03:22:00Z"),
            ("desde=2026-11-22%2023:00:00", Step::Minute, "2026-11-22T23:00:00Z", "2026-11-23T03:22:00Z"),
            ("desde=2000-01-01", Step::Day, "2000-01-01T00:00:00Z", "2026-11-24T00:00:00Z"),
        ] {
            let read = read(&format!("topico=a&{query}")).unwrap();
            assert_eq!((read.step, read.selection.from, read.selection.until), (step, at(from), at(until)), "{query}");
            assert_eq!(read.selection.rollup, step.rollup());
        }
    }

    #[test]
    fn the_rest_is_taken_as_it_is_said() {
        let query = read("topico=a+b%20c/%C3%A7&campo=sensor.temp+1&formato=csv").unwrap_err();
        assert!(matches!(query, BadQuery::Parameter(bad) if bad.name == "topico"));
        let query = read("topico=a%20c/%C3%A7&campo=sensor.temp+1&formato=csv").unwrap();
        assert_eq!((query.selection.topico.as_str(), query.selection.campo.as_str()), ("a c/ç", "sensor.temp+1"));
        assert_eq!(query.format, Some(Format::Csv));
        assert_eq!(read("topico=a&formato=json").unwrap().format, Some(Format::Json));
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (query, name) in [
            ("", "topico"),
            ("campo=a", "topico"),
            ("topico=a&topico=a", "topico"),
            ("topico=a/%23", "topico"),
            ("topico=%ff", "topico"),
            ("topico=a&campo=a&campo=b", "campo"),
            ("topico=a&desde=ontem", "desde"),
            ("topico=a&desde=", "desde"),
            ("topico=a&desde=-1d&desde=-1d", "desde"),
            ("topico=a&ate=x", "ate"),
            ("topico=a&ate=0000-01-01T00:00:00Z", "ate"),
            ("topico=a&desde=9999-12-30&ate=9999-12-30T21:00:00Z&passo=1d", "ate"),
            ("topico=a&ate=-1d&ate=-1d", "ate"),
            ("topico=a&passo=2h", "passo"),
            ("topico=a&passo=1h&passo=1h", "passo"),
            ("topico=a&formato=xml", "formato"),
            ("topico=a&formato=csv&formato=csv", "formato"),
            ("topico=a&limite=1", "limite"),
            ("topico=a&t%C3%B3pico=1", "tópico"),
        ] {
            match read(query) {
                Err(BadQuery::Parameter(bad)) => assert_eq!(bad.name, name, "{query}"),
                other => panic!("{query}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_range_begins_before_it_ends() {
        for query in ["desde=2026-11-24", "desde=2026-11-20&ate=2026-11-19", "desde=-1h&ate=-1h"] {
            match read(&format!("topico=a&{query}")) {
                Err(BadQuery::Together(bad)) => {
                    assert_eq!((bad.name.as_str(), bad.detail.as_str()), ("desde", NOT_BEFORE))
                }
                other => panic!("{query}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_would_be_too_large_says_what_fits() {
        for (query, name, fits) in [
            ("desde=-7d&passo=1m", "passo", "range is 5m"),
            ("desde=2026-01-01&passo=1m", "passo", "range is 1h"),
            ("desde=2021-01-01&passo=1h", "passo", "range is 6h"),
            ("desde=2000-01-01&passo=6h", "passo", "range is 1d"),
            ("desde=1900-01-01&passo=1d", "passo", "10000 days"),
            ("desde=1900-01-01", "desde", "10000 days"),
        ] {
            match read(&format!("topico=a&{query}")) {
                Err(BadQuery::Together(bad)) => {
                    assert_eq!(bad.name, name, "{query}");
                    assert!(bad.detail.contains(fits), "{query}: {}", bad.detail);
                }
                other => panic!("{query}: {other:?}"),
            }
        }
        // 10,000 are not too many.
        let exact = "topico=a&desde=2026-11-01T00:00:00Z&ate=2026-11-07T22:40:00Z&passo=1m";
        assert!(read(exact).is_ok());
        assert!(read(&exact.replace("22:40:00", "22:40:01")).is_err());
    }
}
