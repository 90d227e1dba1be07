//! The messages: each is composed of a seed and its id alone, so that checking one needs no copy of it.

use std::hash::{DefaultHasher, Hash, Hasher};

use fastrand::Rng;

/// Which message: a topic of [`TOPICS`] and its place among the topic's messages, from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// An index into [`TOPICS`].
    pub topic: usize,
    /// From 0 on, without gaps.
    pub sequence: u32,
}

/// What the messages of one topic are like.
#[derive(Clone, Copy, Debug)]
pub struct Topic {
    /// Its name at the broker.
    pub name: &'static str,
    qos: Qos,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Qos {
    One,
    Two,
    /// 1 and 2 in turn, on one connection.
    Mixed,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// JSON-like text of any size, with characters that are hard to carry.
    Text,
    /// No UTF-8.
    Binary,
    /// Text whose sequence is all that differs.
    Alike,
}

/// Every kind of message; each topic has one publisher, so that it has an order.
pub const TOPICS: [Topic; 6] = [
    Topic { name: "tortura/texto/1", qos: Qos::One, shape: Shape::Text },
    Topic { name: "tortura/texto/2", qos: Qos::Two, shape: Shape::Text },
    Topic { name: "tortura/texto/misto", qos: Qos::Mixed, shape: Shape::Text },
    Topic { name: "tortura/binário", qos: Qos::Mixed, shape: Shape::Binary },
    Topic { name: "tortura/igual/1", qos: Qos::One, shape: Shape::Alike },
    Topic { name: "tortura/igual/2", qos: Qos::Two, shape: Shape::Alike },
];

/// Most messages are small; this is the largest of the usual ones.
const FILLER_BYTES_MAX: f64 = 2048.0;
const LARGE_FILLER_BYTES: usize = 64 << 10;
/// One message of so many is large.
const LARGE_EVERY: u32 = 500;
/// On average, with all that surrounds it in a database; for choosing the size of a disk.
pub const STORED_BYTES_TYPICAL: u64 = 2 << 10;
/// What text is made of: quotes, controls, and characters of every length in UTF-8.
const CHARACTERS: [char; 16] =
    ['a', 'Z', '0', ' ', '"', '\\', '\n', '\t', '\u{1}', '{', 'é', 'ç', '€', '\u{2028}', '🌡', '\u{7f}'];
const DIGITS: usize = 10;
const TEXT_START: &str = "{\"seq\":\"";
/// No UTF-8 text begins so.
const BINARY_START: [u8; 2] = [0xff, 0xfe];

impl Id {
    /// 1 or 2.
    pub fn qos(self) -> u8 {
        match TOPICS[self.topic].qos {
            Qos::One => 1,
            Qos::Two => 2,
            Qos::Mixed => 1 + (self.sequence % 2) as u8,
        }
    }

    /// The message's bytes in the run with this seed.
    pub fn payload(self, seed: u64) -> Vec<u8> {
        let mut hasher = DefaultHasher::new();
        (seed, self).hash(&mut hasher);
        let mut rng = Rng::with_seed(hasher.finish());
        // The cube makes small ones usual.
        let usual = (FILLER_BYTES_MAX * rng.f64().powi(3)) as usize;
        let filler = if rng.u32(..LARGE_EVERY) == 0 { LARGE_FILLER_BYTES } else { usual };
        let text = |filler: &str| {
            let (topic, sequence, qos) = (TOPICS[self.topic].name, self.sequence, self.qos());
            format!("{TEXT_START}{sequence:0>DIGITS$}\",\"topico\":\"{topic}\",\"qos\":{qos},\"resto\":\"{filler}\"}}")
                .into_bytes()
        };
        match TOPICS[self.topic].shape {
            Shape::Alike => text("sempre igual"),
            Shape::Text => {
                let mut characters = String::with_capacity(filler + 4);
                while characters.len() < filler {
                    characters.push(CHARACTERS[rng.usize(..CHARACTERS.len())]);
                }
                text(&characters)
            }
            Shape::Binary => {
                let mut bytes = [BINARY_START.as_slice(), &self.sequence.to_be_bytes()].concat();
                bytes.resize_with(bytes.len() + filler, || rng.u8(..));
                bytes
            }
        }
    }

    /// Reads whose payload this claims to be; whether it is whole only [`Id::payload`] tells.
    pub fn read(topic: &[u8], payload: &[u8]) -> Option<Self> {
        let topic = TOPICS.iter().position(|candidate| candidate.name.as_bytes() == topic)?;
        let sequence = match TOPICS[topic].shape {
            Shape::Binary => u32::from_be_bytes(payload.strip_prefix(&BINARY_START)?.first_chunk::<4>().copied()?),
            Shape::Text | Shape::Alike => {
                let digits = payload.strip_prefix(TEXT_START.as_bytes())?.get(..DIGITS)?;
                std::str::from_utf8(digits).ok()?.parse().ok()?
            }
        };
        Some(Self { topic, sequence })
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} #{}", TOPICS[self.topic].name, self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_told_by_its_payload_and_is_like_no_other() {
        let mut seen = std::collections::HashSet::new();
        for (topic, Topic { name, .. }) in TOPICS.iter().enumerate() {
            for sequence in 0..1000 {
                let id = Id { topic, sequence };
                let payload = id.payload(7);
                assert_eq!(Id::read(name.as_bytes(), &payload), Some(id));
                assert_eq!(id.payload(7), payload, "composed again");
                assert!(seen.insert((topic, payload)));
            }
        }
    }

    #[test]
    fn what_is_not_ours_has_no_id() {
        assert_eq!(Id::read(b"casa", &Id { topic: 0, sequence: 1 }.payload(7)), None);
        for payload in [b"".as_slice(), b"{\"seq\":\"12", b"\xff\xfe\0", b"{\"seq\":\"000000000x\""] {
            for topic in TOPICS {
                assert_eq!(Id::read(topic.name.as_bytes(), payload), None);
            }
        }
    }

    #[test]
    fn one_topic_has_messages_of_one_length() {
        let length = |sequence| Id { topic: 4, sequence }.payload(7).len();
        assert!((0..100).all(|sequence| length(sequence) == length(0)));
    }
}
