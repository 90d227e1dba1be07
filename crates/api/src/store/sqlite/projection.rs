//! `leituras`, `topicos`, `campos` and the roll-ups: read what they follow from, add a step, know how far they have come.

use dados::Formato;
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _, SqliteConnection};

use super::read::{Reader, bounded};
use super::write::Writer;
use super::{rebuild, step};
use crate::store::projection::{Ahead, Carried, Generation, KnownField, Message, Position, Projected, Since, Step};
use crate::store::{LARGE_VALUE_BYTES, StoreError};

/// Text of the messages of a step, about.
const STEP_BYTES_MAX: usize = 4 << 20;

/// What is read of a large value, as if that were all: enough for the first characters of a text, and no JSON.
const LARGE_HEAD_BYTES: usize = 8 << 10;

/// The cursor of what is read, and the prefix of the tables that are made anew and of their cursor.
pub(super) const CURRENT: &str = "leituras";
pub(super) const NEXT: &str = "refeita_";
/// The tables that follow `dados` by that cursor.
pub(super) const TABLES: [&str; 5] = ["leituras", "topicos", "campos", "leituras_minuto", "leituras_hora"];

impl Reader {
    /// The messages beyond a position up to an id, in the order of their ids: at most so many, and no more than
    /// [`STEP_BYTES_MAX`] and one. Where the position is between two pieces of a step, all that the step has left.
    pub(crate) async fn messages(
        &self,
        beyond: &Position,
        last_id: i64,
        rows_max: usize,
    ) -> Result<Vec<Message>, StoreError> {
        let (last_id, rows_max, bytes_max) = match &beyond.ahead {
            // What was begun was within the limits.
            Some(ahead) => (ahead.until_id, -1, usize::MAX),
            None => (last_id, rows_max as i64, STEP_BYTES_MAX),
        };
        let sql = format!(
            "select id, cast(cast(topico as text) as blob),
                 case when octet_length(valor) > {LARGE_VALUE_BYTES}
                     then substr(cast(valor as blob), 1, {LARGE_HEAD_BYTES}) else cast(cast(valor as text) as blob) end,
                 cast(cast(timestamp as text) as blob), cast(cast(formato as text) as blob)
             from dados where id > ? and id <= ? order by id limit ?"
        );
        let mut selected =
            sqlx::query(AssertSqlSafe(sql)).bind(beyond.last_id).bind(last_id).bind(rows_max).fetch(&self.pool);
        let read = async {
            let (mut messages, mut bytes) = (Vec::new(), 0);
            while let Some(row) = selected.try_next().await? {
                let message = message(&row)?;
                if beyond.ahead.as_ref().is_some_and(|ahead| ahead.has(&message.topico, None)) {
                    continue;
                }
                bytes += message.valor.len();
                messages.push(message);
                if bytes >= bytes_max {
                    break;
                }
            }
            Ok(messages)
        };
        bounded(read).await
    }
}

impl Reader {
    /// The fields that a topic of a generation has had up to a message, at most so many of them, the oldest first. Where
    /// messages are gone that the next generation would have them from, those of the current one count for it too.
    pub(crate) async fn known_fields(
        &self,
        topico: &str,
        until_id: i64,
        (generation, carried): (Generation, Carried),
        count_max: usize,
    ) -> Result<Vec<KnownField>, StoreError> {
        let prefix = match generation {
            Generation::Current => "",
            Generation::Next => NEXT,
        };
        let columns = "cast(campo as blob), primeiro_id, cast(primeiro_timestamp as text)";
        let mut sql =
            format!("select {columns} from {prefix}campos where topico = ?1 and coalesce(primeiro_id, 0) <= ?2");
        if generation == Generation::Next && carried.until.is_some() {
            sql += &format!(
                " union select {columns} from campos where topico = ?1
                 and not exists (select 1 from dados where id = primeiro_id)"
            );
        }
        sql += " order by 2, 1 limit ?3";
        let query = sqlx::query(AssertSqlSafe(sql)).bind(topico).bind(until_id).bind(count_max as i64);
        let mut selected = query.fetch(&self.pool);
        let read = async {
            let mut known = Vec::new();
            while let Some(row) = selected.try_next().await? {
                let campo: &[u8] = row.try_get(0)?;
                let captured: Option<&str> = row.try_get(2)?;
                let captured = captured.and_then(|text| text.parse().ok());
                let since = row.try_get::<Option<i64>, _>(1)?.zip(captured);
                known.push(KnownField {
                    campo: String::from_utf8_lossy(campo).into(),
                    since: since.map(|(id, captured)| Since { id, captured }),
                });
            }
            Ok(known)
        };
        bounded(read).await
    }
}

fn message(row: &SqliteRow) -> Result<Message, sqlx::Error> {
    let text = |column: usize| -> Result<String, sqlx::Error> {
        let bytes: Option<&[u8]> = row.try_get(column)?;
        Ok(String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned())
    };
    Ok(Message {
        id: row.try_get(0)?,
        topico: text(1)?,
        valor: text(2)?,
        timestamp: text(3)?.parse().ok(),
        formato: (text(4)? == Formato::Base64.as_str()).then_some(Formato::Base64),
    })
}

impl Writer {
    /// How far the projections have come. Who has emptied `projecoes` by hand has them begin anew.
    pub(crate) async fn projected(&mut self) -> Result<Projected, StoreError> {
        let work = self.unsynced(async |tx| {
            let current = match position(tx, CURRENT).await? {
                Some(position) => position,
                None => {
                    for table in TABLES {
                        execute(tx, format!("delete from {table}")).await?;
                    }
                    set_cursor(tx, CURRENT, 0).await?;
                    Position::default()
                }
            };
            Ok(Projected { current, next: rebuild::next(tx).await? })
        });
        work.await
    }

    /// Adds a step to one generation and moves its cursor, without waiting for the disk. The cursor is not taken on trust:
    /// where it is not at the step's begin, nothing happens but an error.
    pub(crate) async fn project(&mut self, step: &Step, generation: Generation) -> Result<(), StoreError> {
        let mut session = self.take().await?;
        let result = step::add(&mut session.conn, step, generation).await;
        self.settle(session, result).await
    }
}

/// How far a generation has come; none where it is not ready.
pub(super) async fn position(conn: &mut SqliteConnection, name: &str) -> Result<Option<Position>, sqlx::Error> {
    type Found = (i64, Option<i64>, Option<String>, Option<String>);
    let sql = "select ultimo_id, ate_id, topico, campo from projecoes where nome = ?";
    let row: Option<Found> = sqlx::query_as(sql).bind(name).fetch_optional(conn).await?;
    Ok(row.map(|(last_id, until_id, topico, campo)| {
        let ahead = until_id.zip(topico);
        let ahead =
            ahead.map(|(until_id, topico)| Ahead { until_id, topico: topico.into(), campo: campo.map(Into::into) });
        Position { last_id, ahead }
    }))
}

/// Up to which message a table that follows `dados` has all.
pub(super) async fn cursor(conn: &mut SqliteConnection, name: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("select ultimo_id from projecoes where nome = ?").bind(name).fetch_optional(conn).await
}

/// Binds the name of a cursor and the id that it moves to.
pub(super) const SET_CURSOR: &str = "insert into projecoes (nome, ultimo_id) values (?, ?)
    on conflict (nome) do update set ultimo_id = excluded.ultimo_id, ate_id = null, topico = null, campo = null";

pub(super) async fn set_cursor(conn: &mut SqliteConnection, name: &str, id: i64) -> Result<(), sqlx::Error> {
    sqlx::query(SET_CURSOR).bind(name).bind(id).execute(conn).await.map(drop)
}

/// Executes a text made of names that stand in this folder; how many rows it changed.
pub(super) async fn execute(conn: &mut SqliteConnection, sql: String) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(conn).await?.rows_affected())
}
