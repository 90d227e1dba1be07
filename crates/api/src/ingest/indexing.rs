//! When the indexes of topics and of time take up rows: after the answers, and never so long that a batch waits for much of it.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::Task;
use super::pace::Pace;
use crate::store::{Indexed, Outcome, STEP_ROWS, StoreError};

/// What a row takes in the index, about.
const ENTRY_BYTES: u64 = 32;
/// Rows that a step takes up at least: where few come, no batch waits long for it, three milliseconds on a slow disk.
const STEP_ROWS_MIN: u64 = 512;

/// A step takes up what comes in this time, about: so seldom that fewer than one in a hundred of those who ask meet one.
const STEP_EVERY: Duration = Duration::from_millis(400);

/// What the index has not taken up, counted by ids, and when to take up more of it.
#[derive(Debug)]
pub(super) struct Backlog {
    at: Indexed,
    /// Rows stored that no step has made up for yet.
    owed_rows: u64,
    /// Whether the last step failed, and so the next is not tried before a commit succeeds.
    must_wait: bool,
    /// Whether the log has it that steps fail.
    is_failing: bool,
    /// Rows that the next step takes up.
    pace: Pace,
}

impl Default for Backlog {
    fn default() -> Self {
        let pace = Pace::new(STEP_EVERY, STEP_ROWS_MIN..=STEP_ROWS);
        Self { at: Indexed::default(), owed_rows: 0, must_wait: false, is_failing: false, pace }
    }
}

impl Backlog {
    /// Ids from the index's last to the newest: as many rows or, where some are gone, fewer.
    fn rows(&self) -> u64 {
        self.at.newest_id.saturating_sub(self.at.last_id).max(0).unsigned_abs()
    }

    /// Whether a step is worth its pages: then it is taken as soon as nobody waits.
    pub(super) fn is_due(&self) -> bool {
        !self.must_wait && self.rows() >= STEP_ROWS
    }

    /// Whether a step comes before whoever waits: as many rows leave the backlog as come into it, or it would grow for
    /// as long as the load lasts. What was there before the load waits for its end.
    pub(super) fn is_owed(&self) -> bool {
        self.is_due() && self.owed_rows >= STEP_ROWS
    }

    fn stored(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            if let Outcome::Stored { first_id, inserted, .. } = outcome {
                self.at.newest_id = self.at.newest_id.max(first_id.saturating_add_unsigned(*inserted) - 1);
                self.owed_rows += inserted;
            }
        }
        self.must_wait = false;
    }

    fn moved(&mut self, at: Indexed) {
        let taken_up = at.last_id.saturating_sub(self.at.last_id).max(0).unsigned_abs();
        self.at = at;
        self.owed_rows = self.owed_rows.saturating_sub(taken_up).min(self.rows());
    }

    fn failed(&mut self) {
        self.must_wait = true;
        self.owed_rows = 0;
    }
}

impl Task {
    /// Where the index was left, before the first batch.
    pub(super) async fn look_at_index(&mut self) {
        let result = self.writer.indexed().await;
        self.take(result);
    }

    /// One step. It changes nothing for anyone who reads or writes, and so its failure is nobody's: it is tried again.
    pub(super) async fn index(&mut self) {
        let began = Instant::now();
        let rows_max = self.backlog.pace.next(began);
        let result = self.writer.index(rows_max).await;
        debug!(rows_max, elapsed_us = began.elapsed().as_micros(), "step of the indexes");
        self.take(result);
        self.logged(rows_max * ENTRY_BYTES).await;
    }

    /// A commit succeeded.
    pub(super) fn stored(&mut self, outcomes: &[Outcome]) {
        self.backlog.stored(outcomes);
        self.tell();
    }

    fn take(&mut self, result: Result<Indexed, StoreError>) {
        match &result {
            Ok(at) => {
                self.backlog.moved(*at);
                debug!(last_id = at.last_id, newest_id = at.newest_id, "rows indexed");
                if std::mem::take(&mut self.backlog.is_failing) {
                    info!("rows are indexed again");
                }
            }
            Err(error) => {
                self.backlog.failed();
                self.commits.failed(error.failure());
                if !std::mem::replace(&mut self.backlog.is_failing, true) {
                    let error = error as &dyn std::error::Error;
                    warn!(error, "rows cannot be indexed: reading by topic or time stays exact and becomes slower");
                }
            }
        }
        self.tell();
    }

    fn tell(&self) {
        self.state.unindexed.store(self.backlog.rows(), Ordering::Relaxed);
        self.newest.send_if_modified(|newest| std::mem::replace(newest, self.backlog.at.newest_id) != *newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: i64 = STEP_ROWS.cast_signed();

    fn behind(rows: i64) -> Backlog {
        Backlog { at: Indexed { last_id: 0, newest_id: rows }, ..Backlog::default() }
    }

    /// What a step of so many rows does to the backlog, as the database does it.
    fn step(backlog: &mut Backlog, rows: i64) {
        let Indexed { last_id, newest_id } = backlog.at;
        backlog.moved(Indexed { last_id: newest_id.min(last_id + rows), newest_id });
    }

    fn store(backlog: &mut Backlog, rows: i64) {
        let first_id = backlog.at.newest_id + 1;
        backlog.stored(&[Outcome::Stored { first_id, inserted: rows.unsigned_abs(), duplicates: 0 }]);
    }

    #[test]
    fn a_step_waits_until_it_is_worth_its_pages() {
        let mut backlog = Backlog::default();
        store(&mut backlog, STEP - 1);
        assert!(!backlog.is_due() && !backlog.is_owed());
        store(&mut backlog, 1);
        assert!(backlog.is_due() && backlog.is_owed());
        step(&mut backlog, STEP);
        assert!(!backlog.is_due() && backlog.rows() == 0);
    }

    #[test]
    fn under_load_the_backlog_does_not_grow_and_at_rest_it_goes() {
        // The second as where rows are of many topics.
        for step_rows in [STEP, STEP / 8] {
            let mut backlog = behind(100 * STEP);
            assert!(backlog.is_due() && !backlog.is_owed(), "what was there before comes when nobody waits");
            for rows in [1, 30, STEP / 3, STEP, 2 * STEP + 1].into_iter().cycle().take(1_000) {
                store(&mut backlog, rows);
                while backlog.is_owed() {
                    step(&mut backlog, step_rows);
                }
                assert!(backlog.rows() < 101 * STEP_ROWS);
            }
            while backlog.is_due() {
                step(&mut backlog, step_rows);
            }
            assert!(backlog.rows() < STEP_ROWS && backlog.owed_rows < STEP_ROWS);
        }
    }

    #[test]
    fn after_a_failure_the_next_commit_is_the_next_occasion() {
        let mut backlog = behind(2 * STEP);
        backlog.failed();
        assert!(!backlog.is_due() && !backlog.is_owed());
        store(&mut backlog, 1);
        assert!(backlog.is_due() && !backlog.is_owed());
    }

    #[test]
    fn rows_that_are_gone_are_not_waited_for() {
        let mut backlog = behind(10 * STEP);
        backlog.moved(Indexed { last_id: 5, newest_id: 5 });
        assert!(!backlog.is_due() && backlog.rows() == 0);
        backlog.moved(Indexed { last_id: i64::MAX, newest_id: i64::MIN });
        assert_eq!(backlog.rows(), 0);
    }
}
