//! Batches with an idempotency key: the same key of the same token on the same route is stored once.

use dados::Timestamp;
use sqlx::SqliteConnection;

use super::insert::{Within, insert, rows_left_out};
use crate::store::{Batch, Key, Outcome, Row};

/// How long a key is remembered at least.
pub(super) const KEY_LIFE_MS: i64 = 24 * 3_600_000;

/// Stores the batch inside the open transaction unless its key was used before.
pub(super) async fn store(
    conn: &mut SqliteConnection,
    (batch, key): (&Batch, &Key),
    now: Timestamp,
) -> Result<Outcome, sqlx::Error> {
    let Key { key, fingerprint, sender, route } = key;
    let token = sender.name().unwrap_or_default();
    let oldest = Timestamp::from_ms(now.as_ms() - KEY_LIFE_MS).unwrap_or(now).to_sql();
    // A small step at every new key keeps up with any rate of keys.
    sqlx::query(
        "delete from idempotencia where id in (select id from idempotencia order by id limit 16) and criado_em < ?",
    )
    .bind(&oldest)
    .execute(&mut *conn)
    .await?;
    let used: Option<(Vec<u8>, i64, i64)> = sqlx::query_as(
        "select impressao, primeiro_id, inseridos from idempotencia
         where token = ? and rota = ? and chave = ? and criado_em >= ?",
    )
    .bind(token)
    .bind(*route)
    .bind(key)
    .bind(&oldest)
    .fetch_optional(&mut *conn)
    .await?;
    match used {
        Some((used_for, first_id, inserted)) if used_for == fingerprint => {
            return Ok(Outcome::Replayed { first_id, inserted: inserted as u64 });
        }
        Some(_) => return Ok(Outcome::KeyReused),
        None => {}
    }
    let rows: Vec<&Row> = batch.rows.iter().collect();
    let first_id = insert(&mut *conn, &rows, None, Within::Open).await?;
    let kept = sqlx::query(
        "insert or replace into idempotencia (token, rota, chave, impressao, primeiro_id, inseridos, criado_em)
         values (?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(token)
    .bind(*route)
    .bind(key)
    .bind(fingerprint.as_slice())
    .bind(first_id)
    .bind(rows.len() as i64)
    .bind(now.to_sql())
    .execute(conn)
    .await?;
    if kept.rows_affected() != 1 {
        return Err(rows_left_out());
    }
    Ok(Outcome::Stored { first_id, inserted: rows.len() as u64, duplicates: 0 })
}
