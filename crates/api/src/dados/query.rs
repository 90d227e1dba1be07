//! What the query string of `GET /dados` may say, and the link to the next page.

use dados::topic;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::store::Selection;

/// Rows of a page, where the client does not say.
const LIMIT_DEFAULT: u32 = 100;
/// Rows of a page at most.
const LIMIT_MAX: u32 = 10_000;
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

/// Reads the query string. A `+` in it is a plus sign, since people type it; that is why no form decoder is used.
pub(crate) fn parse(query: &str) -> Result<Selection, BadParameter> {
    let (mut topico, mut limit, mut cursor) = (None, None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let bad = |detail: &str| BadParameter::new(name, detail);
        let value = percent_decode_str(value).decode_utf8().map_err(|_| bad("expected UTF-8"))?;
        let is_repeated = match name {
            "topico" => {
                topic::check_name(&value).map_err(|error| bad(&error.to_string()))?;
                topico.replace(value.into_owned()).is_some()
            }
            "limite" => {
                let number = value.parse().ok().filter(|number| (1..=LIMIT_MAX).contains(number));
                limit.replace(number.ok_or_else(|| bad("expected an integer from 1 to 10000"))?).is_some()
            }
            "cursor" => {
                let id = value.parse().ok().filter(|id: &i64| *id > 0);
                cursor.replace(id.ok_or_else(|| bad("expected a cursor from the Link of a page"))?).is_some()
            }
            _ => return Err(bad("unknown parameter; there are topico, limite and cursor")),
        };
        if is_repeated {
            return Err(bad("this parameter is given twice"));
        }
    }
    Ok(Selection { topico, before_id: cursor.unwrap_or(i64::MAX), limit: limit.unwrap_or(LIMIT_DEFAULT) })
}

/// The `Link` of a page whose last row is `last_id`.
pub(crate) fn next_link(selection: &Selection, last_id: i64) -> String {
    let topico = match &selection.topico {
        Some(topico) => format!("&topico={}", utf8_percent_encode(topico, ESCAPED)),
        None => String::new(),
    };
    format!("</dados?limite={}{topico}&cursor={last_id}>; rel=\"next\"", selection.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let selection = parse("").unwrap();
        assert_eq!(selection, Selection { topico: None, before_id: i64::MAX, limit: 100 });
    }

    #[test]
    fn a_link_leads_to_the_same_selection() {
        let first = parse("topico=casa/sala%20%26%20%C3%A7%25&limite=7").unwrap();
        assert_eq!(first.topico.as_deref(), Some("casa/sala & ç%"));
        let link = next_link(&first, 42);
        let query = link.strip_prefix("</dados?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
        assert_eq!(parse(query).unwrap(), Selection { before_id: 42, ..first });
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (query, name) in [
            ("limite=0", "limite"),
            ("limite=10001", "limite"),
            ("limite=", "limite"),
            ("limite=1&limite=1", "limite"),
            ("cursor=x", "cursor"),
            ("topico=", "topico"),
            ("topico=%ff", "topico"),
            ("topico=casa/+", "topico"),
            ("t%C3%B3pico=a", "tópico"),
            ("q", "q"),
        ] {
            assert_eq!(parse(query).unwrap_err().name, name, "{query}");
        }
    }
}
