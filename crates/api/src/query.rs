//! What all query strings have in common: how they are read, how a link says them again, and what a bad parameter is.
//!
//! - [`bound`]: where a range of time begins and ends

pub(crate) mod bound;

use std::borrow::Cow;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use dados::topic;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::Error;
use crate::store::Wanted;

/// What is wrong with a range without a length.
pub(crate) const NOT_BEFORE: &str = "desde must be before ate, which is now where it is not given";
/// Longest name of a parameter that is repeated to the client, in characters.
const NAME_CHARS_MAX: usize = 64;
/// RFC 3986's unreserved characters, and the slash, which a query may have as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// A parameter that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadParameter {
    pub(crate) name: String,
    pub(crate) detail: String,
}

impl BadParameter {
    /// The parameter `name`, as it stands in the query string, is wrong in this way.
    pub(crate) fn new(name: &str, detail: impl Into<String>) -> Self {
        let name = percent_decode_str(name).decode_utf8_lossy().chars().take(NAME_CHARS_MAX).collect();
        Self { name, detail: detail.into() }
    }
}

/// Of routes that take no parameters: one is as unknown here as elsewhere.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoParameters;

impl<S: Sync> FromRequestParts<S> for NoParameters {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Error> {
        match pairs(parts.uri.query().unwrap_or_default()).next() {
            Some(pair) => Err(pair?.bad("unknown parameter; there are none here").into()),
            None => Ok(Self),
        }
    }
}

/// Why a query string cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadQuery {
    Parameter(BadParameter),
    /// Every parameter is right by itself, and they do not go together.
    Together(BadParameter),
}

impl From<BadParameter> for BadQuery {
    fn from(bad: BadParameter) -> Self {
        Self::Parameter(bad)
    }
}

/// One parameter: its name as it stands in the query string, and what its value says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Cow<'a, str>,
}

/// The parameters of a query string. A `+` in it is a plus sign, since people type it; that is why no form decoder is
/// used.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = Result<Pair<'_>, BadParameter>> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match percent_decode_str(value).decode_utf8() {
            Ok(value) => Ok(Pair { name, value }),
            Err(_) => Err(BadParameter::new(name, "expected UTF-8")),
        }
    })
}

impl Pair<'_> {
    /// This parameter is wrong in this way.
    pub(crate) fn bad(&self, detail: impl Into<String>) -> BadParameter {
        BadParameter::new(self.name, detail)
    }

    /// Keeps what the parameter says; it may say so only once.
    pub(crate) fn keep<T>(&self, slot: &mut Option<T>, said: T) -> Result<(), BadParameter> {
        if slot.replace(said).is_some() { Err(self.bad("this parameter is given twice")) } else { Ok(()) }
    }

    /// A topic's name, or a filter with wildcards.
    pub(crate) fn topics(&self) -> Result<Wanted, BadParameter> {
        let text = &*self.value;
        let bad = |error: topic::InvalidTopic| self.bad(error.to_string());
        if !text.contains(['+', '#']) {
            topic::check_name(text).map_err(bad)?;
            return Ok(Wanted::Exactly(text.to_owned()));
        }
        topic::check_filter(text).map_err(bad)?;
        if text.starts_with("$share/") {
            return Err(self.bad("expected a topic or a filter, and no shared subscription"));
        }
        Ok(Wanted::Matching(text.to_owned()))
    }

    /// How many the client wants at most.
    pub(crate) fn limit(&self, limit_max: u32) -> Result<u32, BadParameter> {
        let number = self.value.parse().ok().filter(|number| (1..=limit_max).contains(number));
        number.ok_or_else(|| self.bad(format!("expected an integer from 1 to {limit_max}")))
    }
}

/// A value as it stands in a query string.
pub(crate) fn escape(value: &str) -> impl std::fmt::Display {
    utf8_percent_encode(value, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Vec<(&str, String)> {
        pairs(query).map(|pair| pair.map(|pair| (pair.name, pair.value.into_owned())).unwrap()).collect()
    }

    #[test]
    fn pairs_are_read_as_people_type_them() {
        assert_eq!(read(""), []);
        assert_eq!(read("&a&b=&c=d=e&"), [("a", ""), ("b", ""), ("c", "d=e")].map(|(n, v)| (n, v.to_owned())));
        assert_eq!(read("a=b+c%20d%2Be"), [("a", "b+c d+e".to_owned())]);
        assert_eq!(pairs("%C3%A9=%ff").next().unwrap().unwrap_err().name, "é");
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        for value in ["casa/sala & ç%+#", "", "a=b", "\0\u{10ffff}"] {
            assert_eq!(read(&format!("x={}", escape(value))), [("x", value.to_owned())], "{value}");
        }
    }

    #[test]
    fn a_limit_is_within_its_bounds() {
        let limit = |value: &str| pairs(value).next().unwrap().unwrap().limit(1000);
        assert_eq!((limit("limite=1"), limit("limite=1000")), (Ok(1), Ok(1000)));
        for value in ["limite=0", "limite=1001", "limite=-1", "limite=", "limite=x", "limite=99999999999"] {
            let bad = limit(value).unwrap_err();
            assert_eq!((bad.name.as_str(), bad.detail.as_str()), ("limite", "expected an integer from 1 to 1000"));
        }
    }

    #[test]
    fn nothing_is_said_twice() {
        let pair = Pair { name: "a", value: "".into() };
        let mut slot = None;
        assert_eq!(pair.keep(&mut slot, 1), Ok(()));
        assert_eq!(pair.keep(&mut slot, 1).unwrap_err().name, "a");
    }
}
