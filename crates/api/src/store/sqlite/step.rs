//! A step of the projector as one text, or few: a batch waits for it, and each round trip costs as much as many rows.

use std::sync::Arc;

use sqlx::SqliteConnection;

use super::projection::{CURRENT, NEXT};
use super::text::Text;
use super::unsynced::{BEGIN, END};
use crate::store::projection::{FieldNews, Generation, Position, Reading, RollUp, Step, TopicNews};

/// For how many rows a statement has room: few sizes, so that the connection keeps the texts prepared. It stops where its
/// rows end, so that room costs no more than the binding of nulls. The largest is 4096 parameters of SQLite's 32766.
const ROOMS: [usize; 6] = [0, 8, 32, 128, 320, 512];
const ROWS_MAX: usize = ROOMS[ROOMS.len() - 1];

/// Adds a step in a transaction of its own that does not wait for the disk. On an error the connection must be closed:
/// nothing of it is done then.
pub(super) async fn add(conn: &mut SqliteConnection, step: &Step, generation: Generation) -> Result<(), sqlx::Error> {
    let prefix = match generation {
        Generation::Current => "",
        Generation::Next => NEXT,
    };
    let mut rest = Some(Part::all(step));
    let mut is_first = true;
    while let Some(part) = rest {
        let (now, later) = part.split();
        let mut text = Text::default();
        if is_first {
            text.say(BEGIN);
            text.move_cursor(prefix, step)?;
        }
        text.add_part(prefix, &now, &step.ahead_from)?;
        if later.is_none() {
            text.say(END);
        }
        text.execute(&mut *conn).await?;
        (rest, is_first) = (later, false);
    }
    Ok(())
}

/// Rows of each table that have not been added yet.
struct Part<'s> {
    readings: &'s [Reading],
    topics: &'s [TopicNews],
    fields: &'s [FieldNews],
    minutes: &'s [RollUp],
    hours: &'s [RollUp],
}

impl<'s> Part<'s> {
    fn all(Step { readings, topics, fields, minutes, hours, .. }: &'s Step) -> Self {
        Self { readings, topics, fields, minutes, hours }
    }

    /// What goes into one text, and what is left.
    fn split(self) -> (Self, Option<Self>) {
        fn cut<R>(rows: &[R]) -> (&[R], &[R]) {
            rows.split_at(rows.len().min(ROWS_MAX))
        }
        let (readings, readings_left) = cut(self.readings);
        let (topics, topics_left) = cut(self.topics);
        let (fields, fields_left) = cut(self.fields);
        let (minutes, minutes_left) = cut(self.minutes);
        let (hours, hours_left) = cut(self.hours);
        let left = Self {
            readings: readings_left,
            topics: topics_left,
            fields: fields_left,
            minutes: minutes_left,
            hours: hours_left,
        };
        let is_left = !left.readings.is_empty() || left.lists_rows() > 0;
        (Self { readings, topics, fields, minutes, hours }, is_left.then_some(left))
    }

    /// Rows of the longest list.
    fn lists_rows(&self) -> usize {
        self.topics.len().max(self.fields.len()).max(self.minutes.len()).max(self.hours.len())
    }
}

impl Text {
    /// Where the cursor is not where the step begins, or is gone, the inner select gives null, which the column refuses,
    /// and with it falls the transaction.
    fn move_cursor(&mut self, prefix: &str, Step { from, to, .. }: &Step) -> Result<(), sqlx::Error> {
        self.say(
            "insert into projecoes (nome, ultimo_id, ate_id, topico, campo) values (?, (
                 select ? from projecoes
                 where nome = ? and ultimo_id = ? and ate_id is ? and topico is ? and campo is ?
             ), ?, ?, ?)
             on conflict (nome) do update set ultimo_id = excluded.ultimo_id,
                 ate_id = excluded.ate_id, topico = excluded.topico, campo = excluded.campo",
        );
        let name = format!("{prefix}{CURRENT}");
        self.bind(name.clone())?;
        self.bind(to.last_id)?;
        self.bind(name)?;
        self.bind(from.last_id)?;
        self.bind_ahead(from)?;
        self.bind_ahead(to)
    }

    fn bind_ahead(&mut self, Position { ahead, .. }: &Position) -> Result<(), sqlx::Error> {
        let ahead = ahead.as_ref();
        self.bind(ahead.map(|ahead| ahead.until_id))?;
        self.bind(ahead.map(|ahead| ahead.topico.clone()))?;
        self.bind(ahead.and_then(|ahead| ahead.campo.clone()))
    }

    fn add_part(&mut self, prefix: &str, part: &Part<'_>, ahead_from: &Arc<str>) -> Result<(), sqlx::Error> {
        self.add_rows(&READINGS, prefix, part.readings, room(part.readings.len()), Self::bind_reading)?;
        let room = room(part.lists_rows());
        self.add_rows(&TOPICS, prefix, part.topics, room, Self::bind_topic)?;
        self.bind_times(&TOPICS, room, ahead_from)?;
        self.add_rows(&FIELDS, prefix, part.fields, room, Self::bind_field)?;
        self.bind_times(&FIELDS, room, ahead_from)?;
        self.add_rows(&MINUTES, prefix, part.minutes, room, Self::bind_roll_up)?;
        self.add_rows(&HOURS, prefix, part.hours, room, Self::bind_roll_up)
    }

    fn add_rows<R>(
        &mut self,
        Addition { table, columns, width, conflict }: &Addition,
        prefix: &str,
        rows: &[R],
        room: usize,
        bind_row: impl Fn(&mut Self, &R) -> Result<(), sqlx::Error>,
    ) -> Result<(), sqlx::Error> {
        if room == 0 {
            return Ok(());
        }
        let mut values = format!("({}?),", "?,".repeat(width - 1)).repeat(room);
        values.pop();
        // A bare parameter there has SQLite look at its value, and prepare the statement anew for each.
        self.say(&format!(
            "insert into {prefix}{table} {columns} select * from (values {values}) limit 0 + ? on conflict {conflict}"
        ));
        self.reserve(room * width + 1);
        for row in rows {
            bind_row(self, row)?;
        }
        for _ in rows.len() * width..room * width {
            self.bind(None::<i64>)?;
        }
        self.bind(rows.len() as i64)
    }

    /// What `conflict` has room for, behind the rows of its statement.
    fn bind_times(&mut self, addition: &Addition, room: usize, ahead_from: &Arc<str>) -> Result<(), sqlx::Error> {
        let count = if room == 0 { 0 } else { addition.conflict.matches('?').count() };
        (0..count).try_for_each(|_| self.bind(ahead_from.clone()))
    }

    fn bind_reading(&mut self, reading: &Reading) -> Result<(), sqlx::Error> {
        self.bind(reading.topico.clone())?;
        self.bind(reading.campo.clone())?;
        self.bind(reading.timestamp.clone())?;
        self.bind(reading.dado_id)?;
        self.bind(reading.numero)?;
        self.bind(reading.texto.clone())?;
        self.bind(reading.capturado.clone())
    }

    fn bind_topic(&mut self, news: &TopicNews) -> Result<(), sqlx::Error> {
        self.bind(news.topico.clone())?;
        self.bind(news.ultimo_id)?;
        self.bind(news.ultimo_valor.clone())?;
        self.bind(news.ultimo_numero)?;
        self.bind(news.ultimo_timestamp.clone())?;
        self.bind(news.mensagens)?;
        self.bind(news.desvio_ms)?;
        self.bind(news.sem_hora)
    }

    fn bind_field(&mut self, FieldNews { newest, leituras, since }: &FieldNews) -> Result<(), sqlx::Error> {
        self.bind(newest.topico.clone())?;
        self.bind(newest.campo.clone())?;
        self.bind(newest.dado_id)?;
        self.bind(newest.numero)?;
        self.bind(newest.texto.clone())?;
        self.bind(newest.timestamp.clone())?;
        self.bind(*leituras)?;
        self.bind(since.map(|since| since.id))?;
        self.bind(since.map(|since| since.captured.to_sql()))
    }

    fn bind_roll_up(&mut self, roll_up: &RollUp) -> Result<(), sqlx::Error> {
        self.bind(roll_up.topico.clone())?;
        self.bind(roll_up.campo.clone())?;
        self.bind(roll_up.inicio.clone())?;
        self.bind(roll_up.n)?;
        self.bind(roll_up.soma)?;
        self.bind(roll_up.minimo)?;
        self.bind(roll_up.maximo)
    }
}

/// The least room that so many rows fit in.
fn room(rows: usize) -> usize {
    ROOMS.into_iter().find(|room| *room >= rows).unwrap_or(ROWS_MAX)
}

/// How rows come into a table.
struct Addition {
    table: &'static str,
    columns: &'static str,
    /// Parameters of a row.
    width: usize,
    /// What becomes of a row that is there; every `?` stands for [`Step::ahead_from`].
    conflict: &'static str,
}

const READINGS: Addition = Addition {
    table: "leituras",
    columns: "(topico, campo, timestamp, dado_id, numero, texto, capturado)",
    width: 7,
    // Where an id was given twice, after someone has deleted the newest rows of a table without `autoincrement`.
    conflict: "do update set numero = excluded.numero, texto = excluded.texto, capturado = excluded.capturado",
};

const TOPICS: Addition = Addition {
    table: "topicos",
    columns: "(topico, ultimo_id, ultimo_valor, ultimo_numero, ultimo_timestamp, mensagens, desvio_ms, sem_hora)",
    width: 8,
    // What arrives is the newest, unless it alone is ahead of our clock: each `?` is the first time that is.
    conflict: "do update set mensagens = mensagens + excluded.mensagens,
        sem_hora = sem_hora + excluded.sem_hora, desvio_ms = coalesce(excluded.desvio_ms, desvio_ms),
        ultimo_valor = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_valor, excluded.ultimo_valor),
        ultimo_numero = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_numero, excluded.ultimo_numero),
        ultimo_id = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_id, excluded.ultimo_id),
        ultimo_timestamp = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_timestamp, excluded.ultimo_timestamp)",
};

const FIELDS: Addition = Addition {
    table: "campos",
    columns: "(topico, campo, ultimo_id, ultimo_numero, ultimo_texto, ultimo_timestamp, leituras,
        primeiro_id, primeiro_timestamp)",
    width: 9,
    conflict: "do update set leituras = leituras + excluded.leituras,
        ultimo_numero = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_numero, excluded.ultimo_numero),
        ultimo_texto = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_texto, excluded.ultimo_texto),
        ultimo_id = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_id, excluded.ultimo_id),
        ultimo_timestamp = iif(? between ultimo_timestamp and excluded.ultimo_timestamp, ultimo_timestamp, excluded.ultimo_timestamp)",
};

// A sum beyond all numbers stays the largest there is: infinity and minus infinity would make null.
const ROLL_UP: &str = "do update set n = n + excluded.n,
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

#[cfg(test)]
mod tests;
