//! Consecutive rows, encoded once for all readers, and what a reader's filter leaves of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use dados::topic;

use super::event;
use crate::store::{LARGE_VALUE_BYTES, Page, Row, Wanted};

/// What a reader of few topics is given at once: as much of it is copied for each.
const FRAME_BYTES_MAX: usize = 64 << 10;
/// Filters whose choice a chunk remembers: readers share them, mostly.
const CHOICES_MAX: usize = 256;

/// Which rows a reader wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    All,
    /// Those of one topic.
    Exactly(Arc<str>),
    /// Those whose topics an MQTT filter takes in; no filter takes in a row without a topic.
    Matching(Arc<str>),
}

impl Topics {
    pub(super) fn wanted(&self) -> Wanted {
        match self {
            Self::All => Wanted::All,
            Self::Exactly(topico) => Wanted::Exactly(topico.as_ref().to_owned()),
            Self::Matching(filter) => Wanted::Matching(filter.as_ref().to_owned()),
        }
    }
}

impl From<Wanted> for Topics {
    fn from(wanted: Wanted) -> Self {
        match wanted {
            Wanted::All => Self::All,
            Wanted::Exactly(topico) => Self::Exactly(topico.into()),
            Wanted::Matching(filter) => Self::Matching(filter.into()),
        }
    }
}

/// Bytes of all chunks that anyone still holds, sent half-way or not.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// The text, which counts until the last part of it is dropped.
    fn count(&self, text: Vec<u8>) -> Bytes {
        self.0.fetch_add(text.len(), Ordering::Relaxed);
        Bytes::from_owner(Counted { text, held: self.clone() })
    }
}

struct Counted {
    text: Vec<u8>,
    held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.text.len(), Ordering::Relaxed);
    }
}

/// All rows after one id and up to another; perhaps only those of one topic.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) after: i64,
    pub(super) last: i64,
    events: Vec<Event>,
    text: Bytes,
    /// Which events are of which topic: made when somebody asks.
    by_topic: OnceLock<HashMap<Arc<str>, Vec<u32>>>,
    choices: Mutex<HashMap<Arc<str>, Arc<[u32]>>>,
}

#[derive(Debug)]
struct Event {
    id: i64,
    topico: Option<Arc<str>>,
    /// Where it ends in the text; it begins where the one before ends.
    end: usize,
}

/// What a reader is sent at once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Empty where nothing is wanted.
    pub(super) text: Bytes,
    pub(super) rows: u64,
    /// With it a reader has all that it wants up to this id.
    pub(super) last: i64,
}

/// Rows that are on their way to be a chunk.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    text: Vec<u8>,
    events: Vec<Event>,
}

impl Encoded {
    /// One that has just been stored. Of a large value followers are told that they do not get it: `GET /dados/{id}` has
    /// it, a piece at a time.
    pub(super) fn fresh(&mut self, id: i64, row: Row) {
        if row.valor.len() > LARGE_VALUE_BYTES {
            self.text.extend_from_slice(&event::missed(id, id));
        } else {
            event::fresh_row(&mut self.text, id, &row);
        }
        self.push(id, row.topico);
    }

    fn push(&mut self, id: i64, topico: Option<Arc<str>>) {
        self.events.push(Event { id, topico, end: self.text.len() });
    }

    /// All rows after one id and up to another.
    pub(super) fn chunk(mut self, (after, last): (i64, i64), held: &Held) -> Chunk {
        self.text.shrink_to_fit();
        let (by_topic, choices) = (OnceLock::new(), Mutex::default());
        Chunk { after, last, events: self.events, text: held.count(self.text), by_topic, choices }
    }
}

impl Chunk {
    pub(super) fn new((after, last): (i64, i64), page: Page, held: &Held) -> serde_json::Result<Self> {
        let mut encoded = Encoded::default();
        for dado in page.rows {
            if page.large.is_some_and(|large| large.id == dado.id) {
                encoded.text.extend_from_slice(&event::missed(dado.id, dado.id));
            } else {
                event::row(&mut encoded.text, &dado)?;
            }
            encoded.push(dado.id, dado.topico.map(Into::into));
        }
        Ok(encoded.chunk((after, last), held))
    }

    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// What a reader gets next that has everything up to the id `after`.
    pub(super) fn frame(&self, topics: &Topics, after: i64) -> Frame {
        match topics {
            Topics::All => {
                let first = self.events.partition_point(|event| event.id <= after);
                let rows = (self.events.len() - first) as u64;
                Frame { text: self.text.slice(self.begin(first)..), rows, last: self.last }
            }
            Topics::Exactly(topico) => {
                self.gather(self.by_topic().get(&**topico).map_or(&[][..], Vec::as_slice), after)
            }
            Topics::Matching(filter) => self.gather(&self.chosen(filter), after),
        }
    }

    /// Whether a row is of this topic.
    pub(super) fn has(&self, topico: &str) -> bool {
        self.by_topic().contains_key(topico)
    }

    /// Whether a filter takes in any.
    pub(super) fn has_matching(&self, filter: &Arc<str>) -> bool {
        !self.chosen(filter).is_empty()
    }

    /// How many topics the rows are of.
    pub(super) fn topics(&self) -> usize {
        self.by_topic().len()
    }

    fn begin(&self, number: usize) -> usize {
        number.checked_sub(1).map_or(0, |before| self.events[before].end)
    }

    fn by_topic(&self) -> &HashMap<Arc<str>, Vec<u32>> {
        self.by_topic.get_or_init(|| {
            let mut by_topic: HashMap<Arc<str>, Vec<u32>> = HashMap::new();
            for (number, event) in self.events.iter().enumerate() {
                let Some(topico) = event.topico.as_ref().filter(|topico| !topico.is_empty()) else { continue };
                match by_topic.get_mut(topico) {
                    Some(numbers) => numbers.push(number as u32),
                    None => drop(by_topic.insert(topico.clone(), vec![number as u32])),
                }
            }
            by_topic
        })
    }

    /// The events that a filter takes in, in their order.
    fn chosen(&self, filter: &Arc<str>) -> Arc<[u32]> {
        let mut choices = self.choices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chosen) = choices.get(filter) {
            return chosen.clone();
        }
        let matching = self.by_topic().iter().filter(|(topico, _)| topic::matches(filter, topico));
        let mut chosen: Vec<u32> = matching.flat_map(|(_, numbers)| numbers).copied().collect();
        chosen.sort_unstable();
        let chosen: Arc<[u32]> = chosen.into();
        if choices.len() < CHOICES_MAX {
            choices.insert(filter.clone(), chosen.clone());
        }
        chosen
    }

    /// The first of the chosen events after an id, as many as make a frame.
    fn gather(&self, chosen: &[u32], after: i64) -> Frame {
        let chosen = &chosen[chosen.partition_point(|number| self.events[*number as usize].id <= after)..];
        let event = |number: u32| self.begin(number as usize)..self.events[number as usize].end;
        let mut bytes = 0;
        let fit = chosen.iter().take_while(|number| {
            bytes += event(**number).len();
            bytes <= FRAME_BYTES_MAX
        });
        let rows = fit.count().max(1).min(chosen.len());
        let text = match &chosen[..rows] {
            // Whatever its size, it is shared.
            [one] => self.text.slice(event(*one)),
            several => {
                let mut text = Vec::with_capacity(several.iter().map(|number| event(*number).len()).sum());
                several.iter().for_each(|number| text.extend_from_slice(&self.text[event(*number)]));
                text.into()
            }
        };
        let last = if rows == chosen.len() { self.last } else { self.events[chosen[rows - 1] as usize].id };
        Frame { text, rows: rows as u64, last }
    }
}

#[cfg(test)]
mod tests {
    use dados::Dado;

    use super::*;
    use crate::store::LargeValue;

    fn dado(id: i64, topico: Option<&str>, valor: &str) -> Dado {
        let (topico, valor) = (topico.map(str::to_owned), Some(valor.to_owned()));
        Dado {
            id,
            topico,
            valor,
            timestamp: None,
            qos: None,
            retido: None,
            dup: None,
            formato: None,
            hora_corrigida: None,
        }
    }

    fn chunk(valor: &str, held: &Held) -> Chunk {
        let topics = [Some("a"), None, Some("b"), Some("a"), Some("a/b"), Some(""), Some("$s")];
        // Ids that are gone are no rows.
        let rows = topics.iter().zip([11, 12, 15, 16, 18, 19, 20]).map(|(topico, id)| dado(id, *topico, valor));
        Chunk::new((10, 30), Page { rows: rows.collect(), large: None, next_after_id: None }, held).unwrap()
    }

    fn ids(text: &[u8]) -> Vec<i64> {
        let text = str::from_utf8(text).unwrap();
        text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()).collect()
    }

    #[test]
    fn a_reader_gets_what_it_wants_and_has_not() {
        let chunk = chunk("x", &Held::default());
        let exactly = |topico: &str| Topics::Exactly(topico.into());
        let matching = |filter: &str| Topics::Matching(filter.into());
        for (topics, after, wanted) in [
            (Topics::All, 3, &[11, 12, 15, 16, 18, 19, 20][..]),
            (Topics::All, 15, &[16, 18, 19, 20]),
            (Topics::All, 25, &[]),
            (exactly("a"), 10, &[11, 16]),
            (exactly("a"), 11, &[16]),
            (exactly("x"), 10, &[]),
            (matching("#"), 10, &[11, 15, 16, 18]),
            (matching("a/#"), 12, &[16, 18]),
            (matching("+"), 16, &[]),
            (matching("$s/#"), 10, &[20]),
        ] {
            let frame = chunk.frame(&topics, after);
            assert_eq!((ids(&frame.text), frame.rows), (wanted.to_vec(), wanted.len() as u64), "{topics:?} {after}");
            assert_eq!(frame.last, 30);
        }
    }

    #[test]
    fn of_a_large_value_only_its_id_is_told() {
        let rows = vec![dado(1, Some("a"), "x"), Dado { valor: None, ..dado(2, Some("b"), "") }];
        let large = Some(LargeValue { id: 2, bytes: LARGE_VALUE_BYTES + 1 });
        let read = Chunk::new((0, 2), Page { rows, large, next_after_id: None }, &Held::default()).unwrap();
        let mut encoded = Encoded::default();
        for (id, topico, bytes) in [(1, "a", LARGE_VALUE_BYTES), (2, "b", LARGE_VALUE_BYTES + 1)] {
            let (valor, timestamp, topico) =
                ("x".repeat(bytes).into(), "2026-11-23 03:21:45.678".into(), topico.into());
            let (topico, none) = (Some(topico), None);
            let row = Row {
                valor,
                timestamp,
                topico,
                qos: None,
                retido: none,
                dup: none,
                formato: None,
                hora_corrigida: none,
            };
            encoded.fresh(id, row);
        }
        for chunk in [read, encoded.chunk((0, 2), &Held::default())] {
            let of = |topico: &str| chunk.frame(&Topics::Exactly(topico.into()), 0).text;
            assert_eq!(of("b"), "id: 2\nevent: perdidos\ndata: {\"de\":2,\"ate\":2}\n\n");
            assert!(of("a").starts_with(b"id: 1\ndata: {"));
            assert_eq!(ids(&chunk.frame(&Topics::All, 0).text), [1, 2]);
        }
    }

    #[test]
    fn a_large_choice_comes_in_frames() {
        let held = Held::default();
        for size in [FRAME_BYTES_MAX / 3, FRAME_BYTES_MAX / 2, 2 * FRAME_BYTES_MAX] {
            let chunk = chunk(&"0".repeat(size), &held);
            for topics in [Topics::All, Topics::Exactly("a".into()), Topics::Matching("#".into())] {
                let (mut after, mut got) = (10, Vec::new());
                while after < 30 {
                    let frame = chunk.frame(&topics, after);
                    assert!(frame.rows <= 1 || topics == Topics::All || frame.text.len() <= FRAME_BYTES_MAX);
                    got.extend(ids(&frame.text));
                    after = frame.last;
                }
                let wanted = match topics {
                    Topics::All => vec![11, 12, 15, 16, 18, 19, 20],
                    Topics::Exactly(_) => vec![11, 16],
                    Topics::Matching(_) => vec![11, 15, 16, 18],
                };
                assert_eq!(got, wanted);
            }
        }
    }

    #[test]
    fn what_anyone_holds_counts() {
        let held = Held::default();
        let chunk = chunk("x", &held);
        let frame = chunk.frame(&Topics::All, 19);
        drop(chunk);
        assert!(held.bytes() > frame.text.len());
        drop(frame);
        assert_eq!(held.bytes(), 0);
    }
}
