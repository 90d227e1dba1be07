//! In which form the client wants an answer (RFC 9110 §12.5.1): what its headers `accept` say of the forms there are.

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Ndjson,
}

impl Format {
    /// What `formato` calls it.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "csv" => Some(Self::Csv),
            "ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }

    /// Its type and subtype.
    fn media_type(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::Csv => ("text", "csv"),
            Self::Ndjson => ("application", "x-ndjson"),
        }
    }
}

/// The form of `offered` that is wanted most: by its weight, then by how closely it is named, then the one that is
/// offered first, which who says nothing gets. None where no form is wanted.
pub(crate) fn choose(headers: &HeaderMap, offered: &[Format]) -> Option<Format> {
    // What is no text names no form.
    let said: Vec<&str> = headers.get_all(ACCEPT).iter().map(|value| value.to_str().unwrap_or_default()).collect();
    best(&said.join(","), offered)
}

fn best(accept: &str, offered: &[Format]) -> Option<Format> {
    if accept.split(',').all(|range| range.trim().is_empty()) {
        return offered.first().copied();
    }
    let mut best: Option<(Format, Wish)> = None;
    for format in offered {
        let wish = wish(accept, *format).filter(|wish| wish.weight > 0);
        if let Some(wish) = wish.filter(|wish| best.is_none_or(|(_, other)| *wish > other)) {
            best = Some((*format, wish));
        }
    }
    best.map(|(format, _)| format)
}

/// How much a form is wanted; the fields' order is that of their rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wish {
    /// In thousandths.
    weight: u32,
    closeness: Closeness,
}

/// How closely a range names a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Any,
    Type,
    Exact,
}

/// What the range says that names the form most closely; of several such, the first.
fn wish(accept: &str, format: Format) -> Option<Wish> {
    let mut closest: Option<Wish> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';');
        let Some(closeness) = closeness(parts.next().unwrap_or_default(), format) else { continue };
        if closest.is_none_or(|wish| closeness > wish.closeness) {
            closest = Some(Wish { weight: weight(parts), closeness });
        }
    }
    closest
}

fn closeness(range: &str, format: Format) -> Option<Closeness> {
    let (kind, subkind) = range.trim().split_once('/')?;
    let (is_kind, is_subkind) = {
        let (its_kind, its_subkind) = format.media_type();
        (kind.eq_ignore_ascii_case(its_kind), subkind.eq_ignore_ascii_case(its_subkind))
    };
    match (kind, subkind) {
        ("*", "*") => Some(Closeness::Any),
        (_, "*") if is_kind => Some(Closeness::Type),
        _ if is_kind && is_subkind => Some(Closeness::Exact),
        _ => None,
    }
}

/// `q` from 0 to 1, with at most three decimals (§12.4.2). What is no weight wants nothing.
pub(crate) fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> u32 {
    let said = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(said) = said else { return 1_000 };
    let weight = said.parse::<f64>().ok().filter(|weight| (0.0..=1.0).contains(weight));
    // Between 0 and 1,000.
    weight.map_or(0, |weight| (weight * 1_000.0).round() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Format; 3] = [Format::Json, Format::Csv, Format::Ndjson];

    #[test]
    fn the_form_is_the_one_that_is_wanted_most() {
        for (accept, format) in [
            ("", Format::Json),
            (" , ", Format::Json),
            ("*/*", Format::Json),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Json),
            ("application/*", Format::Json),
            ("application/json, text/csv", Format::Json),
            ("text/csv", Format::Csv),
            ("TEXT/CSV;header=present", Format::Csv),
            ("text/*", Format::Csv),
            ("text/csv, */*", Format::Csv),
            ("application/json;q=0.5,text/csv;q=0.9", Format::Csv),
            ("*/*;q=0.1, text/csv;q=0.05", Format::Json),
            ("*/*, application/json;q=0", Format::Csv),
            ("application/x-ndjson", Format::Ndjson),
            ("application/*;q=0.9, application/json;q=0.2", Format::Ndjson),
            ("application/x-ndjson; charset=utf-8; q=1.000 , text/csv; q=0.999", Format::Ndjson),
            ("text/csv;q=x, application/json;q=0.001", Format::Json),
        ] {
            assert_eq!(best(accept, &ALL), Some(format), "{accept}");
        }
    }

    #[test]
    fn what_no_form_fits_has_none() {
        for accept in ["text/html", "application/json;q=0", "text/csv;q=2", "csv", "*", "application/xml, image/*"] {
            assert_eq!(best(accept, &ALL), None, "{accept}");
        }
        assert_eq!(best("application/x-ndjson", &[Format::Json, Format::Csv]), None);
    }

    #[test]
    fn a_header_may_come_in_parts() {
        let mut headers = HeaderMap::new();
        assert_eq!(choose(&headers, &ALL), Some(Format::Json));
        headers.append(ACCEPT, "application/json;q=0.5".parse().unwrap());
        headers.append(ACCEPT, "text/csv".parse().unwrap());
        assert_eq!(choose(&headers, &ALL), Some(Format::Csv));
    }
}
