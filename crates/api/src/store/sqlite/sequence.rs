//! A producer's batches: the rows above its watermark are news, and the watermark moves with them.

use std::collections::HashMap;

use dados::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::claim::{Claimed, claim};
use super::insert::{Sent, Within, insert};
use crate::store::{Batch, Outcome, Row, Sender};

/// Producers that are remembered; one more, and memory starts over.
const PRODUCERS_MAX: usize = 1024;

/// What the connection's transactions have said of producers, as long as it lives: any error ends it, and with it what
/// is in here, committed or not. Nobody else writes. A report may change whose a producer is, so it is forgotten.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<Uuid, Claimed>);

/// A batch with its place among its producer's rows, and who sent it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequenced<'a> {
    pub(super) batch: &'a Batch,
    pub(super) uuid: Uuid,
    pub(super) first_sequence: i64,
    pub(super) sender: &'a Sender,
}

impl Sequenced<'_> {
    /// How many rows at the batch's head were stored before.
    fn duplicates(&self, producer: &Claimed) -> usize {
        (producer.last_sequence - self.first_sequence + 1).clamp(0, self.batch.rows.len() as i64) as usize
    }

    /// Whether it can be stored with nothing but what is known: the sender's own producer, no gap, and news.
    fn follows(&self, producer: &Claimed) -> bool {
        self.sender.owns(producer.token.as_deref())
            && self.first_sequence <= producer.last_sequence + 1
            && self.duplicates(producer) < self.batch.rows.len()
    }
}

impl Known {
    pub(super) fn forget(&mut self, uuid: Uuid) {
        self.0.remove(&uuid);
    }

    fn remember(&mut self, uuid: Uuid, producer: Claimed) {
        if self.0.len() >= PRODUCERS_MAX && !self.0.contains_key(&uuid) {
            self.0.clear();
        }
        self.0.insert(uuid, producer);
    }
}

/// Stores the batch in a transaction of its own that costs no round trip to the connection's thread, if that can be done:
/// its producer is known, and it has news.
pub(super) async fn store_alone(
    conn: &mut SqliteConnection,
    known: &mut Known,
    sent: Sequenced<'_>,
    now: Timestamp,
) -> Result<Option<Outcome>, sqlx::Error> {
    let Some(producer) = known.0.get(&sent.uuid).filter(|producer| sent.follows(producer)).cloned() else {
        return Ok(None);
    };
    store_news(conn, known, sent, producer, now, Within::Own).await.map(Some)
}

/// Stores the batch inside the open transaction, if its sender may send it.
pub(super) async fn store(
    conn: &mut SqliteConnection,
    known: &mut Known,
    sent: Sequenced<'_>,
    now: Timestamp,
) -> Result<Outcome, sqlx::Error> {
    let producer = match known.0.get(&sent.uuid).filter(|producer| sent.follows(producer)).cloned() {
        Some(producer) => producer,
        None => match claim(conn, (sent.uuid, sent.sender, sent.first_sequence), now).await? {
            Ok(producer) => producer,
            Err(denial) => return Ok(Outcome::Denied(denial)),
        },
    };
    store_news(conn, known, sent, producer, now, Within::Open).await
}

async fn store_news(
    conn: &mut SqliteConnection,
    known: &mut Known,
    sent: Sequenced<'_>,
    mut producer: Claimed,
    now: Timestamp,
    within: Within,
) -> Result<Outcome, sqlx::Error> {
    let duplicates = sent.duplicates(&producer);
    let Sequenced { batch, uuid, first_sequence, .. } = sent;
    let news: Vec<&Row> = batch.rows[duplicates..].iter().collect();
    let (text, now) = (uuid.to_string(), now.to_sql());
    let Claimed { id: producer_id, last_sequence, ref token } = producer;
    let sent = Sent {
        producer_id,
        uuid: &text,
        token: token.as_deref(),
        last_sequence,
        first_sequence: first_sequence + duplicates as i64,
        now: &now,
    };
    let first_id = if news.is_empty() { 0 } else { insert(conn, &news, Some(sent), within).await? };
    producer.last_sequence = last_sequence.max(first_sequence + batch.rows.len() as i64 - 1);
    known.remember(uuid, producer);
    Ok(Outcome::Stored { first_id, inserted: news.len() as u64, duplicates: duplicates as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_an_end() {
        let mut known = Known::default();
        for uuid in 0..3 * PRODUCERS_MAX as u128 {
            known.remember(Uuid::from_u128(uuid), Claimed { id: 1, last_sequence: 1, token: None });
            assert!(known.0.len() <= PRODUCERS_MAX);
            assert!(known.0.contains_key(&Uuid::from_u128(uuid)));
        }
    }
}
