//! The newest chunks, and how a reader comes from its own pages to them: every row once, in order, or told as missed.

use std::collections::VecDeque;
use std::sync::Arc;

use super::chunk::{Chunk, Topics};
use super::waiting::{Seat, Waiting};

/// How much is kept, and for whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// What all chunks of the ring may have between them; the newest is kept whatever its size.
    pub(super) bytes_max: usize,
    /// How far a reader may be behind what all have been given, counted in ids, and that behind the newest row: beyond
    /// it, the rows between are missed. A resumed reader is owed all of them, until it has caught up once.
    pub(super) lag_rows_max: i64,
}

/// Chunks that follow one another without a gap, up to the position.
#[derive(Debug)]
pub(super) struct Ring {
    bounds: Bounds,
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    /// Who has everything up to the position.
    waiting: Waiting,
    /// The last row's id that has been given to all.
    position: i64,
    /// How often the ids have gone back, and to which one the last time.
    resets: u64,
    reset_to: i64,
}

/// What is to be given to all next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Nothing,
    /// The rows after one id, up to another.
    Read {
        after: i64,
        until: i64,
    },
    /// The position has moved, which all have been told.
    Moved,
}

/// How far one reader is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// It has been given all that it wants up to this id; more, where it waits: see [`Seat::has_seen`].
    pub(super) id: i64,
    /// Whether it is owed whatever came since.
    is_resuming: bool,
    resets: u64,
    pub(super) seat: Arc<Seat>,
}

/// What one reader does next.
#[derive(Debug)]
pub(super) enum Step {
    /// It has everything; its seat says when there is more.
    Wait,
    /// It takes what it wants of this chunk.
    Take(Arc<Chunk>),
    /// It reads a page of its own.
    Read { until: i64 },
    /// It has missed the rows with these ids, and has been put behind them.
    Missed { from: i64, to: i64 },
}

impl Ring {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (chunks, waiting) = (VecDeque::new(), Waiting::default());
        Self { bounds, chunks, bytes: 0, waiting, position: 0, resets: 0, reset_to: 0 }
    }

    /// The first reader has come; nobody waits for what is older.
    pub(super) fn restart(&mut self, newest: i64) {
        self.clear();
        self.position = newest;
    }

    /// The last reader has left.
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.bytes = 0;
    }

    /// What to do while `newest` is the newest row; 0 where that is not known.
    pub(super) fn next(&mut self, newest: i64) -> Next {
        if newest == 0 || newest == self.position {
            return Next::Nothing;
        }
        if newest < self.position {
            // The newest rows were deleted, and without `autoincrement` their ids are given again.
            self.jump(newest);
            self.resets += 1;
            self.reset_to = newest;
            return Next::Moved;
        }
        if newest.saturating_sub(self.position) > self.bounds.lag_rows_max {
            self.jump(newest);
            return Next::Moved;
        }
        Next::Read { after: self.position, until: newest }
    }

    fn jump(&mut self, newest: i64) {
        self.waiting.wake_all(self.position);
        self.restart(newest);
    }

    /// Gives a chunk to all, if it follows the position, which it moves; how many it woke.
    pub(super) fn publish(&mut self, chunk: Arc<Chunk>) -> usize {
        // The first reader may have come while it was read.
        if chunk.after != self.position || chunk.last <= chunk.after {
            return 0;
        }
        let woken = self.waiting.wake_for(&chunk);
        self.position = chunk.last;
        self.bytes += chunk.bytes();
        self.chunks.push_back(chunk);
        while self.bytes > self.bounds.bytes_max && self.chunks.len() > 1 {
            self.bytes -= self.chunks.pop_front().map_or(0, |chunk| chunk.bytes());
        }
        woken
    }

    /// A reader that begins after a row, or with what comes after `newest`.
    pub(super) fn begin(&self, after: Option<i64>, newest: i64) -> Place {
        let id = after.unwrap_or(newest);
        Place { id, is_resuming: after.is_some(), resets: self.resets, seat: Seat::new() }
    }

    /// How many wait for whatever comes.
    pub(super) fn wait_for_all(&self) -> usize {
        self.waiting.for_all()
    }

    /// A reader is gone.
    pub(super) fn leave(&mut self, place: &Place, topics: &Topics) {
        self.waiting.leave(topics, &place.seat);
    }

    pub(super) fn step(&mut self, place: &mut Place, topics: &Topics) -> Step {
        place.id = place.seat.has_seen(place.id, self.position);
        if place.resets != self.resets {
            place.resets = self.resets;
            place.id = place.id.min(self.reset_to);
        }
        if place.id >= self.position {
            place.is_resuming = false;
            self.waiting.enter(topics, &place.seat);
            return Step::Wait;
        }
        let oldest = self.chunks.front().map_or(self.position, |chunk| chunk.after);
        if oldest <= place.id {
            place.is_resuming = false;
            let number = self.chunks.partition_point(|chunk| chunk.last <= place.id);
            if let Some(chunk) = self.chunks.get(number) {
                return Step::Take(chunk.clone());
            }
        }
        if place.is_resuming || self.position - place.id <= self.bounds.lag_rows_max {
            return Step::Read { until: oldest };
        }
        let from = place.id + 1;
        place.id = self.position;
        Step::Missed { from, to: self.position }
    }
}

#[cfg(test)]
mod tests;
