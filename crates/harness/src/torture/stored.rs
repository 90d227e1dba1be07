//! What the API shows, gathered in a few bytes for each message.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dados::Dado;

use super::attack;
use super::ledger::{Bits, Ledger};
use super::message::{Id, TOPICS};

/// Examples of a fault that are kept.
const EXAMPLES_MAX: usize = 20;

/// The rows, read newest first.
pub struct Stored {
    seed: u64,
    shelves: Vec<Shelf>,
    /// All of them.
    pub rows: u64,
    /// Rows that no message explains.
    pub never_issued: u64,
    /// Rows that say what was not sent.
    pub damaged: u64,
    /// Rows beyond a message's first one that do not say so.
    unmarked: HashMap<Id, u32>,
    /// A few of the faulty ones.
    pub examples: Vec<String>,
}

/// The rows of one topic.
#[derive(Default)]
struct Shelf {
    issued: u32,
    count: Vec<u8>,
    /// The oldest row seen so far, which in the end is the first.
    first: Vec<u32>,
    /// Whether that row says that it may repeat another.
    is_marked: Bits,
}

impl Stored {
    /// Nothing yet, of a run with this seed.
    pub fn new(seed: u64, ledger: &Ledger) -> Self {
        let shelf = |account: &super::ledger::Account| {
            let length = account.issued as usize;
            Shelf { issued: account.issued, count: vec![0; length], first: vec![0; length], is_marked: Bits::default() }
        };
        let shelves = ledger.accounts.iter().map(shelf).collect();
        Self { seed, shelves, rows: 0, never_issued: 0, damaged: 0, unmarked: HashMap::new(), examples: Vec::new() }
    }

    /// Takes a row; each must be older than the one before.
    pub fn take(&mut self, row: &Dado) {
        self.rows += 1;
        let topic = row.topico.as_deref().unwrap_or_default();
        if topic == attack::TOPIC {
            return;
        }
        let valor = row.valor.as_deref().unwrap_or_default();
        let payload = match row.formato.as_deref() {
            Some("base64") => STANDARD.decode(valor).unwrap_or_default(),
            _ => valor.as_bytes().to_vec(),
        };
        let Some(id) = Id::read(topic.as_bytes(), &payload) else {
            // A topic of ours with a payload that is nobody's: something was changed on the way.
            let is_ours = TOPICS.iter().any(|ours| ours.name == topic);
            *(if is_ours { &mut self.damaged } else { &mut self.never_issued }) += 1;
            return self.example(format!("row {}: nobody's message on {topic:?}", row.id));
        };
        if id.sequence >= self.shelves[id.topic].issued {
            self.never_issued += 1;
            return self.example(format!("row {}: {id} was never issued", row.id));
        }
        if payload != id.payload(self.seed) || row.qos != Some(id.qos().into()) {
            self.damaged += 1;
            self.example(format!("row {}: {id} is damaged, or its qos {:?}", row.id, row.qos));
        }
        let shelf = &mut self.shelves[id.topic];
        let place = id.sequence as usize;
        let is_repeated = shelf.count[place] > 0;
        let newer_is_unmarked = is_repeated && !shelf.is_marked.has(id.sequence);
        shelf.count[place] = shelf.count[place].saturating_add(1);
        shelf.first[place] = row.id.try_into().unwrap_or(u32::MAX);
        shelf.is_marked.set(id.sequence, row.dup == Some(true));
        if newer_is_unmarked {
            *self.unmarked.entry(id).or_default() += 1;
        }
    }

    /// How many rows a message has.
    pub fn count(&self, id: Id) -> u32 {
        self.shelves[id.topic].count[id.sequence as usize].into()
    }

    /// How many rows beyond a message's first one do not say that they repeat it.
    pub fn unmarked(&self, id: Id) -> u32 {
        self.unmarked.get(&id).copied().unwrap_or_default()
    }

    /// A message's first row; 0 where it has none.
    pub fn first(&self, id: Id) -> u32 {
        self.shelves[id.topic].first[id.sequence as usize]
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }
}
