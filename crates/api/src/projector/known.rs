//! Which fields a topic has. A device that makes up new names for ever must not make as many series: so many are new in a
//! minute, and so many a topic has in all. What is beyond is stored as it came, and no reading comes of it.
//!
//! What is new in which minute follows from the messages alone, by the times of their capture: whoever derives them anew
//! comes to the same.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dados::Timestamp;

use crate::store::projection::{Generation, KnownField, Message, Since};

const MINUTE_MS: i64 = 60_000;
/// Bytes of names that are kept while other topics are derived, about: 64,000 short ones.
const KEPT_BYTES_MAX: usize = 8 << 20;
/// What a name takes beside its characters, about.
const NAME_BYTES: usize = 64;

/// How many fields a topic may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// That are new in one minute.
    pub(crate) new_in_minute: usize,
    /// In all.
    pub(crate) fields: usize,
}

/// More than any device has, and than what a gateway tells of all its devices in one topic.
pub(crate) const LIMITS: Limits = Limits { new_in_minute: 512, fields: 8_192 };

/// The fields of those topics that were derived last.
#[derive(Debug)]
pub(crate) struct Known {
    limits: Limits,
    generation: Generation,
    topics: HashMap<Arc<str>, TopicFields>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct TopicFields {
    /// None for those that are older than the limits.
    since: HashMap<Arc<str>, Option<Since>>,
    new_in_minute: HashMap<i64, usize>,
    bytes: usize,
}

impl Known {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, generation: Generation::Current, topics: HashMap::new(), bytes: 0 }
    }

    /// Nothing is known for certain: the tables are not as they were left.
    pub(crate) fn clear(&mut self) {
        self.topics.clear();
        self.bytes = 0;
    }

    /// The topics of the messages whose fields have to be loaded, since they are not known.
    pub(crate) fn missing(&mut self, messages: &[Message], generation: Generation) -> Vec<Arc<str>> {
        if self.generation != generation {
            self.clear();
            self.generation = generation;
        }
        let missing: HashSet<&str> = messages.iter().map(|message| &*message.topico).collect();
        missing.into_iter().filter(|topico| !self.topics.contains_key(*topico)).map(Arc::from).collect()
    }

    /// What the tables have of a topic, at most [`Limits::fields`].
    pub(crate) fn load(&mut self, topico: Arc<str>, fields: Vec<KnownField>) {
        let topic = self.topics.entry(topico).or_default();
        for KnownField { campo, since } in fields {
            self.bytes += topic.add(campo, since);
        }
    }

    /// Since when a field of a message is there; none where there are too many. Messages may come again: what was left out
    /// of one is left out of it then too, though the field has come with a later one.
    pub(crate) fn admit(&mut self, topico: &str, campo: &str, message: Since) -> Option<Option<Since>> {
        let topic = match self.topics.get_mut(topico) {
            Some(topic) => topic,
            None => self.topics.entry(topico.into()).or_default(),
        };
        if let Some(since) = topic.since.get(campo) {
            return Some(*since).filter(|since| since.is_none_or(|since| since.id <= message.id));
        }
        let new = topic.new_in_minute.get(&minute(message.captured)).copied().unwrap_or_default();
        if new >= self.limits.new_in_minute || topic.since.len() >= self.limits.fields {
            return None;
        }
        self.bytes += topic.add(campo.into(), Some(message));
        Some(Some(message))
    }

    /// Forgets topics that are not among these messages, once all together have too many names.
    pub(crate) fn forget(&mut self, messages: &[Message]) {
        if self.bytes > KEPT_BYTES_MAX {
            let kept: HashSet<&str> = messages.iter().map(|message| &*message.topico).collect();
            self.topics.retain(|topico, _| kept.contains(&**topico));
            self.bytes = self.topics.values().map(|topic| topic.bytes).sum();
        }
    }
}

impl TopicFields {
    /// How many bytes that took.
    fn add(&mut self, campo: Arc<str>, since: Option<Since>) -> usize {
        if let Some(since) = since {
            *self.new_in_minute.entry(minute(since.captured)).or_default() += 1;
        }
        let bytes = campo.len() + NAME_BYTES;
        self.bytes += bytes;
        self.since.insert(campo, since);
        bytes
    }
}

fn minute(time: Timestamp) -> i64 {
    time.as_ms().div_euclid(MINUTE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(id: i64, minute: i64) -> Since {
        Since { id, captured: Timestamp::from_ms(minute * MINUTE_MS).unwrap() }
    }

    #[test]
    fn so_many_fields_are_new_in_a_minute_and_so_many_there_are_in_all() {
        let mut known = Known::new(Limits { new_in_minute: 2, fields: 5 });
        let mut admit = |topico: &str, campo: &str, id, minute| known.admit(topico, campo, at(id, minute)).is_some();
        assert!(admit("a", "x1", 1, 7) && admit("a", "x2", 1, 7));
        assert!(!admit("a", "x3", 1, 7) && !admit("a", "x3", 2, 7));
        assert!(admit("a", "x1", 3, 7), "one that is there stays");
        assert!(admit("b", "x3", 3, 7), "another topic has fields of its own");
        // Whatever order the times come in.
        assert!(admit("a", "x3", 4, 9) && admit("a", "x4", 4, 8) && admit("a", "x5", 4, 9));
        assert!(!admit("a", "x6", 5, 7) && !admit("a", "x6", 6, 10));
    }

    #[test]
    fn messages_that_come_again_have_the_same_fields_again() {
        let mut known = Known::new(Limits { new_in_minute: 1, fields: 5 });
        for _ in 0..2 {
            let mut admit = |campo: &str, id, minute| known.admit("a", campo, at(id, minute)).is_some();
            assert!(admit("x1", 1, 7) && !admit("x2", 1, 7) && admit("x2", 2, 8) && !admit("x3", 3, 8));
        }
    }

    #[test]
    fn what_is_loaded_counts_like_what_was_admitted() {
        let mut known = Known::new(Limits { new_in_minute: 2, fields: 5 });
        let field = |campo: &str, since| KnownField { campo: campo.into(), since };
        known.load("a".into(), vec![field("x1", Some(at(1, 7))), field("x2", Some(at(1, 7))), field("old", None)]);
        assert_eq!(known.admit("a", "x1", at(9, 7)), Some(Some(at(1, 7))));
        assert_eq!(known.admit("a", "old", at(9, 7)), Some(None));
        assert_eq!(known.admit("a", "x3", at(9, 7)), None);
        assert_eq!(known.admit("a", "x3", at(9, 8)), Some(Some(at(9, 8))));
    }
}
