//! `leituras`, `topicos`, `campos` and the roll-ups: read what they follow from, add a step, know how far they have come.

use dados::Formato;
use futures_util::TryStreamExt as _;
use sqlx::encode::Encode;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Row as _, Sqlite, SqliteConnection, Type};

use super::read::{Reader, bounded};
use super::rebuild;
use super::write::Writer;
use crate::store::StoreError;
use crate::store::projection::{
    Ahead, FieldNews, Generation, Message, Position, Projected, Reading, RollUp, Step, TopicNews,
};

/// Text of the messages of a step, about.
const STEP_BYTES_MAX: usize = 4 << 20;
/// Rows of a statement: 2048 parameters and more, of SQLite's 32766.
const CHUNK_ROWS_MAX: usize = 256;

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
        let sql = "select id, cast(cast(topico as text) as blob), cast(cast(valor as text) as blob),
                       cast(cast(timestamp as text) as blob), cast(cast(formato as text) as blob)
                   from dados where id > ? and id <= ? order by id limit ?";
        let mut selected = sqlx::query(sql).bind(beyond.last_id).bind(last_id).bind(rows_max).fetch(&self.pool);
        let read = async {
            let (mut messages, mut bytes) = (Vec::new(), 0);
            while let Some(row) = selected.try_next().await? {
                let message = message(&row)?;
                if beyond.ahead.as_ref().is_some_and(|ahead| *message.topico <= *ahead.topico) {
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

    /// Adds a step to one generation and moves its cursor. The cursor is not taken on trust: where it is not at the step's
    /// begin, nothing happens but an error.
    pub(crate) async fn project(&mut self, step: &Step, generation: Generation) -> Result<(), StoreError> {
        self.unsynced(async |tx| add_step(tx, step, generation).await).await
    }
}

/// How far a generation has come; none where it is not ready.
pub(super) async fn position(conn: &mut SqliteConnection, name: &str) -> Result<Option<Position>, sqlx::Error> {
    let sql = "select ultimo_id, ate_id, topico from projecoes where nome = ?";
    let row: Option<(i64, Option<i64>, Option<String>)> = sqlx::query_as(sql).bind(name).fetch_optional(conn).await?;
    Ok(row.map(|(last_id, until_id, topico)| {
        let ahead = until_id.zip(topico).map(|(until_id, topico)| Ahead { until_id, topico: topico.into() });
        Position { last_id, ahead }
    }))
}

/// Up to which message a table that follows `dados` has all.
pub(super) async fn cursor(conn: &mut SqliteConnection, name: &str) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar("select ultimo_id from projecoes where nome = ?").bind(name).fetch_optional(conn).await
}

pub(super) async fn set_cursor(conn: &mut SqliteConnection, name: &str, id: i64) -> Result<(), sqlx::Error> {
    let sql = "insert into projecoes (nome, ultimo_id) values (?, ?)
               on conflict (nome) do update set ultimo_id = excluded.ultimo_id, ate_id = null, topico = null";
    sqlx::query(sql).bind(name).bind(id).execute(conn).await.map(drop)
}

/// Executes a text made of names that stand in this folder; how many rows it changed.
pub(super) async fn execute(conn: &mut SqliteConnection, sql: String) -> Result<u64, sqlx::Error> {
    Ok(sqlx::query(AssertSqlSafe(sql)).persistent(false).execute(conn).await?.rows_affected())
}

async fn add_step(conn: &mut SqliteConnection, step: &Step, generation: Generation) -> Result<(), sqlx::Error> {
    let prefix = match generation {
        Generation::Current => "",
        Generation::Next => NEXT,
    };
    add_rows(conn, &READINGS, prefix, &step.readings, add_reading).await?;
    add_rows(conn, &TOPICS, prefix, &step.topics, add_topic).await?;
    add_rows(conn, &FIELDS, prefix, &step.fields, add_field).await?;
    add_rows(conn, &MINUTES, prefix, &step.minutes, add_roll_up).await?;
    add_rows(conn, &HOURS, prefix, &step.hours, add_roll_up).await?;
    let moved = "update projecoes set ultimo_id = ?, ate_id = ?, topico = ?
                 where nome = ? and ultimo_id = ? and ate_id is ? and topico is ?";
    let Step { from, to, .. } = step;
    let ahead = |position: &Position| match &position.ahead {
        Some(Ahead { until_id, topico }) => (Some(*until_id), Some(topico.to_string())),
        None => (None, None),
    };
    let ((from_until_id, from_topico), (to_until_id, to_topico)) = (ahead(from), ahead(to));
    let moved = sqlx::query(moved)
        .bind(to.last_id)
        .bind(to_until_id)
        .bind(to_topico)
        .bind(format!("{prefix}{CURRENT}"))
        .bind(from.last_id)
        .bind(from_until_id)
        .bind(from_topico)
        .execute(conn)
        .await?;
    if moved.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

/// How rows come into a table: `insert into {prefix}{table} {columns} values (…), (…) {conflict}`.
struct Addition {
    table: &'static str,
    columns: &'static str,
    /// Parameters of a row.
    width: usize,
    conflict: &'static str,
}

const READINGS: Addition = Addition {
    table: "leituras",
    columns: "(topico, campo, timestamp, dado_id, numero, texto, capturado)",
    width: 7,
    // Where an id was given twice, after someone has deleted the newest rows of a table without `autoincrement`.
    conflict: "on conflict do update set numero = excluded.numero, texto = excluded.texto, capturado = excluded.capturado",
};

const TOPICS: Addition = Addition {
    table: "topicos",
    columns: "(topico, ultimo_id, ultimo_valor, ultimo_numero, ultimo_timestamp, mensagens, desvio_ms, sem_hora)",
    width: 8,
    // A late message is no news of what the topic's newest is.
    conflict: "on conflict do update set mensagens = mensagens + excluded.mensagens,
        sem_hora = sem_hora + excluded.sem_hora, desvio_ms = coalesce(excluded.desvio_ms, desvio_ms),
        ultimo_valor = iif((excluded.ultimo_timestamp, excluded.ultimo_id) >= (ultimo_timestamp, ultimo_id),
            excluded.ultimo_valor, ultimo_valor),
        ultimo_numero = iif((excluded.ultimo_timestamp, excluded.ultimo_id) >= (ultimo_timestamp, ultimo_id),
            excluded.ultimo_numero, ultimo_numero),
        ultimo_id = iif((excluded.ultimo_timestamp, excluded.ultimo_id) >= (ultimo_timestamp, ultimo_id),
            excluded.ultimo_id, ultimo_id),
        ultimo_timestamp = max(excluded.ultimo_timestamp, ultimo_timestamp)",
};

const FIELDS: Addition = Addition {
    table: "campos",
    columns: "(topico, campo, ultimo_id, ultimo_numero, ultimo_texto, ultimo_timestamp, leituras)",
    width: 7,
    conflict: "on conflict do update set leituras = leituras + excluded.leituras,
        ultimo_numero = iif((excluded.ultimo_timestamp, excluded.ultimo_id) >= (ultimo_timestamp, ultimo_id),
            excluded.ultimo_numero, ultimo_numero),
        ultimo_texto = iif((excluded.ultimo_timestamp, excluded.ultimo_id) >= (ultimo_timestamp, ultimo_id),
            excluded.ultimo_texto, ultimo_texto),
        ultimo_id = iif((excluded.ultimo_timestamp, excluded.ultimo_id) >= (ultimo_timestamp, ultimo_id),
            excluded.ultimo_id, ultimo_id),
        ultimo_timestamp = max(excluded.ultimo_timestamp, ultimo_timestamp)",
};

// A sum beyond all numbers stays the largest there is: infinity and minus infinity would make null.
const ROLL_UP: &str = "on conflict do update set n = n + excluded.n,
    soma = max(min(soma + excluded.soma, 1.7976931348623157e308), -1.7976931348623157e308),
    minimo = min(minimo, excluded.minimo), maximo = max(maximo, excluded.maximo)";
const MINUTES: Addition = Addition {
    table: "leituras_minuto",
    columns: "(topico, campo, minuto, n, soma, minimo, maximo)",
    width: 7,
    conflict: ROLL_UP,
};
const HOURS: Addition = Addition {
    table: "leituras_hora",
    columns: "(topico, campo, hora, n, soma, minimo, maximo)",
    width: 7,
    conflict: ROLL_UP,
};

/// Adds the rows by statements of powers of two, so that each table has nine texts, which the connection keeps prepared.
async fn add_rows<R>(
    conn: &mut SqliteConnection,
    addition: &Addition,
    prefix: &str,
    rows: &[R],
    add_row: impl Fn(&mut SqliteArguments, &R) -> Result<(), sqlx::Error>,
) -> Result<(), sqlx::Error> {
    let Addition { table, columns, width, conflict } = addition;
    let mut rest = rows;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(1 << rest.len().min(CHUNK_ROWS_MAX).ilog2());
        let row = format!("({}?)", "?,".repeat(width - 1));
        let values = vec![row; now.len()].join(",");
        let sql = format!("insert into {prefix}{table} {columns} values {values} {conflict}");
        let mut arguments = SqliteArguments::default();
        arguments.reserve(now.len() * width, 0);
        for row in now {
            add_row(&mut arguments, row)?;
        }
        sqlx::query_with(AssertSqlSafe(sql), arguments).execute(&mut *conn).await?;
        rest = later;
    }
    Ok(())
}

fn add_reading(arguments: &mut SqliteArguments, reading: &Reading) -> Result<(), sqlx::Error> {
    add(arguments, reading.topico.clone())?;
    add(arguments, reading.campo.clone())?;
    add(arguments, reading.timestamp.clone())?;
    add(arguments, reading.dado_id)?;
    add(arguments, reading.numero)?;
    add(arguments, reading.texto.clone())?;
    add(arguments, reading.capturado.clone())
}

fn add_topic(arguments: &mut SqliteArguments, news: &TopicNews) -> Result<(), sqlx::Error> {
    add(arguments, news.topico.clone())?;
    add(arguments, news.ultimo_id)?;
    add(arguments, news.ultimo_valor.clone())?;
    add(arguments, news.ultimo_numero)?;
    add(arguments, news.ultimo_timestamp.clone())?;
    add(arguments, news.mensagens)?;
    add(arguments, news.desvio_ms)?;
    add(arguments, news.sem_hora)
}

fn add_field(arguments: &mut SqliteArguments, FieldNews { newest, leituras }: &FieldNews) -> Result<(), sqlx::Error> {
    add(arguments, newest.topico.clone())?;
    add(arguments, newest.campo.clone())?;
    add(arguments, newest.dado_id)?;
    add(arguments, newest.numero)?;
    add(arguments, newest.texto.clone())?;
    add(arguments, newest.timestamp.clone())?;
    add(arguments, *leituras)
}

fn add_roll_up(arguments: &mut SqliteArguments, roll_up: &RollUp) -> Result<(), sqlx::Error> {
    add(arguments, roll_up.topico.clone())?;
    add(arguments, roll_up.campo.clone())?;
    add(arguments, roll_up.inicio.clone())?;
    add(arguments, roll_up.n)?;
    add(arguments, roll_up.soma)?;
    add(arguments, roll_up.minimo)?;
    add(arguments, roll_up.maximo)
}

fn add<'t>(arguments: &mut SqliteArguments, value: impl Encode<'t, Sqlite> + Type<Sqlite>) -> Result<(), sqlx::Error> {
    arguments.add(value).map_err(sqlx::Error::Encode)
}
