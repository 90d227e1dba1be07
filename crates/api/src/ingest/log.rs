//! When the write-ahead log is copied into the database: beside the commits, so that no answer waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Task;
use crate::store::{Checkpointer, Log, StoreError};

/// What goes into the log before it is copied, about: four times SQLite's own thousand pages. A copy syncs twice, and the
/// syncs of spool and commits wait behind those.
const COPY_EVERY_BYTES: u64 = 16 << 20;
/// What may go into the log until it starts over, about: where copying is slower than writing, who writes waits for it then.
const LOG_BYTES_MAX: u64 = 38 << 20;
/// A log of so many pages is copied to its end while nobody writes: 32 MiB, where a page has 4 KiB.
const LOG_PAGES_MAX: u64 = 8192;
/// What a transaction writes beside its rows, about: the last page of `dados`, that of its ids, and the ledger's.
const TRANSACTION_BYTES: u64 = 12 << 10;

/// What the writer and the one who copies tell each other.
#[derive(Debug, Default)]
pub(super) struct Tidings {
    /// Since the last copy began, about.
    written_bytes: AtomicU64,
    /// Since the log started over, about.
    log_bytes: AtomicU64,
    due: Notify,
    /// Held while it is copied beside the commits.
    copying: Mutex<()>,
    /// Whether the log is so long that the writer should see it to its end.
    is_long: AtomicBool,
    is_failing: AtomicBool,
}

impl Tidings {
    /// No room for a longer log: once it is copied, it starts over in the room that it has.
    pub(super) fn no_room(&self) {
        self.is_long.store(true, Ordering::Relaxed);
    }

    /// A failed copy has lost nothing: the log is as durable as the database. It is tried again when more is written.
    fn copied(&self, began: Instant, result: Result<Log, StoreError>) -> Option<Log> {
        let was_failing = self.is_failing.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Ok(log) => {
                debug!(pages = log.pages, copied = log.copied, elapsed_us = began.elapsed().as_micros(), "log copied");
                if was_failing {
                    info!("the log is copied into the database again");
                }
                Some(log)
            }
            Err(error) => {
                if !was_failing {
                    let error = &error as &dyn std::error::Error;
                    warn!(error, "the log cannot be copied into the database: it grows, and nothing is lost");
                }
                None
            }
        }
    }
}

/// Copies when it is told to, until the writer has ended.
pub(super) async fn copy(mut checkpointer: Checkpointer, tidings: Arc<Tidings>, ended: CancellationToken) {
    loop {
        tokio::select! {
            () = tidings.due.notified() => {}
            () = ended.cancelled() => break,
        }
        // Then it is the writer's turn.
        if tidings.is_long.load(Ordering::Relaxed) {
            continue;
        }
        tidings.written_bytes.store(0, Ordering::Relaxed);
        let _copying = tidings.copying.lock().await;
        let began = Instant::now();
        if let Some(log) = tidings.copied(began, checkpointer.checkpoint().await) {
            tidings.is_long.store(log.pages >= LOG_PAGES_MAX, Ordering::Relaxed);
        }
    }
    checkpointer.close().await;
}

impl Task {
    /// A transaction whose rows have so many bytes was committed, and whoever waited for it is answered.
    pub(super) async fn logged(&mut self, bytes: u64) {
        let bytes = bytes + TRANSACTION_BYTES;
        let written = self.tidings.written_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let log_bytes = self.tidings.log_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if log_bytes >= LOG_BYTES_MAX || self.tidings.is_long.load(Ordering::Relaxed) {
            // The other has just copied nearly all of it, or is at it, on a disk that is slower than who writes. Where a
            // reader is in the way of both, this is soon given up.
            let _other = self.tidings.copying.lock().await;
            let began = Instant::now();
            self.tidings.copied(began, self.writer.checkpoint().await);
            self.tidings.is_long.store(false, Ordering::Relaxed);
            self.tidings.log_bytes.store(0, Ordering::Relaxed);
        } else if written >= COPY_EVERY_BYTES {
            self.tidings.due.notify_one();
        }
    }
}
