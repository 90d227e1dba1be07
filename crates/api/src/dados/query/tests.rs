//! What is said is what is selected, and a link says it again.

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn read(query: &str) -> Result<Query, BadParameter> {
    let named = |bad| match bad {
        BadQuery::Parameter(bad) | BadQuery::Together(bad) => bad,
    };
    parse(query, at("2026-11-23T03:21:45.678Z")).map_err(named)
}

#[test]
fn what_is_not_said_has_a_default() {
    let query = read("").unwrap();
    let filter = Filter { topics: Wanted::All, from: None, until: None };
    assert_eq!(query, Query { filter, order: Order::Descending, after_id: None, limit: None, format: None });
    assert_eq!(query.page(PAGE_BYTES_MAX).unwrap().limit, 100);
}

#[test]
fn the_rest_is_taken_as_it_is_said() {
    let query = read("topico=casa/+/luz&desde=-24h&ate=2026-11-22&ordem=asc&limite=7&cursor=42&formato=csv").unwrap();
    assert_eq!(query.filter.topics, Wanted::Matching("casa/+/luz".to_owned()));
    let range = (query.filter.from, query.filter.until);
    assert_eq!(range, (Some(at("2026-11-22T03:21:45.678Z")), Some(at("2026-11-23T00:00:00Z"))));
    assert_eq!((query.order, query.after_id, query.limit), (Order::Ascending, Some(42), Some(7)));
    assert_eq!(query.format, Some(Format::Csv));
    assert_eq!(read("topico=%23").unwrap().filter.topics, Wanted::Matching("#".to_owned()));
    assert_eq!(read("topico=casa/sala").unwrap().filter.topics, Wanted::Exactly("casa/sala".to_owned()));
    assert_eq!(read("ordem=desc&formato=ndjson").unwrap().format, Some(Format::Ndjson));
}

#[test]
fn a_link_leads_to_the_same_selection() {
    for query in [
        "limite=7&topico=casa/sala%20%26%20%C3%A7%25",
        "limite=100&topico=casa/%2B/%23&ordem=asc",
        "limite=1&desde=2026-11-22T03:21:45.678Z&ate=2026-11-23&formato=json",
        "limite=10000&ate=2026-11-23T00:00:00-03:00",
    ] {
        let first = read(query).unwrap();
        for id in [42, 0, i64::MIN, i64::MAX] {
            let link = first.next_link(id);
            assert!(link.is_ascii(), "{link}");
            let next = link.strip_prefix("</dados?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            assert_eq!(read(next).unwrap(), Query { after_id: Some(id), ..first.clone() });
        }
    }
}

#[test]
fn a_time_before_now_is_the_same_on_every_page() {
    let link = read("desde=-24h&ate=-1h").unwrap().next_link(1);
    let next = link.strip_prefix("</dados?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let later = parse(next, at("2026-11-23T04:00:00Z")).unwrap().filter;
    assert_eq!(later.from, Some(at("2026-11-22T03:21:45.678Z")));
    assert_eq!(later.until, Some(at("2026-11-23T02:21:45.678Z")));
}

#[test]
fn a_page_is_limited_and_a_file_is_not() {
    for (limit, is_page) in [("1", true), ("10000", true), ("10001", false), ("18446744073709551615", false)] {
        let query = read(&format!("limite={limit}")).unwrap();
        assert_eq!(query.page(PAGE_BYTES_MAX).is_ok(), is_page, "{limit}");
        assert_eq!(query.limit, limit.parse().ok());
    }
    assert_eq!(read("limite=10001").unwrap().page(PAGE_BYTES_MAX).unwrap_err().name, "limite");
}

#[test]
fn a_bad_parameter_is_named() {
    for (query, name) in [
        ("limite=0", "limite"),
        ("limite=", "limite"),
        ("limite=-1", "limite"),
        ("limite=99999999999999999999", "limite"),
        ("limite=1&limite=1", "limite"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("topico=", "topico"),
        ("topico=%ff", "topico"),
        ("topico=casa+", "topico"),
        ("topico=%23/casa", "topico"),
        ("topico=$share/g/%23", "topico"),
        ("topico=a&topico=a", "topico"),
        ("desde=ontem", "desde"),
        ("desde=-1d&desde=-1d", "desde"),
        ("desde=-1h&ate=-1h", "desde"),
        ("desde=2026-11-23&ate=2026-11-22", "desde"),
        ("ate=2026-13-01", "ate"),
        ("ate=-1h&ate=-1h", "ate"),
        ("ordem=id", "ordem"),
        ("ordem=", "ordem"),
        ("ordem=asc&ordem=asc", "ordem"),
        ("formato=xml", "formato"),
        ("formato=csv&formato=csv", "formato"),
        ("t%C3%B3pico=a", "tópico"),
        ("q", "q"),
    ] {
        assert_eq!(read(query).unwrap_err().name, name, "{query}");
    }
}

#[test]
fn what_is_right_alone_and_not_together_is_told_apart() {
    let now = at("2026-11-23T03:21:45.678Z");
    assert!(matches!(parse("desde=-1h&ate=-2h", now), Err(BadQuery::Together(_))));
    assert!(matches!(parse("desde=x&ate=-2h", now), Err(BadQuery::Parameter(_))));
}
