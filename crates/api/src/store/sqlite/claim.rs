//! Whose a producer is: a sender uses its own, takes one that is nobody's, or makes a new one.

use std::sync::Arc;

use dados::Timestamp;
use sqlx::SqliteConnection;
use tracing::info;
use uuid::Uuid;

use super::insert::rows_left_out;
use crate::store::{Denial, Sender};

/// Producers that one token makes at most, and all senders together where access is anonymous: many times what a plant
/// has, and a few hundred kilobytes.
pub(super) const PRODUCERS_PER_TOKEN_MAX: i64 = 1_000;

/// A producer that its sender may use.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    /// Its key in `produtores`.
    pub(super) id: i64,
    /// Its watermark: every sequence up to this one is accounted for.
    pub(super) last_sequence: i64,
    /// Its token's name.
    pub(super) token: Option<Arc<str>>,
}

/// What is stored of a producer.
#[derive(sqlx::FromRow)]
struct Stored {
    id: i64,
    ultima_sequencia: i64,
    confirmadas: i64,
    token: Option<String>,
}

/// The producer for a sender whose next row has `first_sequence` (a report has 1, which is always allowed). It is the
/// sender's from then on, is made where it is new, and counts as heard of. A denial changes nothing.
///
/// What lies between the watermark and the batch must have been reported as accounted for. Else a batch that begins far
/// ahead would make the messages before it look like repetitions, and those would vanish.
pub(super) async fn claim(
    conn: &mut SqliteConnection,
    (uuid, sender, first_sequence): (Uuid, &Sender, i64),
    now: Timestamp,
) -> Result<Result<Claimed, Denial>, sqlx::Error> {
    let sql = "select id, ultima_sequencia, confirmadas, token from produtores where uuid = ?";
    let stored: Option<Stored> = sqlx::query_as(sql).bind(uuid.to_string()).fetch_optional(&mut *conn).await?;
    if stored.as_ref().is_some_and(|stored| !sender.may_use(stored.token.as_deref())) {
        return Ok(Err(Denial::OtherToken));
    }
    let accounted = stored.as_ref().map_or(0, |stored| stored.ultima_sequencia.max(stored.confirmadas));
    if first_sequence > accounted.saturating_add(1) {
        return Ok(Err(Denial::Unreported { first_sequence_max: accounted.saturating_add(1) }));
    }
    let token = sender.name().map(Arc::from);
    let Some(stored) = stored else {
        return make(conn, uuid, token, now).await;
    };
    if !sender.owns(stored.token.as_deref()) {
        info!(producer = %uuid, from = stored.token, to = token.as_deref(), "the producer belongs to another token now");
    }
    let updated = sqlx::query("update produtores set token = ?, visto_em = ? where id = ?")
        .bind(token.as_deref())
        .bind(now.to_sql())
        .bind(stored.id)
        .execute(conn)
        .await?;
    if updated.rows_affected() != 1 {
        return Err(rows_left_out());
    }
    Ok(Ok(Claimed { id: stored.id, last_sequence: stored.ultima_sequencia, token }))
}

async fn make(
    conn: &mut SqliteConnection,
    uuid: Uuid,
    token: Option<Arc<str>>,
    now: Timestamp,
) -> Result<Result<Claimed, Denial>, sqlx::Error> {
    let count = sqlx::query_scalar("select count(*) from produtores where token is ?").bind(token.as_deref());
    if count.fetch_one(&mut *conn).await.map(|count: i64| count >= PRODUCERS_PER_TOKEN_MAX)? {
        return Ok(Err(Denial::TooManyProducers));
    }
    let sql = "insert into produtores (uuid, token, criado_em, visto_em) values (?1, ?2, ?3, ?3) returning id";
    let insert = sqlx::query_scalar(sql).bind(uuid.to_string()).bind(token.as_deref()).bind(now.to_sql());
    let id = insert.fetch_optional(conn).await?.ok_or_else(rows_left_out)?;
    Ok(Ok(Claimed { id, last_sequence: 0, token }))
}
