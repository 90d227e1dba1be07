//! Readers that have everything: a chunk wakes those that it has something for, and nobody else.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

use super::chunk::{Chunk, Topics};

/// What a seat says while its reader waits: there was nothing for it yet.
const NOTHING: i64 = i64::MIN;

/// Comparisons of topics with filters for one chunk, a millisecond or two: where it takes more, whoever has a filter
/// is woken and looks.
const COMPARISONS_MAX: usize = if cfg!(test) { 2 } else { 32_768 };

/// By what a reader is woken. It changes under the ring's lock alone.
#[derive(Debug)]
pub(super) struct Seat {
    woken: Notify,
    /// Up to which id there was nothing for its reader, by the time that it was woken.
    seen: AtomicI64,
}

impl Seat {
    /// Of a reader that does not wait, and has what it says that it has.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { woken: Notify::new(), seen: AtomicI64::new(0) })
    }

    /// Until the reader is woken, perhaps before this was called.
    pub(super) async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Up to which id its reader has everything that it wants: to `id` before it waited, or to where the ring has come
    /// since, or had when the reader was woken.
    pub(super) fn has_seen(&self, id: i64, position: i64) -> i64 {
        if self.is_waiting() {
            return id.max(position);
        }
        // Told once: ids may go back.
        id.max(self.seen.swap(0, Ordering::Relaxed))
    }

    /// Whether there was nothing for its reader yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.seen.load(Ordering::Relaxed) == NOTHING
    }

    fn wake(&self, seen: i64) {
        self.seen.store(seen, Ordering::Relaxed);
        self.woken.notify_one();
    }
}

/// Who waits, by what they want.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    all: Vec<Arc<Seat>>,
    exactly: HashMap<Arc<str>, Vec<Arc<Seat>>>,
    matching: HashMap<Arc<str>, Vec<Arc<Seat>>>,
}

impl Waiting {
    /// How many wait for whatever comes.
    pub(super) fn for_all(&self) -> usize {
        self.all.len()
    }

    /// A reader has everything, and waits; unless it does already.
    pub(super) fn enter(&mut self, topics: &Topics, seat: &Arc<Seat>) {
        if seat.is_waiting() {
            return;
        }
        seat.seen.store(NOTHING, Ordering::Relaxed);
        match topics {
            Topics::All => self.all.push(seat.clone()),
            Topics::Exactly(topico) => self.exactly.entry(topico.clone()).or_default().push(seat.clone()),
            Topics::Matching(filter) => self.matching.entry(filter.clone()).or_default().push(seat.clone()),
        }
    }

    /// A reader is gone, whether it waited or not.
    pub(super) fn leave(&mut self, topics: &Topics, seat: &Arc<Seat>) {
        if !seat.is_waiting() {
            return;
        }
        match topics {
            Topics::All => remove(&mut self.all, seat),
            Topics::Exactly(topico) => remove_by(&mut self.exactly, topico, seat),
            Topics::Matching(filter) => remove_by(&mut self.matching, filter, seat),
        }
    }

    /// Wakes whoever finds something in the chunk, or has to look for it; how many they are.
    pub(super) fn wake_for(&mut self, chunk: &Chunk) -> usize {
        let mut woken = wake(self.all.drain(..), chunk.after);
        for (_, seats) in self.exactly.extract_if(|topico, _| chunk.has(topico)) {
            woken += wake(seats, chunk.after);
        }
        if !self.matching.is_empty() {
            let is_long = self.matching.len() * chunk.topics() > COMPARISONS_MAX;
            for (_, seats) in self.matching.extract_if(|filter, _| is_long || chunk.has_matching(filter)) {
                woken += wake(seats, chunk.after);
            }
        }
        woken
    }

    /// Wakes all, who had seen everything up to an id.
    pub(super) fn wake_all(&mut self, seen: i64) {
        wake(self.all.drain(..), seen);
        for (_, seats) in self.exactly.drain().chain(self.matching.drain()) {
            wake(seats, seen);
        }
    }
}

fn remove(seats: &mut Vec<Arc<Seat>>, seat: &Arc<Seat>) {
    seats.retain(|other| !Arc::ptr_eq(other, seat));
}

fn remove_by(seats_by: &mut HashMap<Arc<str>, Vec<Arc<Seat>>>, topics: &Arc<str>, seat: &Arc<Seat>) {
    if let Some(seats) = seats_by.get_mut(topics) {
        remove(seats, seat);
        if seats.is_empty() {
            seats_by.remove(topics);
        }
    }
}

fn wake(seats: impl IntoIterator<Item = Arc<Seat>>, seen: i64) -> usize {
    let mut woken = 0;
    for seat in seats {
        seat.wake(seen);
        woken += 1;
    }
    woken
}
