//! What is older than the settings allow goes, piece by piece beside the batches: messages, readings, roll-ups.

use std::time::Duration;

use dados::Timestamp;
use service::doctor::Finding;
use service::doctor::words::span;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::ingest::{AsideError, Ingest};
use crate::store::retention::{Aged, Gone, Place};

/// Between two looks for what has become too old.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// Pieces of `dados` in a row in which nothing was too old, after which the rest is taken to be newer. Rows lie in the
/// order of their coming: one that came late with an old time goes with its neighbours.
const YOUNG_PIECES_MAX: u32 = 16;

/// How old rows may become; for ever where none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ages {
    pub(crate) messages: Option<Duration>,
    pub(crate) readings: Option<Duration>,
    pub(crate) minutes: Option<Duration>,
    pub(crate) hours: Option<Duration>,
}

/// What goes when, for `check`.
pub(crate) fn in_words(ages: Ages) -> Finding {
    let all = [
        (ages.messages, "messages"),
        (ages.readings, "readings"),
        (ages.minutes, "readings by minute"),
        (ages.hours, "readings by hour"),
    ];
    let gone: Vec<_> =
        all.iter().filter_map(|(age, of)| Some(format!("{of} after {}", span((*age)?.as_secs_f64())))).collect();
    let what = match gone.is_empty() {
        true => "nothing is ever deleted".to_owned(),
        false => format!("deleted are {}; the rest stays", gone.join(", ")),
    };
    Finding::ok("retention", what)
}

/// Looks again and again until the writer ends.
pub(crate) async fn run(ages: Ages, ingest: Ingest, closing: CancellationToken) {
    if ages == Ages::default() {
        closing.cancelled().await;
        return;
    }
    let mut is_failing = false;
    let look = async {
        loop {
            match sweep(ages, &ingest, Timestamp::now()).await {
                Ok(rows) => {
                    if std::mem::take(&mut is_failing) {
                        info!("old rows are deleted again");
                    }
                    if rows > 0 {
                        info!(rows, "old rows deleted");
                    }
                }
                Err(AsideError::Closed) => return,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        warn!(error = &error as &dyn std::error::Error, "old rows cannot be deleted");
                    }
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    closing.run_until_cancelled(look).await;
}

/// Deletes all that is too old now; how many rows.
async fn sweep(ages: Ages, ingest: &Ingest, now: Timestamp) -> Result<u64, AsideError> {
    let mut rows = 0;
    if let Some(before) = before(now, ages.messages) {
        rows += messages(ingest, before).await?;
    }
    for (aged, age) in [(Aged::Readings, ages.readings), (Aged::Minutes, ages.minutes), (Aged::Hours, ages.hours)] {
        if let Some(before) = before(now, age) {
            rows += readings(ingest, aged, before).await?;
        }
    }
    while rows > 0 && ingest.aside(|writer| Box::pin(writer.give_back())).await? {}
    Ok(rows)
}

/// The moment that rows must not be older than. None where none can be: the age is longer than time.
fn before(now: Timestamp, age: Option<Duration>) -> Option<Timestamp> {
    let age_ms = i64::try_from(age?.as_millis()).ok()?;
    Timestamp::from_ms(now.as_ms().checked_sub(age_ms)?).ok()
}

async fn messages(ingest: &Ingest, before: Timestamp) -> Result<u64, AsideError> {
    let (mut rows, mut after_id, mut young_pieces) = (0, 0, 0);
    while young_pieces < YOUNG_PIECES_MAX {
        let retire = ingest.aside(move |writer| Box::pin(writer.retire_messages(after_id, before)));
        let Gone { rows: gone, next } = retire.await?;
        debug!(gone, after_id, "messages retired");
        rows += gone;
        young_pieces = if gone == 0 { young_pieces + 1 } else { 0 };
        let Some(last_id) = next else { break };
        after_id = last_id;
    }
    Ok(rows)
}

async fn readings(ingest: &Ingest, aged: Aged, before: Timestamp) -> Result<u64, AsideError> {
    let (mut rows, mut place) = (0, Some(Place::default()));
    while let Some(after) = place {
        let retire =
            ingest.aside(move |writer| Box::pin(async move { writer.retire_readings(aged, &after, before).await }));
        let Gone { rows: gone, next } = retire.await?;
        rows += gone;
        place = next;
    }
    Ok(rows)
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
}
