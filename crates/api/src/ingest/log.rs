//! When the write-ahead log is copied into the database: beside the commits, so that no answer waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Task;
use super::pace::Pace;
use crate::store::{Checkpointer, Log, OpenFiles, StoreError};

/// A copy takes what goes into the log in this time, about, within limits. The syncs of spool and commits wait behind those
/// of a copy: a small one delays nobody for long, and many of them a second delay too many.
const COPY_EVERY: Duration = Duration::from_millis(100);
const COPY_BYTES_MIN: u64 = 2 << 20;
const COPY_BYTES_MAX: u64 = 8 << 20;
/// A log that has so much when it is copied is copied to its end while nobody writes, so that it can start over: then only
/// what came during the copy is left, a few pages.
const LONG_BYTES: u64 = 30 << 20;
/// At so much the writer copies it to its end in any case. Where copying is slower than writing, who writes waits for it
/// here.
const LOG_BYTES_MAX: u64 = 34 << 20;
/// After so much more it is tried again: who reads at that moment keeps the log from starting over. A copy beside the
/// commits comes before, and tells whether it has.
const AGAIN_BYTES: u64 = 4 << 20;
/// Once so much is written, the log's file gets the length that it will have: whoever stores little has a short one.
const LENGTHEN_AFTER_BYTES: u64 = 1 << 20;
/// A log that has so much is held up by somebody who reads an old state of the database: as a rule it starts over at
/// [`LOG_BYTES_MAX`]. It grows until they end, which is said at this length and each time it has doubled.
pub(crate) const HELD_BYTES: u64 = 128 << 20;
/// How often it is looked whether it still is, while nobody writes.
const HELD_LOOK_EVERY: Duration = Duration::from_secs(10);
/// SQLite's default; a database that was made with smaller pages has its log copied sooner than it need be.
const PAGE_BYTES: u64 = 4096;
/// What a transaction writes beside its rows, about: the last page of `dados`, that of its ids, and the ledger's.
const TRANSACTION_BYTES: u64 = 12 << 10;

/// What the writer and the one who copies tell each other.
#[derive(Debug)]
pub(super) struct Tidings {
    /// Since the last copy began, about.
    written_bytes: AtomicU64,
    /// What the log had then, about.
    had_bytes: AtomicU64,
    /// With so much written, the next copy is due.
    due_bytes: AtomicU64,
    due: Notify,
    is_lengthened: AtomicBool,
    short: Notify,
    /// Held while it is copied beside the commits.
    copying: Mutex<()>,
    /// A long log was copied, and the writer may copy the rest.
    is_rest_due: AtomicBool,
    is_failing: AtomicBool,
    /// What the log has while somebody's read keeps it from being copied; else 0.
    held_bytes: AtomicU64,
    /// What it had when this was last said; else 0.
    warned_bytes: AtomicU64,
    files: Arc<OpenFiles>,
}

impl Default for Tidings {
    fn default() -> Self {
        Self {
            written_bytes: AtomicU64::new(0),
            had_bytes: AtomicU64::new(0),
            due_bytes: AtomicU64::new(COPY_BYTES_MIN),
            due: Notify::new(),
            is_lengthened: AtomicBool::new(false),
            short: Notify::new(),
            copying: Mutex::new(()),
            is_rest_due: AtomicBool::new(false),
            is_failing: AtomicBool::new(false),
            held_bytes: AtomicU64::new(0),
            warned_bytes: AtomicU64::new(0),
            files: Arc::default(),
        }
    }
}

impl Tidings {
    pub(super) fn new(files: Arc<OpenFiles>) -> Self {
        Self { files, ..Self::default() }
    }

    /// What the log has, if that is much and somebody's read keeps it from being copied; else 0.
    pub(super) fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Notes and logs whether the log is held up.
    fn look_at_length(&self, Log { pages, copied }: Log) {
        let bytes = pages * PAGE_BYTES;
        let is_held = bytes >= HELD_BYTES && copied < pages;
        self.held_bytes.store(if is_held { bytes } else { 0 }, Ordering::Relaxed);
        let warned_bytes = self.warned_bytes.load(Ordering::Relaxed);
        if bytes < HELD_BYTES {
            if warned_bytes > 0 {
                self.warned_bytes.store(0, Ordering::Relaxed);
                info!("the write-ahead log has started over");
            }
        } else if is_held && bytes >= 2 * warned_bytes {
            self.warned_bytes.store(bytes, Ordering::Relaxed);
            let readers = self.files.log_readers();
            let readers = readers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let message = "the write-ahead log grows: a program reads an old state of the database, and must end that read; \
                           see ponte-api check";
            warn!(bytes, readers, "{message}");
        }
    }

    /// No room for a longer log: once it is copied, it starts over in the room that it has.
    pub(super) fn no_room(&self) {
        self.had_bytes.store(LOG_BYTES_MAX, Ordering::Relaxed);
    }

    /// What the log has, about.
    fn log_bytes(&self) -> u64 {
        self.had_bytes.load(Ordering::Relaxed) + self.written_bytes.load(Ordering::Relaxed)
    }

    /// Whether it is worth a copy beside the commits, and not the writer's turn. One comes as soon as the log is long.
    fn is_due(&self) -> bool {
        let (had, written) = (self.had_bytes.load(Ordering::Relaxed), self.written_bytes.load(Ordering::Relaxed));
        let becomes_long = had < LONG_BYTES && had + written >= LONG_BYTES;
        (written >= self.due_bytes.load(Ordering::Relaxed) || becomes_long) && had + written < LOG_BYTES_MAX
    }

    /// Whether the writer copies the rest.
    fn is_writers_turn(&self) -> bool {
        self.is_rest_due.load(Ordering::Relaxed) || self.log_bytes() >= LOG_BYTES_MAX
    }

    /// A copy beside the commits has ended, and the next is due after so much. One that failed is not the writer's to try.
    fn copied_beside(&self, began: Instant, result: Result<Log, StoreError>, due_bytes: u64) {
        let is_copied = result.is_ok();
        self.copied(began, result);
        let is_long = self.had_bytes.load(Ordering::Relaxed) >= LONG_BYTES;
        self.is_rest_due.store(is_copied && is_long, Ordering::Relaxed);
        self.due_bytes.store(due_bytes, Ordering::Relaxed);
    }

    /// The writer's copy has ended. The log starts over with the next commit, unless someone reads: the next copy tells,
    /// and comes soon.
    fn copied_by_writer(&self, began: Instant, result: Result<Log, StoreError>) {
        self.copied(began, result);
        self.had_bytes.fetch_min(LOG_BYTES_MAX - AGAIN_BYTES, Ordering::Relaxed);
        self.is_rest_due.store(false, Ordering::Relaxed);
        self.due_bytes.store(COPY_BYTES_MIN, Ordering::Relaxed);
    }

    /// A copy begins: what is written from now on is not in what it tells of the log.
    fn copying_begins(&self) -> Instant {
        self.had_bytes.fetch_add(self.written_bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        Instant::now()
    }

    /// A failed copy has lost nothing: the log is as durable as the database. It is tried again when more is written.
    fn copied(&self, began: Instant, result: Result<Log, StoreError>) {
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Ok(log) => {
                debug!(pages = log.pages, copied = log.copied, elapsed_us = began.elapsed().as_micros(), "log copied");
                if was_failing {
                    info!("the log is copied into the database again");
                }
                self.had_bytes.store(log.pages * PAGE_BYTES, Ordering::Relaxed);
                self.look_at_length(log);
            }
            Err(error) => {
                if !was_failing {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "the log cannot be copied into the database: it grows, and nothing is lost");
                }
            }
        }
    }
}

/// Copies when it is told to, until the writer has ended.
pub(super) async fn copy(mut checkpointer: Checkpointer, tidings: Arc<Tidings>, ended: CancellationToken) {
    let mut pace = Pace::new(COPY_EVERY, COPY_BYTES_MIN..=COPY_BYTES_MAX);
    loop {
        let mut is_look = false;
        tokio::select! {
            () = tidings.due.notified() => {}
            () = tokio::time::sleep(HELD_LOOK_EVERY), if tidings.held_bytes() > 0 => is_look = true,
            () = tidings.short.notified() => {
                // It grows with its frames then, and commits are slower.
                match checkpointer.lengthen(LOG_BYTES_MAX, &ended).await {
                    Ok(bytes) => debug!(bytes, "log lengthened"),
                    Err(error) => debug!(error = &error as &dyn std::error::Error, "log not lengthened"),
                }
                continue;
            }
            () = ended.cancelled() => break,
        }
        let _copying = tidings.copying.lock().await;
        // The writer may have copied it meanwhile, or be about to.
        if tidings.is_due() || is_look {
            let began = tidings.copying_begins();
            let result = checkpointer.checkpoint().await;
            tidings.copied_beside(began, result, pace.next(began));
        }
    }
    checkpointer.close().await;
}

impl Task {
    /// A transaction whose rows have so many bytes was committed, and whoever waited for it is answered.
    pub(super) async fn logged(&mut self, bytes: u64) {
        let bytes = bytes + TRANSACTION_BYTES;
        let written = self.tidings.written_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if self.tidings.is_writers_turn() {
            // The other has just copied nearly all of it, or is at it, on a disk that is slower than who writes. Where a
            // reader is in the way of both, this is soon given up.
            let _other = self.tidings.copying.lock().await;
            let began = self.tidings.copying_begins();
            let result = self.writer.checkpoint().await;
            self.tidings.copied_by_writer(began, result);
        } else if self.tidings.is_due() {
            self.tidings.due.notify_one();
        } else if written >= LENGTHEN_AFTER_BYTES && !self.tidings.is_lengthened.swap(true, Ordering::Relaxed) {
            self.tidings.short.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log as a copy finds it.
    fn found(bytes: u64) -> Result<Log, StoreError> {
        Ok(Log { pages: bytes / PAGE_BYTES, copied: bytes / PAGE_BYTES })
    }

    fn write(tidings: &Tidings, bytes: u64) {
        tidings.written_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    #[test]
    fn what_is_written_during_a_copy_is_still_counted() {
        let tidings = Tidings::default();
        write(&tidings, COPY_BYTES_MIN);
        let began = tidings.copying_begins();
        assert_eq!(tidings.log_bytes(), COPY_BYTES_MIN);
        write(&tidings, 12 << 20);
        tidings.copied(began, found(COPY_BYTES_MIN));
        assert_eq!(tidings.log_bytes(), COPY_BYTES_MIN + (12 << 20));
    }

    #[test]
    fn the_writer_copies_only_the_rest_of_a_long_log_and_the_next_copy_tells_what_became_of_it() {
        for due_bytes in [COPY_BYTES_MIN, COPY_BYTES_MAX] {
            let tidings = Tidings::default();
            let copy_beside = |bytes| {
                assert!(tidings.is_due());
                tidings.copied_beside(tidings.copying_begins(), found(bytes), due_bytes);
            };
            // Until it is long, it is copied beside the commits alone.
            let mut log = 0;
            while log < LONG_BYTES {
                assert!(!tidings.is_due() && !tidings.is_writers_turn());
                while !tidings.is_due() {
                    write(&tidings, 1 << 20);
                    log += 1 << 20;
                }
                assert!(!tidings.is_writers_turn());
                copy_beside(log);
            }
            for starts_over in [false, true] {
                assert!(tidings.is_writers_turn());
                tidings.copied_by_writer(tidings.copying_begins(), found(log));
                assert!(!tidings.is_writers_turn());
                // The one beside finds out, before it would be the writer's turn again.
                write(&tidings, COPY_BYTES_MIN);
                log = if starts_over { 0 } else { log } + COPY_BYTES_MIN;
                copy_beside(log);
            }
            assert!(!tidings.is_writers_turn() && tidings.log_bytes() == COPY_BYTES_MIN);
        }
    }

    #[test]
    fn a_copy_that_fails_is_tried_again_beside_the_commits_until_the_log_has_its_limit() {
        let tidings = Tidings::default();
        write(&tidings, LONG_BYTES);
        assert!(tidings.is_due());
        tidings.copied_beside(tidings.copying_begins(), Err(StoreError::Slow), COPY_BYTES_MIN);
        assert!(!tidings.is_writers_turn());
        write(&tidings, COPY_BYTES_MIN);
        assert!(tidings.is_due());
        write(&tidings, LOG_BYTES_MAX - LONG_BYTES - COPY_BYTES_MIN);
        assert!(tidings.is_writers_turn() && !tidings.is_due());
    }

    #[test]
    fn a_log_that_a_read_holds_up_is_noticed_until_it_is_copied() {
        let (tidings, held_pages) = (Tidings::default(), HELD_BYTES / PAGE_BYTES);
        let found = |pages, copied| {
            tidings.copied(tidings.copying_begins(), Ok(Log { pages, copied }));
            (tidings.held_bytes(), tidings.warned_bytes.load(Ordering::Relaxed))
        };
        assert_eq!(found(held_pages - 1, 0), (0, 0));
        assert_eq!(found(held_pages, 5), (HELD_BYTES, HELD_BYTES));
        // Said again when it has doubled.
        assert_eq!(found(held_pages + 9, 5), (HELD_BYTES + 9 * PAGE_BYTES, HELD_BYTES));
        assert_eq!(found(2 * held_pages, 5), (2 * HELD_BYTES, 2 * HELD_BYTES));
        // The read has ended, and the next commit starts the log over.
        assert_eq!(found(2 * held_pages, 2 * held_pages), (0, 2 * HELD_BYTES));
        assert_eq!(found(3, 0), (0, 0));
    }

    #[test]
    fn who_writes_faster_than_the_disk_copies_waits_at_the_limit() {
        let tidings = Tidings::default();
        write(&tidings, LOG_BYTES_MAX);
        assert!(tidings.is_writers_turn() && !tidings.is_due());
        tidings.copied_by_writer(tidings.copying_begins(), found(LOG_BYTES_MAX));
        assert!(!tidings.is_writers_turn());
    }
}
