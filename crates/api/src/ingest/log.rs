//! When the write-ahead log is copied into the database: beside the commits, so that no answer waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Task;
use crate::store::{Checkpointer, Log, StoreError};

/// What goes into the log before it is copied, about. The syncs of spool and commits wait behind those of a copy: small
/// ones come often, and delay nobody for long.
const COPY_EVERY_BYTES: u64 = 2 << 20;
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
/// SQLite's default; a database that was made with smaller pages has its log copied sooner than it need be.
const PAGE_BYTES: u64 = 4096;
/// What a transaction writes beside its rows, about: the last page of `dados`, that of its ids, and the ledger's.
const TRANSACTION_BYTES: u64 = 12 << 10;

/// What the writer and the one who copies tell each other.
#[derive(Debug, Default)]
pub(super) struct Tidings {
    /// Since the last copy began, about.
    written_bytes: AtomicU64,
    /// What the log had then, about.
    had_bytes: AtomicU64,
    due: Notify,
    is_lengthened: AtomicBool,
    short: Notify,
    /// Held while it is copied beside the commits.
    copying: Mutex<()>,
    /// A long log was copied, and the writer may copy the rest.
    is_rest_due: AtomicBool,
    is_failing: AtomicBool,
}

impl Tidings {
    /// No room for a longer log: once it is copied, it starts over in the room that it has.
    pub(super) fn no_room(&self) {
        self.had_bytes.store(LOG_BYTES_MAX, Ordering::Relaxed);
    }

    /// What the log has, about.
    fn log_bytes(&self) -> u64 {
        self.had_bytes.load(Ordering::Relaxed) + self.written_bytes.load(Ordering::Relaxed)
    }

    /// Whether it is worth a copy beside the commits, and not the writer's turn.
    fn is_due(&self) -> bool {
        self.written_bytes.load(Ordering::Relaxed) >= COPY_EVERY_BYTES && self.log_bytes() < LOG_BYTES_MAX
    }

    /// Whether the writer copies the rest.
    fn is_writers_turn(&self) -> bool {
        self.is_rest_due.load(Ordering::Relaxed) || self.log_bytes() >= LOG_BYTES_MAX
    }

    /// A copy beside the commits has ended.
    fn copied_beside(&self) {
        let is_long = self.had_bytes.load(Ordering::Relaxed) >= LONG_BYTES;
        self.is_rest_due.store(is_long, Ordering::Relaxed);
    }

    /// The writer's copy has ended. The log starts over with the next commit, unless someone reads: the next copy tells.
    fn copied_by_writer(&self) {
        self.had_bytes.fetch_min(LOG_BYTES_MAX - AGAIN_BYTES, Ordering::Relaxed);
        self.is_rest_due.store(false, Ordering::Relaxed);
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
    loop {
        tokio::select! {
            () = tidings.due.notified() => {}
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
        if tidings.is_due() {
            let began = tidings.copying_begins();
            tidings.copied(began, checkpointer.checkpoint().await);
            tidings.copied_beside();
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
            self.tidings.copied(began, self.writer.checkpoint().await);
            self.tidings.copied_by_writer();
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

    #[test]
    fn what_is_written_during_a_copy_is_still_counted() {
        let tidings = Tidings::default();
        tidings.written_bytes.store(COPY_EVERY_BYTES, Ordering::Relaxed);
        let began = tidings.copying_begins();
        assert_eq!(tidings.log_bytes(), COPY_EVERY_BYTES);
        tidings.written_bytes.store(12 << 20, Ordering::Relaxed);
        let pages = COPY_EVERY_BYTES / PAGE_BYTES;
        tidings.copied(began, Ok(Log { pages, copied: pages }));
        assert_eq!(tidings.log_bytes(), COPY_EVERY_BYTES + (12 << 20));
    }

    /// The log as a copy finds it.
    fn found(bytes: u64) -> Result<Log, StoreError> {
        Ok(Log { pages: bytes / PAGE_BYTES, copied: bytes / PAGE_BYTES })
    }

    #[test]
    fn the_writer_copies_only_the_rest_of_a_long_log_and_the_next_copy_tells_what_became_of_it() {
        let tidings = Tidings::default();
        let write = |bytes| tidings.written_bytes.fetch_add(bytes, Ordering::Relaxed);
        let copy_beside = |bytes| {
            assert!(tidings.is_due());
            tidings.copied(tidings.copying_begins(), found(bytes));
            tidings.copied_beside();
        };
        // Until it is long, it is copied beside the commits alone.
        let mut log = 0;
        while log < LONG_BYTES {
            assert!(!tidings.is_due() && !tidings.is_writers_turn());
            write(COPY_EVERY_BYTES);
            log += COPY_EVERY_BYTES;
            assert!(!tidings.is_writers_turn());
            copy_beside(log);
        }
        for starts_over in [false, true] {
            assert!(tidings.is_writers_turn());
            tidings.copied(tidings.copying_begins(), found(log));
            tidings.copied_by_writer();
            assert!(!tidings.is_writers_turn());
            // The one beside finds out, before it would be the writer's turn again.
            write(COPY_EVERY_BYTES);
            log = if starts_over { 0 } else { log } + COPY_EVERY_BYTES;
            copy_beside(log);
        }
        assert!(!tidings.is_writers_turn() && tidings.log_bytes() == COPY_EVERY_BYTES);
    }

    #[test]
    fn who_writes_faster_than_the_disk_copies_waits_at_the_limit() {
        let tidings = Tidings::default();
        tidings.written_bytes.store(LOG_BYTES_MAX, Ordering::Relaxed);
        assert!(tidings.is_writers_turn() && !tidings.is_due());
        tidings.copied(tidings.copying_begins(), found(LOG_BYTES_MAX));
        tidings.copied_by_writer();
        assert!(!tidings.is_writers_turn());
    }
}
