//! What the query string of `GET /dados` may say, and the link to the next page.

use dados::topic;

use crate::query::{BadParameter, escape, pairs};
use crate::store::Selection;

/// Rows of a page, where the client does not say.
pub(crate) const LIMIT_DEFAULT: u32 = 100;
/// Rows of a page at most.
pub(crate) const LIMIT_MAX: u32 = 10_000;

/// Reads the query string.
pub(crate) fn parse(query: &str) -> Result<Selection, BadParameter> {
    let (mut topico, mut limit, mut cursor) = (None, None, None);
    for pair in pairs(query) {
        let pair = pair?;
        match pair.name {
            "topico" => {
                topic::check_name(&pair.value).map_err(|error| pair.bad(error.to_string()))?;
                pair.keep(&mut topico, pair.value.to_string())?;
            }
            "limite" => pair.keep(&mut limit, pair.limit(LIMIT_MAX)?)?,
            "cursor" => {
                let id = pair.value.parse().ok().filter(|id: &i64| *id > 0);
                pair.keep(&mut cursor, id.ok_or_else(|| pair.bad("expected a cursor from the Link of a page"))?)?;
            }
            _ => return Err(pair.bad("unknown parameter; there are topico, limite and cursor")),
        }
    }
    Ok(Selection { topico, before_id: cursor.unwrap_or(i64::MAX), limit: limit.unwrap_or(LIMIT_DEFAULT) })
}

/// The `Link` of a page whose last row is `last_id`.
pub(crate) fn next_link(selection: &Selection, last_id: i64) -> String {
    let topico = match &selection.topico {
        Some(topico) => format!("&topico={}", escape(topico)),
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
