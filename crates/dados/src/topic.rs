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

/// Whether a topic filter, which has been checked, takes in a topic (§4.7.1): `+` is any one level, `#` all that follow
/// and the level above them; a wildcard at the start takes in no topic that begins with `$` (§4.7.2).
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    let mut wanted = filter.split('/').peekable();
    while let Some(want) = wanted.next() {
        match (want, levels.next()) {
            ("#", _) => return true,
            (_, None) => return false,
            ("+", Some(_)) => {}
            (_, Some(level)) if want != level => return false,
            _ => {}
        }
        // `a/#` takes in `a` too.
        if wanted.peek() == Some(&"#") {
            return true;
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_in_what_the_standard_says() {
        for (filter, topic) in [
            ("#", "a"),
            ("#", "/"),
            ("a/#", "a"),
            ("a/#", "a/"),
            ("a/#", "a/b/c"),
            ("a/+", "a/"),
            ("a/+/c", "a/b/c"),
            ("+/+", "/a"),
            ("/+", "/a"),
            ("+", "a"),
            ("+/#", "a"),
            ("a", "a"),
            ("$SYS/#", "$SYS/x"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("a/#", "ab"),
            ("a/+", "a"),
            ("a/+", "a/b/c"),
            ("+", "/a"),
            ("+", "a/b"),
            ("a/b", "a"),
            ("a", "a/b"),
            ("a", "A"),
            ("+/+/#", "a"),
            ("#", "$SYS/x"),
            ("+/x", "$SYS/x"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

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
}
