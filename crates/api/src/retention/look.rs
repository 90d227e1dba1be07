//! The task that looks for what is too old, and deletes as much of it as it may.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dados::Timestamp;
use service::clock::since_boot;
use tracing::{debug, info, warn};

use super::Retention;
use super::trust::{Doubt, Trust};
use crate::ingest::{AsideError, Ingest};
use crate::store::retention::{Aged, Cutoff, Gone, Place};
use crate::store::{Reader, StoreError};

/// Between two looks for what has become too old.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A look deletes at most one row in so many of a table, but always one, unless an operator confirms: 5 %.
const SHARE_MAX: u64 = 20;
/// After a look that had to leave rows, a table rests for this part of its age: with 90d, 5 % go in 22 hours, five times as
/// many as become too old.
const REST_SHARE: u32 = 100;
/// How often a doubt that lasts is logged again.
const DOUBT_LOG_EVERY: Duration = Duration::from_secs(6 * 3600);
/// How often it is stored that the clock is believed.
const BELIEVE_EVERY: Duration = Duration::from_secs(3600);
/// A time so far ahead of our clock is no time of a message that is young.
const AHEAD: Duration = Duration::from_secs(24 * 3600);

/// Why a look did not do all of its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Aside(#[from] AsideError),
    #[error(transparent)]
    Read(#[from] StoreError),
}

pub(super) struct Task {
    retention: Retention,
    ingest: Ingest,
    reader: Reader,
    trust: Option<Trust>,
    believed_at: Option<Duration>,
    doubt_logged_at: Option<Duration>,
    /// By table: it is not looked at before.
    rests_until: [Duration; Aged::ALL.len()],
}

impl Task {
    pub(super) fn new(retention: Retention, ingest: Ingest, reader: Reader) -> Self {
        let rests_until = [Duration::ZERO; Aged::ALL.len()];
        Self { retention, ingest, reader, trust: None, believed_at: None, doubt_logged_at: None, rests_until }
    }

    pub(super) async fn run(mut self, file_time: Option<Timestamp>) {
        let mut is_failing = false;
        let shared = self.retention.shared.clone();
        loop {
            let is_confirmed = shared.is_confirmed.swap(false, Ordering::Relaxed);
            match self.look(file_time, is_confirmed).await {
                Ok(rows) => {
                    if std::mem::take(&mut is_failing) {
                        info!("old rows are deleted again");
                    }
                    if rows > 0 {
                        info!(rows, "old rows deleted");
                    }
                }
                Err(Failure::Aside(AsideError::Closed)) => return,
                Err(error) => {
                    // Who has confirmed waits for it.
                    shared.is_confirmed.fetch_or(is_confirmed, Ordering::Relaxed);
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!(error = &error as &dyn std::error::Error, "old rows cannot be deleted");
                    }
                }
            }
            let _ = tokio::time::timeout(LOOK_EVERY, shared.confirmed.notified()).await;
        }
    }

    /// Deletes what is too old, as far as it may now; how many rows.
    pub(super) async fn look(&mut self, file_time: Option<Timestamp>, is_confirmed: bool) -> Result<u64, Failure> {
        let (now, since_boot) = (Timestamp::now(), since_boot());
        let newest = self.reader.newest_time().await?;
        let trust = match &mut self.trust {
            Some(trust) => trust,
            None => {
                // Without a word of an earlier start, the clock may be far from neither of the two.
                let reference = match self.reader.believed_time().await? {
                    None => newest.map_or(file_time, |newest| Some(file_time.map_or(newest, |time| time.min(newest)))),
                    believed => believed,
                };
                self.trust.insert(Trust::new(reference, now, since_boot))
            }
        };
        if is_confirmed {
            trust.confirm(now, since_boot);
        }
        if let Err(doubt) = trust.look(now, since_boot, newest) {
            self.doubted(doubt, now, since_boot).await?;
            return Ok(0);
        }
        if self.doubt_logged_at.take().is_some() {
            info!(%now, "the clock is believed again: old rows are deleted");
        }
        let mut rows = 0;
        for aged in Aged::ALL {
            rows += self.table(aged, now, since_boot, is_confirmed).await?;
        }
        self.believe(now, since_boot).await?;
        while rows > 0 && self.ingest.aside(|writer| Box::pin(writer.give_back())).await? {}
        if is_confirmed {
            self.retention.shared.applied.fetch_add(1, Ordering::Relaxed);
        }
        Ok(rows)
    }

    /// Deletes nothing, and says how much it would be.
    async fn doubted(&mut self, doubt: Doubt, now: Timestamp, since_boot: Duration) -> Result<(), Failure> {
        if self.doubt_logged_at.is_some_and(|at| since_boot.saturating_sub(at) < DOUBT_LOG_EVERY) {
            return Ok(());
        }
        let mut all = 0;
        for aged in Aged::ALL {
            let rows = match self.cutoff(aged, now).await? {
                Some(cutoff) => self.reader.count_old(aged, &cutoff).await?,
                None => 0,
            };
            self.keep(aged, rows);
            all += rows;
        }
        self.doubt_logged_at = Some(since_boot);
        warn!(
            rows = all,
            clock = %now,
            why = %doubt,
            "nothing is deleted while the clock is in doubt: set it, or confirm it with `ponte-api retention apply`"
        );
        Ok(())
    }

    /// Deletes what is too old of a table; how many rows.
    async fn table(
        &mut self,
        aged: Aged,
        now: Timestamp,
        since_boot: Duration,
        is_confirmed: bool,
    ) -> Result<u64, Failure> {
        let Some(cutoff) = self.cutoff(aged, now).await? else { return Ok(0) };
        if !is_confirmed && since_boot < self.rests_until[aged as usize] {
            return Ok(0);
        }
        let old = self.reader.count_old(aged, &cutoff).await?;
        let most = match is_confirmed {
            true => old,
            // As many rows are counted as it takes to know that all may go.
            false => share(self.reader.count_rows(aged, old.saturating_mul(SHARE_MAX)).await?),
        };
        let rows = self.retire(aged, cutoff, old.min(most)).await?;
        self.retention.shared.deleted.fetch_add(rows, Ordering::Relaxed);
        self.keep(aged, old.saturating_sub(rows));
        if old > most {
            let rest = self.retention.ages.of(aged).unwrap_or_default() / REST_SHARE;
            self.rests_until[aged as usize] = since_boot + rest.max(LOOK_EVERY);
            warn!(
                table = aged.as_str(),
                rows = old,
                deleted = rows,
                before = %cutoff.before,
                next_in_s = rest.max(LOOK_EVERY).as_secs(),
                "more than 5 % of a table is too old: only so many rows are deleted at a time, unless you confirm all of it \
                 with `ponte-api retention apply`"
            );
        }
        Ok(rows)
    }

    async fn retire(&self, aged: Aged, cutoff: Cutoff, rows_max: u64) -> Result<u64, AsideError> {
        let (mut rows, mut place) = (0, Some(Place::default()));
        while let Some(from) = place.take_if(|_| rows < rows_max) {
            let left = rows_max - rows;
            let work = self
                .ingest
                .aside(move |writer| Box::pin(async move { writer.retire(aged, &from, &cutoff, left).await }));
            let Gone { rows: gone, next } = work.await?;
            debug!(gone, table = aged.as_str(), "rows retired");
            rows += gone;
            place = next;
        }
        Ok(rows)
    }

    /// None where nothing of the table can be too old.
    async fn cutoff(&self, aged: Aged, now: Timestamp) -> Result<Option<Cutoff>, StoreError> {
        let Some(before) = before(now, self.retention.ages.of(aged)) else { return Ok(None) };
        let ahead = Timestamp::from_ms(now.as_ms() + AHEAD.as_millis() as i64).unwrap_or(now);
        self.reader.cutoff(before, ahead).await.map(Some)
    }

    /// Stores from time to time that the clock was believed: the next start goes by it.
    async fn believe(&mut self, now: Timestamp, since_boot: Duration) -> Result<(), AsideError> {
        if self.believed_at.is_none_or(|at| since_boot.saturating_sub(at) >= BELIEVE_EVERY) {
            self.ingest.aside(move |writer| Box::pin(writer.believe(now))).await?;
            self.believed_at = Some(since_boot);
        }
        Ok(())
    }

    fn keep(&self, aged: Aged, rows: u64) {
        self.retention.shared.kept.lock().expect("no holder panics")[aged as usize] = rows;
    }
}

/// How many of so many rows a look may delete.
fn share(rows: u64) -> u64 {
    (rows / SHARE_MAX).max(1)
}

/// The moment that rows must not be older than. None where none can be: the age is longer than time.
fn before(now: Timestamp, age: Option<Duration>) -> Option<Timestamp> {
    let age_ms = i64::try_from(age?.as_millis()).ok()?;
    Timestamp::from_ms(now.as_ms().checked_sub(age_ms)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_longer_than_time_is_none() {
        let now = Timestamp::from_ms(1_795_404_105_678).unwrap();
        assert_eq!(before(now, None), None);
        assert_eq!(before(now, Some(Duration::MAX)), None);
        assert_eq!(before(now, Some(Duration::from_secs(5_000 * 365 * 86_400))), None);
        assert_eq!(before(now, Some(Duration::from_secs(3600))).unwrap().as_ms(), 1_795_404_105_678 - 3_600_000);
    }

    #[test]
    fn a_look_deletes_a_twentieth_and_of_a_small_table_one_row() {
        for (rows, most) in [(0, 1), (1, 1), (39, 1), (40, 2), (1_000, 50)] {
            assert_eq!(share(rows), most);
        }
    }
}
