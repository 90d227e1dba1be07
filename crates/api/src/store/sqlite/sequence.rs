//! A producer's batches: the rows above its watermark are news, and the watermark moves with them.

use std::collections::HashMap;

use dados::Timestamp;
use sqlx::SqliteConnection;
use uuid::Uuid;

use super::insert::{Sent, Within, insert};
use crate::store::{Batch, Outcome, Row};

/// Producers that are remembered; one more, and memory starts over.
const PRODUCERS_MAX: usize = 1024;

/// What the connection's transactions have said of producers, as long as it lives: any error ends it, and with it what
/// is in here, committed or not. Nobody else writes, and a report changes none of it.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<Uuid, Producer>);

#[derive(Clone, Copy, Debug)]
struct Producer {
    /// Its key in `produtores`.
    id: i64,
    /// Its watermark: every sequence up to this one is accounted for.
    last_sequence: i64,
}

impl Producer {
    /// How many rows at the batch's head were stored before.
    fn duplicates(self, batch: &Batch, first_sequence: i64) -> usize {
        (self.last_sequence - first_sequence + 1).clamp(0, batch.rows.len() as i64) as usize
    }
}

impl Known {
    fn remember(&mut self, uuid: Uuid, producer: Producer) {
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
    (batch, uuid, first_sequence): (&Batch, Uuid, i64),
    now: Timestamp,
) -> Result<Option<Outcome>, sqlx::Error> {
    let Some(producer) = known.0.get(&uuid).copied() else { return Ok(None) };
    if producer.duplicates(batch, first_sequence) == batch.rows.len() {
        return Ok(None);
    }
    store_news(conn, known, (batch, uuid, first_sequence), producer, now, Within::Own).await.map(Some)
}

/// Stores the batch inside the open transaction. A gap is the producer's business: it quarantines.
pub(super) async fn store(
    conn: &mut SqliteConnection,
    known: &mut Known,
    (batch, uuid, first_sequence): (&Batch, Uuid, i64),
    now: Timestamp,
) -> Result<Outcome, sqlx::Error> {
    let has_news = |producer: &Producer| producer.duplicates(batch, first_sequence) < batch.rows.len();
    let producer = match known.0.get(&uuid).copied().filter(has_news) {
        Some(producer) => producer,
        None => heard_of(conn, uuid, now).await?,
    };
    store_news(conn, known, (batch, uuid, first_sequence), producer, now, Within::Open).await
}

/// Makes the producer where it is new, and notes that it was heard of, news or not.
async fn heard_of(conn: &mut SqliteConnection, uuid: Uuid, now: Timestamp) -> Result<Producer, sqlx::Error> {
    let upsert = "insert into produtores (uuid, criado_em, visto_em) values (?1, ?2, ?2)
                  on conflict (uuid) do update set visto_em = excluded.visto_em
                  returning id, ultima_sequencia";
    let (id, last_sequence) = sqlx::query_as(upsert).bind(uuid.to_string()).bind(now.to_sql()).fetch_one(conn).await?;
    Ok(Producer { id, last_sequence })
}

async fn store_news(
    conn: &mut SqliteConnection,
    known: &mut Known,
    (batch, uuid, first_sequence): (&Batch, Uuid, i64),
    mut producer: Producer,
    now: Timestamp,
    within: Within,
) -> Result<Outcome, sqlx::Error> {
    let duplicates = producer.duplicates(batch, first_sequence);
    let news: Vec<&Row> = batch.rows[duplicates..].iter().collect();
    let (text, now) = (uuid.to_string(), now.to_sql());
    let Producer { id: producer_id, last_sequence } = producer;
    let sent =
        Sent { producer_id, uuid: &text, last_sequence, first_sequence: first_sequence + duplicates as i64, now: &now };
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
            known.remember(Uuid::from_u128(uuid), Producer { id: 1, last_sequence: 1 });
            assert!(known.0.len() <= PRODUCERS_MAX);
            assert!(known.0.contains_key(&Uuid::from_u128(uuid)));
        }
    }
}
