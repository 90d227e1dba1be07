//! `MQTT_TOPICS`: what to subscribe to.

use std::str::FromStr;

use dados::topic::{InvalidTopic, check_filter};
use service::Fatal;

/// The most filters that one SUBSCRIBE carries here.
const FILTERS_MAX: usize = 256;

/// One filter with the highest quality of service that is wanted for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Valid by MQTT's rules, `$share/…` included.
    pub filter: String,
    /// 0 to 2.
    pub qos: u8,
}

/// The list as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics(Vec<Subscription>);

/// What the list must look like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopics {
    /// One of the filters.
    #[error("filter {filter:?}: {problem}; expected filter[:qos] separated by commas, such as casa/#:1,lab/+/temp:2")]
    Filter {
        /// As it was typed.
        filter: String,
        /// What is wrong with it.
        problem: InvalidTopic,
    },
    /// More than MQTT has, or an ending of the topic's own.
    #[error(
        "filter {filter:?}: the quality of service {qos} is none of 0, 1 and 2; if the topic ends so, add one: \
         {filter}:1"
    )]
    Qos {
        /// As it was typed.
        filter: String,
        /// The digit at its end.
        qos: char,
    },
    /// The wildcard of a shell, which is a letter to MQTT.
    #[error(
        "filter {0:?}: * is no wildcard in MQTT: + stands for one level and # for all that follow, such as casa/+ or casa/#"
    )]
    Star(String),
    /// Some tools leave topics out like this.
    #[error("filter {0:?}: ! leaves nothing out in MQTT; list the topics that are wanted")]
    Exclusion(String),
    /// A broker would take the last of them only.
    #[error("filter {0:?} stands there twice")]
    Twice(String),
    /// A limit of ours.
    #[error("expected at most 256 filters")]
    TooMany,
}

impl FromStr for Topics {
    type Err = InvalidTopics;

    /// Commas separate, so a filter with a comma cannot be written; a wildcard catches such topics.
    fn from_str(text: &str) -> Result<Self, InvalidTopics> {
        let mut all: Vec<Subscription> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let (filter, qos) = match item.rsplit_once(':') {
                Some((filter, "0")) => (filter, 0),
                Some((filter, "1")) => (filter, 1),
                Some((filter, "2")) => (filter, 2),
                Some((_, ending)) if is_digit(ending) => {
                    let qos = ending.chars().next().unwrap_or_default();
                    return Err(InvalidTopics::Qos { filter: item.to_owned(), qos });
                }
                _ => (item, 1),
            };
            // Topics with these letters are taken in by + and #.
            if filter.contains('*') {
                return Err(InvalidTopics::Star(filter.to_owned()));
            }
            if filter.starts_with('!') {
                return Err(InvalidTopics::Exclusion(filter.to_owned()));
            }
            check_filter(filter).map_err(|problem| InvalidTopics::Filter { filter: filter.to_owned(), problem })?;
            if all.iter().any(|earlier| earlier.filter == filter) {
                return Err(InvalidTopics::Twice(filter.to_owned()));
            }
            all.push(Subscription { filter: filter.to_owned(), qos });
        }
        if all.len() > FILTERS_MAX { Err(InvalidTopics::TooMany) } else { Ok(Self(all)) }
    }
}

/// One digit: an address of a device in a topic's end (`AA:BB:05`) has two.
fn is_digit(text: &str) -> bool {
    matches!(text.as_bytes(), [digit] if digit.is_ascii_digit())
}

impl Topics {
    /// What is typed, in its order.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Subscription> {
        self.0.iter()
    }

    /// The subscriptions, each within the shared group if there is one; a filter that names its group keeps it.
    pub(super) fn shared(self, group: Option<&str>) -> Result<Vec<Subscription>, Fatal> {
        let Some(group) = group else { return Ok(self.0) };
        if group.is_empty() || group.contains(['/', '+', '#', '\0']) {
            return Err(Fatal::setting("MQTT_SHARED_GROUP", "expected a name without /, + and #"));
        }
        let share = |subscription: Subscription| match subscription.filter.starts_with("$share/") {
            true => subscription,
            false => Subscription { filter: format!("$share/{group}/{}", subscription.filter), ..subscription },
        };
        Ok(self.0.into_iter().map(share).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<(String, u8)> {
        text.parse::<Topics>().unwrap().0.into_iter().map(|one| (one.filter, one.qos)).collect()
    }

    #[test]
    fn filters_have_an_optional_qos() {
        assert_eq!(list("#"), [("#".into(), 1)]);
        assert_eq!(
            list("my/test/topic:0, a/+/b:2,urn:x, $share/g/c/#:1"),
            [("my/test/topic".into(), 0), ("a/+/b".into(), 2), ("urn:x".into(), 1), ("$share/g/c/#".into(), 1)]
        );
    }

    #[test]
    fn a_bad_filter_is_named() {
        for text in ["", "a,,b", "a#", "a/b+:1", "$share/g", "a:1,a:2"] {
            let error = text.parse::<Topics>().unwrap_err().to_string();
            assert!(error.contains("filter"), "{text}: {error}");
        }
        assert_eq!(vec!["a"; 300].join(",").parse::<Topics>(), Err(InvalidTopics::Twice("a".into())));
    }

    #[test]
    fn mistakes_that_others_make_have_their_own_words() {
        for (text, words) in [
            ("casa/#:3", "quality of service 3"),
            ("casa/sala:9", "add one: casa/sala:9:1"),
            ("casa/*", "* is no wildcard"),
            ("casa/*/temp:1", "casa/#"),
            ("a,!x", "! leaves nothing out"),
            ("!x:1", "! leaves nothing out"),
        ] {
            let error = text.parse::<Topics>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert_eq!(
            list("AA:BB:05,urn:12,casa/sala:9:2"),
            [("AA:BB:05".into(), 1), ("urn:12".into(), 1), ("casa/sala:9".into(), 2)]
        );
    }

    #[test]
    fn a_group_is_put_before_filters_that_have_none() {
        let topics: Topics = "a/#,$share/own/b".parse().unwrap();
        let shared: Vec<_> = topics.shared(Some("g")).unwrap().into_iter().map(|one| one.filter).collect();
        assert_eq!(shared, ["$share/g/a/#", "$share/own/b"]);
    }
}
