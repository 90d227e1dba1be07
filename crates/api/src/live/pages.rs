//! Pages that readers have to themselves while they catch up, in turn, and shared by those who are at the same row.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::chunk::{Chunk, Topics};

/// Rows and bytes of text of a page: a few milliseconds of a connection.
pub(super) const PAGE_ROWS_MAX: u32 = 1_024;
pub(super) const PAGE_BYTES_MAX: usize = 256 << 10;
/// Pages that are kept, and for how long: whoever was cut off together resumes at the same row.
const PAGES_KEPT: usize = 8;
const PAGE_LIFE: Duration = Duration::from_secs(2);
/// One in so many of the connections that read may be at pages at the same time, and one at least.
const READERS_PART: u32 = 4;

/// Whose turn it is, and the newest pages.
#[derive(Debug)]
pub(super) struct Pages {
    turns: Semaphore,
    kept: Mutex<VecDeque<Page>>,
}

#[derive(Debug)]
struct Page {
    /// Whose rows it has.
    topics: Topics,
    chunk: Arc<Chunk>,
    read: Instant,
}

impl Pages {
    /// Of a database that has so many connections to read by.
    pub(super) fn new(database_readers: u32) -> Self {
        let turns = (database_readers / READERS_PART).max(1) as usize;
        Self { turns: Semaphore::new(turns), kept: Mutex::default() }
    }

    /// Waits for a turn, behind those who have waited longer.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// The page after an id that somebody has read a moment ago.
    pub(super) fn find(&self, topics: &Topics, after: i64) -> Option<Arc<Chunk>> {
        let mut kept = self.lock();
        // Its rows may be changed by hand.
        kept.retain(|page| page.read.elapsed() < PAGE_LIFE);
        let same = |page: &&Page| page.chunk.after == after && page.topics == *topics;
        kept.iter().find(same).map(|page| page.chunk.clone())
    }

    pub(super) fn keep(&self, topics: Topics, chunk: Arc<Chunk>) {
        let mut kept = self.lock();
        kept.truncate(PAGES_KEPT - 1);
        kept.push_front(Page { topics, chunk, read: Instant::now() });
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Page>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
