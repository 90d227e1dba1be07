//! What memory requests may have at the same time: bodies until they are stored, answers until they are taken.
//!
//! - [`cgroup`]: how much memory the system lets this process have

mod cgroup;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::cgroup::memory_max;

/// What the program may have in all, in bodies of the largest size: see [`Budget::new`].
const BODIES_IN_ALL: usize = 8;
/// What the program may have in all where bodies are smaller than usual, in bytes.
const BYTES_IN_ALL_MIN: usize = 256 << 20;
/// Bytes of a body that is no large one: what a subscriber sends, and its rows.
const MEDIUM_BYTES_MAX: usize = 2 << 20;
/// Bytes of a small body: some readings.
const SMALL_BYTES_MAX: usize = 64 << 10;
/// What followers may hold at least: the newest rows, which are kept for all of them, and as much again.
const LIVE_BYTES_MIN: usize = 16 << 20;
/// Bytes of an answer that is taken though no memory is left for answers: each has so many.
const ANSWER_BYTES_MIN: usize = 64 << 10;
/// One answer may have one in so many of the bytes that are left: the more wait for their clients, the shorter others are.
const ANSWER_PART: usize = 16;

/// No memory is left for another body or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

/// How much memory each kind of work may have, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// The largest body.
    pub(crate) body: usize,
    /// All bodies and the rows made of them, until they are stored.
    pub(crate) bodies: usize,
    /// Beside these, what is left to bodies up to [`MEDIUM_BYTES_MAX`], and again to those up to [`SMALL_BYTES_MAX`].
    pub(crate) reserve: usize,
    /// All answers, until they are taken.
    pub(crate) answers: usize,
    /// New rows that followers have not taken yet.
    pub(crate) live: usize,
}

impl Budget {
    /// What a program of which `body_bytes_max` is asked for may have, and which the system lets have no more than
    /// `memory_max`.
    ///
    /// All of it is eight largest bodies: two that are read or wait, one that is parsed and its rows, and two copies that
    /// SQLite makes of a row while it is written are five; one is for answers, one for followers, and one for everything
    /// else. Where the system allows less, the largest body is smaller than asked for.
    pub(crate) fn new(body_bytes_max: usize, memory_max: Option<u64>) -> Self {
        let asked = body_bytes_max.saturating_mul(BODIES_IN_ALL).max(BYTES_IN_ALL_MIN);
        let memory_max = memory_max.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        let unit = asked.min(memory_max) / BODIES_IN_ALL;
        let (body, live) = (body_bytes_max.min(unit), unit.max(LIVE_BYTES_MIN));
        Self { body, bodies: 2 * unit, reserve: unit / 4, answers: unit, live }
    }
}

/// The bytes that are left.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    bodies: [Share; 3],
    answers: Share,
    /// The turn to parse a body that is not small.
    parsing: Arc<Semaphore>,
}

/// Bytes that requests take from and give back.
#[derive(Clone, Debug)]
struct Share {
    free: Arc<Semaphore>,
    bytes_max: usize,
    /// A request that holds more takes nothing from here.
    request_bytes_max: usize,
}

impl Share {
    fn new(bytes: usize, request_bytes_max: usize) -> Self {
        let bytes_max = bytes.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(bytes_max)), bytes_max, request_bytes_max }
    }

    fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.free.clone().try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }

    fn held(&self) -> usize {
        self.bytes_max - self.free.available_permits()
    }
}

/// Bytes that one request holds; they are free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    memory: Memory,
    held: [Option<OwnedSemaphorePermit>; 3],
}

impl Memory {
    pub(crate) fn new(budget: Budget) -> Self {
        let bodies = [
            Share::new(budget.bodies, usize::MAX),
            Share::new(budget.reserve, MEDIUM_BYTES_MAX),
            Share::new(budget.reserve, SMALL_BYTES_MAX),
        ];
        let answers = Share::new(budget.answers, usize::MAX);
        Self { bodies, answers, parsing: Arc::new(Semaphore::new(1)) }
    }

    /// Bytes that all bodies hold now.
    pub(crate) fn held(&self) -> usize {
        self.bodies.iter().map(Share::held).sum()
    }

    /// Bytes that they may hold.
    pub(crate) fn max(&self) -> usize {
        self.bodies.iter().map(|share| share.bytes_max).sum()
    }

    /// Bytes that all answers hold now, and may hold.
    pub(crate) fn answers(&self) -> (usize, usize) {
        (self.answers.held(), self.answers.bytes_max)
    }

    /// Nothing yet, of a body.
    pub(crate) fn reserve(&self) -> Reservation {
        Reservation { memory: self.clone(), held: [None, None, None] }
    }

    /// Waits for the turn to parse a body that is not small. While it is parsed, there are its bytes and its rows.
    pub(crate) async fn parsing(&self, body_bytes: usize) -> Option<OwnedSemaphorePermit> {
        if body_bytes <= MEDIUM_BYTES_MAX {
            return None;
        }
        // It is never closed.
        self.parsing.clone().acquire_owned().await.ok()
    }

    /// Memory for an answer of up to `bytes_max`, and less while many wait for clients that are slow to take theirs; but
    /// each has a little.
    pub(crate) fn answer(&self, bytes_max: usize) -> AnswerMemory {
        let answers = self.answers.clone();
        let bytes = bytes_max.min(answers.free.available_permits() / ANSWER_PART);
        match answers.take(bytes).filter(|_| bytes >= ANSWER_BYTES_MIN) {
            held @ Some(_) => AnswerMemory { answers, held, bytes },
            // Half of it for its texts.
            None => AnswerMemory { answers, held: None, bytes: bytes_max.min(ANSWER_BYTES_MIN / 2) },
        }
    }
}

impl Reservation {
    /// Holds `bytes` more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let after = self.bytes().saturating_add(bytes);
        let shares = self.memory.bodies.iter().zip(&mut self.held);
        for (share, held) in shares.filter(|(share, _)| after <= share.request_bytes_max) {
            if let Some(more) = share.take(bytes) {
                match held {
                    Some(held) => held.merge(more),
                    None => *held = Some(more),
                }
                return Ok(());
            }
        }
        Err(OutOfMemory)
    }

    /// The bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.held.iter().flatten().map(OwnedSemaphorePermit::num_permits).sum()
    }
}

/// Bytes that one answer may have; they are free again when it is dropped.
#[derive(Debug)]
pub(crate) struct AnswerMemory {
    answers: Share,
    held: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl AnswerMemory {
    /// How many they are.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The answer itself, which holds as much as it has until the last part of it is dropped.
    pub(crate) fn hold(mut self, answer: Bytes) -> Result<Bytes, OutOfMemory> {
        self.settle(answer.len())?;
        Ok(if self.held.is_some() { Bytes::from_owner(Held { answer, _memory: self }) } else { answer })
    }

    fn settle(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        if bytes <= ANSWER_BYTES_MIN {
            self.held = None;
        } else if bytes > held {
            let more = self.answers.take(bytes - held).ok_or(OutOfMemory)?;
            match &mut self.held {
                Some(held) => held.merge(more),
                None => self.held = Some(more),
            }
        } else {
            drop(self.held.as_mut().and_then(|permits| permits.split(held - bytes)));
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// An answer with its memory.
struct Held {
    answer: Bytes,
    _memory: AnswerMemory,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.answer
    }
}

#[cfg(test)]
mod tests;
