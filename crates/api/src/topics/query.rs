//! What the query string of `GET /topicos` may say, and the link to the next page.

use crate::query::{BadParameter, Pair, escape, pairs};
use crate::store::{TopicSelection, Wanted};

/// Topics of a page, where the client does not say.
pub(crate) const LIMIT_DEFAULT: u32 = 100;
/// Topics of a page at most.
pub(crate) const LIMIT_MAX: u32 = 1_000;

/// Text of a page at most; it ends with the topic that goes beyond.
pub(crate) const PAGE_BYTES_MAX: usize = 1 << 20;

/// Reads the query string.
pub(super) fn parse(query: &str) -> Result<TopicSelection, BadParameter> {
    let (mut wanted, mut limit, mut after) = (None, None, None);
    for pair in pairs(query) {
        let pair = pair?;
        match pair.name {
            "topico" => pair.keep(&mut wanted, topico(&pair)?)?,
            "limite" => pair.keep(&mut limit, pair.limit(LIMIT_MAX)?)?,
            // Any text is before or after a name: there is nothing to check.
            "cursor" => pair.keep(&mut after, pair.value.to_string())?,
            _ => return Err(pair.bad("unknown parameter; there are topico, limite and cursor")),
        }
    }
    let (wanted, limit) = (wanted.unwrap_or(Wanted::All), limit.unwrap_or(LIMIT_DEFAULT));
    Ok(TopicSelection { wanted, after, limit, bytes_max: PAGE_BYTES_MAX })
}

/// A name, a filter with wildcards, or nothing: the messages without a topic.
fn topico(pair: &Pair<'_>) -> Result<Wanted, BadParameter> {
    if pair.value.is_empty() { Ok(Wanted::Exactly(String::new())) } else { pair.topics() }
}

/// The `Link` of a page whose last topic is `last`.
pub(super) fn next_link(selection: &TopicSelection, last: &str) -> String {
    let topico = match &selection.wanted {
        Wanted::All => String::new(),
        Wanted::Exactly(topico) | Wanted::Matching(topico) => format!("&topico={}", escape(topico)),
    };
    format!("</topicos?limite={}{topico}&cursor={}>; rel=\"next\"", selection.limit, escape(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_has_a_default() {
        let all = TopicSelection { wanted: Wanted::All, after: None, limit: 100, bytes_max: PAGE_BYTES_MAX };
        assert_eq!(parse(""), Ok(all));
        // The messages without a topic come first: a page may end with them.
        assert_eq!(parse("cursor=").unwrap().after.as_deref(), Some(""));
    }

    #[test]
    fn a_topic_is_a_name_or_a_filter() {
        for (query, wanted) in [
            ("topico=casa/sala", Wanted::Exactly("casa/sala".into())),
            ("topico=%24share/g/a", Wanted::Exactly("$share/g/a".into())),
            ("topico=", Wanted::Exactly(String::new())),
            ("topico=casa/+/x", Wanted::Matching("casa/+/x".into())),
            ("topico=%23", Wanted::Matching("#".into())),
            ("topico=casa%20a/%2b", Wanted::Matching("casa a/+".into())),
        ] {
            assert_eq!(parse(query).unwrap().wanted, wanted, "{query}");
        }
    }

    #[test]
    fn a_link_leads_to_the_same_selection() {
        for query in ["topico=casa/%2B/%C3%A7%26&limite=7", "limite=7", "topico=%23&limite=7"] {
            let first = parse(query).unwrap();
            for last in ["", "casa/a b & ç+#", "a\0"] {
                let link = next_link(&first, last);
                assert!(link.is_ascii() && !link.contains('\0'), "{link}");
                let query = link.strip_prefix("</topicos?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
                assert_eq!(parse(query).unwrap(), TopicSelection { after: Some(last.into()), ..first.clone() });
            }
        }
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (query, name) in [
            ("limite=0", "limite"),
            ("limite=1001", "limite"),
            ("limite=1&limite=1", "limite"),
            ("cursor=a&cursor=a", "cursor"),
            ("cursor=%ff", "cursor"),
            ("topico=a%23", "topico"),
            ("topico=a+", "topico"),
            ("topico=%23/a", "topico"),
            ("topico=a%00", "topico"),
            ("topico=$share/g/+", "topico"),
            ("topico=a&topico=a", "topico"),
            ("campo=a", "campo"),
        ] {
            assert_eq!(parse(query).unwrap_err().name, name, "{query}");
        }
    }
}
