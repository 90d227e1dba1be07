//! MQTT's rules for topic names and filters (MQTT 5.0 §4.7).

/// The longest topic, in bytes of UTF-8 (§1.5.4).
pub const TOPIC_BYTES_MAX: usize = 65_535;

/// Why a text is no topic; meant for the person who wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopic {
    /// [MQTT-4.7.3-1]
    #[error("a topic has at least one character")]
    Empty,
    /// [MQTT-4.7.3-3]
    #[error("a topic has at most 65535 bytes")]
    TooLong,
    /// [MQTT-4.7.3-2]
    #[error("a topic has no null character")]
    Null,
    /// [MQTT-3.3.2-2]
    #[error("a topic name has no wildcard (+ or #)")]
    Wildcard,
    /// [MQTT-4.7.1-1]
    #[error("# stands alone in the last level of a filter")]
    Hash,
    /// [MQTT-4.7.1-2]
    #[error("+ stands alone in its level of a filter")]
    Plus,
    /// [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    #[error("a shared subscription is $share/group/filter; the group has no +, # or /")]
    Share,
}

/// Checks a topic name, as one publishes to.
pub fn check_name(topic: &str) -> Result<(), InvalidTopic> {
    check_text(topic)?;
    if topic.contains(['+', '#']) { Err(InvalidTopic::Wildcard) } else { Ok(()) }
}

/// Checks a topic filter, as one subscribes to, `$share/group/filter` included.
pub fn check_filter(filter: &str) -> Result<(), InvalidTopic> {
    check_text(filter)?;
    if let Some(shared) = filter.strip_prefix("$share/") {
        let (group, inner) = shared.split_once('/').ok_or(InvalidTopic::Share)?;
        if group.is_empty() || group.contains(['+', '#']) || inner.is_empty() {
            return Err(InvalidTopic::Share);
        }
        return check_levels(inner);
    }
    check_levels(filter)
}

/// Whether a topic is among those that a filter selects (§4.7). Both are taken as valid, the filter without a
/// `$share/group/` before it: the group is no part of what it selects.
///
/// `+` stands for any one level, an empty one too; `#` for any levels to come, none too, so that `a/#` has `a` in it.
/// Neither stands for a first level that begins with `$`, where servers keep topics of their own [MQTT-4.7.2-1].
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

/// What every topic that a filter selects begins with.
pub fn literal_prefix(filter: &str) -> &str {
    let literal = &filter[..filter.find(['+', '#']).unwrap_or(filter.len())];
    // `a/#` takes in `a` too.
    if filter[literal.len()..].starts_with('#') { literal.strip_suffix('/').unwrap_or(literal) } else { literal }
}

fn check_text(topic: &str) -> Result<(), InvalidTopic> {
    if topic.is_empty() {
        Err(InvalidTopic::Empty)
    } else if topic.len() > TOPIC_BYTES_MAX {
        Err(InvalidTopic::TooLong)
    } else if topic.contains('\0') {
        Err(InvalidTopic::Null)
    } else {
        Ok(())
    }
}

fn check_levels(filter: &str) -> Result<(), InvalidTopic> {
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains('#') && (level != "#" || levels.peek().is_some()) {
            return Err(InvalidTopic::Hash);
        }
        if level.contains('+') && level != "+" {
            return Err(InvalidTopic::Plus);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn filters_follow_the_standard() {
        for filter in ["#", "+", "a/#", "+/+/#", "/", "a//b", "$SYS/#", "$share/g/a/+", "/+", "ção/ü ñ"] {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
        for (filter, error) in [
            ("", InvalidTopic::Empty),
            ("a\0", InvalidTopic::Null),
            ("a#", InvalidTopic::Hash),
            ("#/a", InvalidTopic::Hash),
            ("a/b+", InvalidTopic::Plus),
            ("$share/g", InvalidTopic::Share),
            ("$share//a", InvalidTopic::Share),
            ("$share/+/a", InvalidTopic::Share),
            ("$share/g/", InvalidTopic::Share),
        ] {
            assert_eq!(check_filter(filter), Err(error), "{filter}");
        }
        assert_eq!(check_filter(&"a".repeat(TOPIC_BYTES_MAX + 1)), Err(InvalidTopic::TooLong));
    }

    #[test]
    fn names_have_no_wildcards() {
        assert_eq!(check_name("casa/sala"), Ok(()));
        assert_eq!(check_name("casa/+"), Err(InvalidTopic::Wildcard));
        assert_eq!(check_name("casa/#"), Err(InvalidTopic::Wildcard));
    }

    #[test]
    fn filters_select_as_the_standard_says() {
        for (filter, topics, others) in [
            ("a/b", &["a/b"][..], &["a", "a/b/c", "A/b", "a/b/", "/a/b"][..]),
            ("#", &["a", "a/b", "/", "/a", "a//b"], &["$SYS", "$SYS/a", "$"]),
            ("+", &["a"], &["a/b", "/", "/a", "$SYS"]),
            ("+/+", &["a/b", "/", "/a", "a/"], &["a", "a/b/c", "$SYS/a"]),
            ("/+", &["/a", "/", "/$a"], &["a", "a/b", "/a/b"]),
            ("+/#", &["a", "a/b", "/", "/a/b"], &["$SYS", "$SYS/a"]),
            ("a/#", &["a", "a/", "a/b", "a/b/c", "a/$b"], &["b", "ab", "ab/c", "/a"]),
            ("a/+/#", &["a/b", "a/", "a/b/c"], &["a", "b/a"]),
            ("a/+/c", &["a/b/c", "a//c", "a/$b/c"], &["a/c", "a/b/b/c", "a/b/c/d"]),
            ("a/+", &["a/b", "a/"], &["a", "a/b/c"]),
            ("$SYS/#", &["$SYS", "$SYS/a", "$SYS/a/b"], &["SYS/a", "$SYSa"]),
            ("$SYS/+", &["$SYS/a"], &["$SYS", "$SYS/a/b"]),
            ("casa/ção/+", &["casa/ção/ü"], &["casa/cao/ü"]),
        ] {
            assert_eq!(check_filter(filter), Ok(()));
            topics.iter().for_each(|topic| assert!(matches(filter, topic), "{filter} leaves {topic} out"));
            others.iter().for_each(|topic| assert!(!matches(filter, topic), "{filter} takes {topic}"));
        }
    }

    /// The standard's sentences one by one, on lists of levels.
    fn model(filter: &str, topic: &str) -> bool {
        let names: Vec<&str> = topic.split('/').collect();
        let mut levels: Vec<&str> = filter.split('/').collect();
        let rest = levels.last() == Some(&"#");
        if rest {
            levels.pop();
        }
        let enough = if rest { names.len() >= levels.len() } else { names.len() == levels.len() };
        let wildcard_first = levels.first().is_none_or(|level| *level == "+");
        enough
            && !(wildcard_first && names[0].starts_with('$'))
            && levels.iter().zip(&names).all(|(level, name)| *level == "+" || level == name)
    }

    fn levels(of: &'static [&'static str]) -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(of), 1..5).prop_map(|levels| levels.join("/"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn matching_is_that_of_the_model(
            filter in levels(&["", "a", "b", "$s", "+", "+"]), rest in any::<bool>(),
            topic in levels(&["", "a", "b", "$s"]),
        ) {
            let filter = if rest { filter + "/#" } else { filter };
            prop_assert_eq!(matches(&filter, &topic), model(&filter, &topic), "{} {}", filter, topic);
            prop_assert!(!matches(&filter, &topic) || topic.starts_with(literal_prefix(&filter)), "{} {}", filter, topic);
        }

        #[test]
        fn a_name_selects_itself_and_any_texts_do_no_harm(filter in "[a+#/$]{0,8}", topic in "\\PC{0,20}") {
            let _ = matches(&filter, &topic);
            prop_assert!(check_name(&topic).is_err() || matches(&topic, &topic));
        }
    }
}
