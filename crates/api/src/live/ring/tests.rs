//! Whatever the order in which rows are committed, given to all and taken: each reader gets each row once, in order.

use std::collections::BTreeSet;

use dados::Dado;
use proptest::prelude::*;

use super::*;
use crate::live::chunk::{Held, Topics};
use crate::store::Page;

/// Some thirty rows, and a few more.
const BOUNDS: Bounds = Bounds { bytes_max: 3_000, lag_rows_max: 40 };
/// A large row: a few of them are more than the ring keeps.
const LARGE: usize = BOUNDS.bytes_max / 3;

#[derive(Clone, Debug)]
enum Act {
    /// So many rows, after so many ids that stay unused, of which the last row is large or not.
    Commit {
        rows: i64,
        gap: i64,
        is_large: bool,
    },
    /// Rows far beyond what may be missed.
    Burst,
    /// The one who reads for all takes so many rows at most.
    Publish(usize),
    Begin,
    /// After an id so far back.
    Resume(i64),
    /// A reader takes so many steps, unless it waits; a page of its own has so many rows at most.
    Take {
        reader: usize,
        steps: usize,
        page: usize,
    },
    /// A reader looks, though nothing has woken it.
    Look(usize),
    Leave(usize),
    /// Somebody deletes so many of the newest rows, and their ids are given again.
    GoBack(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        6 => (1..9i64, 0..3i64, prop::bool::weighted(0.2))
            .prop_map(|(rows, gap, is_large)| Act::Commit { rows, gap, is_large }),
        1 => Just(Act::Burst),
        6 => (1..9usize).prop_map(Act::Publish),
        2 => Just(Act::Begin),
        2 => (0..60i64).prop_map(Act::Resume),
        8 => (0..8usize, 1..4usize, 1..6usize).prop_map(|(reader, steps, page)| Act::Take { reader, steps, page }),
        2 => (0..8usize).prop_map(Act::Look),
        1 => (0..8usize).prop_map(Act::Leave),
        1 => (1..4usize).prop_map(Act::GoBack),
    ]
}

struct Reader {
    place: Place,
    /// A page of its own, as `reader` keeps one.
    page: Option<Arc<Chunk>>,
    topics: Topics,
    /// All rows that it is to get, or to be told of, with what was deleted since taken out.
    owed: BTreeSet<i64>,
    is_resuming: bool,
}

struct World {
    /// Committed rows; of every third the topic is `a`.
    rows: Vec<(i64, bool)>,
    ring: Ring,
    readers: Vec<Reader>,
    held: Held,
}

fn topic(id: i64) -> Option<String> {
    (id % 3 == 0).then(|| "a".to_owned())
}

impl World {
    fn new() -> Self {
        let mut world = Self { rows: Vec::new(), ring: Ring::new(BOUNDS), readers: Vec::new(), held: Held::default() };
        world.commit(2, 0, false);
        world
    }

    fn newest(&self) -> i64 {
        self.rows.last().map_or(0, |(id, _)| *id)
    }

    fn chunk(&self, after: i64, until: i64, rows_max: usize) -> Arc<Chunk> {
        let selected = self.rows.iter().filter(|(id, _)| (after + 1..=until).contains(id)).take(rows_max);
        let rows: Vec<Dado> = selected
            .map(|(id, is_large)| Dado {
                id: *id,
                topico: topic(*id),
                valor: is_large.then(|| "0".repeat(LARGE)),
                timestamp: None,
                qos: None,
                retido: None,
                dup: None,
                formato: None,
                hora_corrigida: None,
            })
            .collect();
        let last = if rows.len() == rows_max { rows.last().map_or(until, |row| row.id) } else { until };
        Arc::new(Chunk::new((after, last), Page { rows, large: None, next_after_id: None }, &self.held).unwrap())
    }

    fn commit(&mut self, rows: i64, gap: i64, is_large: bool) {
        let first = self.newest() + 1 + gap;
        for id in first..first + rows {
            self.rows.push((id, is_large && id + 1 == first + rows));
            for reader in &mut self.readers {
                if reader.topics == Topics::All || topic(id).is_some() {
                    reader.owed.insert(id);
                }
            }
        }
    }

    fn begin(&mut self, after: Option<i64>) {
        let newest = self.newest();
        if self.readers.is_empty() {
            self.ring.restart(newest);
        }
        let matching = |filter: &str| Topics::Matching(filter.into());
        let wants = [Topics::All, Topics::Exactly("a".into()), matching("+"), matching("#"), matching("a/#")];
        let topics = wants[newest as usize % wants.len()].clone();
        let place = self.ring.begin(after, newest);
        let wanted = |id: &i64| *id > place.id && (topics == Topics::All || topic(*id).is_some());
        let owed = self.rows.iter().map(|(id, _)| *id).filter(wanted).collect();
        let is_resuming = after.is_some();
        self.readers.push(Reader { place, page: None, topics, owed, is_resuming });
    }

    fn publish(&mut self, rows_max: usize) {
        if self.readers.is_empty() {
            return;
        }
        if let Next::Read { after, until } = self.ring.next(self.newest()) {
            let chunk = self.chunk(after, until, rows_max);
            self.ring.publish(chunk);
        }
    }

    /// Whether the reader did anything.
    fn step(&mut self, number: usize, page_rows_max: usize) -> bool {
        let reader = &mut self.readers[number];
        if reader.place.seat.is_waiting() {
            return false;
        }
        let step = match reader.page.take() {
            Some(page) => Step::Take(page),
            None => match self.ring.step(&mut reader.place, &reader.topics) {
                Step::Take(chunk) => {
                    reader.is_resuming = false;
                    Step::Take(chunk)
                }
                step => step,
            },
        };
        match step {
            Step::Wait => {
                self.readers[number].is_resuming = false;
                return false;
            }
            Step::Take(chunk) => self.take(number, &chunk),
            Step::Read { until } => {
                let after = self.readers[number].place.id;
                self.readers[number].page = Some(self.chunk(after, until, page_rows_max));
            }
            Step::Missed { from, to } => {
                let reader = &mut self.readers[number];
                assert!(!reader.is_resuming, "who resumes misses nothing");
                assert!(to - from >= BOUNDS.lag_rows_max);
                assert_eq!(to, reader.place.id);
                reader.owed.retain(|id| !(from..=to).contains(id));
            }
        }
        true
    }

    /// Who waits is owed nothing that all have been given, and is told so.
    fn look(&mut self, number: usize) {
        let reader = &mut self.readers[number];
        if reader.place.seat.is_waiting() {
            assert!(matches!(self.ring.step(&mut reader.place, &reader.topics), Step::Wait));
            assert!(reader.place.id >= self.ring.position);
            assert!(reader.owed.first().is_none_or(|id| *id > self.ring.position), "it sleeps over a row");
        }
    }

    fn take(&mut self, number: usize, chunk: &Chunk) {
        let reader = &mut self.readers[number];
        let frame = chunk.frame(&reader.topics, reader.place.id);
        let text = str::from_utf8(&frame.text).unwrap();
        for id in text.lines().filter_map(|line| line.strip_prefix("id: ")).map(|id| id.parse().unwrap()) {
            assert!(reader.place.id < id && id <= frame.last, "out of order");
            assert_eq!(reader.owed.pop_first(), Some(id), "a row too many or too few");
        }
        reader.place.id = frame.last;
    }

    /// Everyone has everything then: who is in the middle of it sees a snapshot of what was.
    fn go_back(&mut self, rows: usize) {
        self.settle();
        let kept = self.rows.len() - rows.min(self.rows.len() - 1);
        self.rows.truncate(kept);
        // The writer tells of it before it takes anything else.
        if !self.readers.is_empty() {
            self.ring.next(self.newest());
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Commit { rows, gap, is_large } => self.commit(rows, gap, is_large),
            Act::Burst => self.commit(2, BOUNDS.lag_rows_max, false),
            Act::Publish(rows_max) => self.publish(rows_max),
            Act::Begin => self.begin(None),
            Act::Resume(back) => self.begin(Some((self.newest() - back).max(0))),
            Act::Take { reader, steps, page } if !self.readers.is_empty() => {
                let number = reader % self.readers.len();
                for _ in 0..steps {
                    self.step(number, page);
                }
            }
            Act::Look(reader) if !self.readers.is_empty() => self.look(reader % self.readers.len()),
            Act::Leave(reader) if !self.readers.is_empty() => {
                let Reader { place, topics, .. } = self.readers.swap_remove(reader % self.readers.len());
                self.ring.leave(&place, &topics);
            }
            Act::GoBack(rows) => self.go_back(rows),
            Act::Take { .. } | Act::Look(_) | Act::Leave(_) => {}
        }
    }

    /// Lets everyone come to the end; then nobody is owed anything.
    fn settle(&mut self) {
        loop {
            self.publish(7);
            let mut idle = self.ring.position == self.newest();
            for number in 0..self.readers.len() {
                while self.step(number, 5) {
                    idle = false;
                }
            }
            if idle || self.readers.is_empty() {
                break;
            }
        }
        for reader in &self.readers {
            assert_eq!(reader.owed, BTreeSet::new());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_row_comes_once_in_order_or_is_named(acts in prop::collection::vec(act(), 1..80)) {
        let mut world = World::new();
        for act in &acts {
            world.act(act);
            prop_assert!(world.ring.chunks.len() <= 1 || world.ring.bytes <= BOUNDS.bytes_max);
            let sum: usize = world.ring.chunks.iter().map(|chunk| chunk.bytes()).sum();
            prop_assert_eq!(world.ring.bytes, sum);
        }
        world.settle();
    }
}

#[test]
fn a_live_reader_far_behind_is_told_and_one_that_resumes_is_given_all() {
    let mut world = World::new();
    world.begin(None);
    world.begin(Some(0));
    world.act(&Act::Burst);
    world.publish(10);
    let mut step = |number: usize| {
        let Reader { place, topics, .. } = &world.readers[number];
        world.ring.step(&mut place.clone(), topics)
    };
    assert!(matches!(step(1), Step::Read { .. }));
    assert!(matches!(step(0), Step::Missed { from: 3, to: 44 }));
    world.settle();
}
