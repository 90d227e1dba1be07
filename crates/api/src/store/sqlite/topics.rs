//! The topics with their fields, read by name.

use dados::{Campo, Topico, timestamp, topic};
use futures_util::TryStreamExt as _;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Row as _};

use super::read::{Reader, bounded, text};
use crate::store::{StoreError, TopicPage, TopicSelection, Wanted};

/// Fields that are read of a topic at most.
const CAMPOS_MAX: usize = 64;
/// Characters that are read of a field's text at most.
const TEXT_CHARS_MAX: usize = 1_024;
/// So many characters have no more bytes. It is bytes that SQLite cuts: of a text, `substr` gives nothing beyond a null
/// character.
const TEXT_BYTES_MAX: usize = 4 * TEXT_CHARS_MAX;

/// The topics from a name on, and of each its first fields, both in the order of their keys: one statement, hence of
/// one snapshot. A topic's fields end with the name of the last one that is allowed; where it has no more, with a blob,
/// which comes after any text. A topic that is no text, which only another program can have written, is left out.
fn select() -> String {
    format!(
        "select cast(t.topico as blob), t.mensagens, t.ultimo_id, cast(cast(t.ultimo_valor as text) as blob),
             t.ultimo_numero, cast(t.ultimo_timestamp as text), t.desvio_ms, t.sem_hora,
             cast(cast(c.campo as text) as blob), c.ultimo_numero,
             substr(cast(cast(c.ultimo_texto as text) as blob), 1, {TEXT_BYTES_MAX}),
             cast(c.ultimo_timestamp as text), c.leituras
         from topicos as t left join campos as c
             on c.topico = t.topico and c.campo <= coalesce(
                 (select campo from campos where topico = t.topico order by campo limit 1 offset {CAMPOS_MAX} - 1), x'')
         where t.topico >= ? and t.topico < x''
         order by t.topico, c.campo"
    )
}

impl Reader {
    /// The selected topics by name, up to the selection's limits.
    pub(crate) async fn topics(&self, selection: &TopicSelection) -> Result<TopicPage, StoreError> {
        let mut selected = sqlx::query(AssertSqlSafe(select())).bind(first(selection)).fetch(&self.pool);
        let read = async {
            let mut page = Building::new(selection);
            while let Some(row) = selected.try_next().await? {
                if !page.take(&row)? {
                    break;
                }
            }
            Ok(page.done())
        };
        bounded(read).await
    }
}

/// The name from which on topics are read.
fn first(selection: &TopicSelection) -> String {
    let prefix = prefix(&selection.wanted);
    match &selection.after {
        // Nothing lies between a text and the same text with a null character behind it.
        Some(after) if after.as_str() >= prefix => format!("{after}\0"),
        _ => prefix.to_owned(),
    }
}

/// What the names of all wanted topics begin with.
fn prefix(wanted: &Wanted) -> &str {
    match wanted {
        Wanted::All => "",
        Wanted::Exactly(name) => name,
        Wanted::Matching(filter) => topic::literal_prefix(filter),
    }
}

/// What becomes of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Shown,
    PassedOver,
    /// No wanted one comes after it.
    End,
}

fn fate(wanted: &Wanted, name: &str) -> Fate {
    match wanted {
        Wanted::All => Fate::Shown,
        Wanted::Exactly(wanted) if wanted == name => Fate::Shown,
        Wanted::Matching(_) if !name.starts_with(prefix(wanted)) => Fate::End,
        // What has no topic, no filter takes in.
        Wanted::Matching(filter) if !name.is_empty() && topic::matches(filter, name) => Fate::Shown,
        Wanted::Matching(_) => Fate::PassedOver,
        Wanted::Exactly(_) => Fate::End,
    }
}

/// A page that grows with every row.
struct Building<'a> {
    selection: &'a TopicSelection,
    topics: Vec<Topico>,
    bytes: usize,
    /// The topic of the row before, as it stands in the database.
    current: Option<String>,
    is_shown: bool,
    /// The last topic of a page that more come after.
    next_after: Option<String>,
}

impl<'a> Building<'a> {
    fn new(selection: &'a TopicSelection) -> Self {
        Self { selection, topics: Vec::new(), bytes: 0, current: None, is_shown: false, next_after: None }
    }

    /// Takes the next row; says whether it can be of use to read on.
    fn take(&mut self, row: &SqliteRow) -> Result<bool, sqlx::Error> {
        // Bytes that are no UTF-8 are no topic either, and no cursor could name them.
        let Ok(name) = str::from_utf8(row.try_get(0)?) else { return Ok(true) };
        if self.current.as_deref() != Some(name) {
            let fate = fate(&self.selection.wanted, name);
            let is_full = self.topics.len() >= self.selection.limit as usize || self.bytes > self.selection.bytes_max;
            if fate == Fate::Shown && is_full {
                self.next_after = self.topics.last().map(|last| last.topico.clone().unwrap_or_default());
            }
            if fate == Fate::End || self.next_after.is_some() {
                return Ok(false);
            }
            self.is_shown = fate == Fate::Shown;
            if self.is_shown {
                let topico = topico(row, name)?;
                self.bytes += name.len() + topico.ultimo_valor.as_ref().map_or(0, String::len);
                self.topics.push(topico);
            }
            self.current = Some(name.to_owned());
        }
        if let (true, Some(topico), Some(campo)) = (self.is_shown, self.topics.last_mut(), campo(row)?) {
            self.bytes += campo.campo.len() + campo.texto.as_ref().map_or(0, String::len);
            topico.campos.push(campo);
        }
        Ok(true)
    }

    fn done(self) -> TopicPage {
        TopicPage { topics: self.topics, next_after: self.next_after }
    }
}

fn topico(row: &SqliteRow, name: &str) -> Result<Topico, sqlx::Error> {
    Ok(Topico {
        topico: Some(name.to_owned()).filter(|name| !name.is_empty()),
        mensagens: row.try_get::<i64, _>(1)?.max(0).unsigned_abs(),
        ultimo_id: row.try_get(2)?,
        ultimo_valor: text(row, 3)?,
        ultimo_numero: row.try_get(4)?,
        ultimo_timestamp: timestamp::sql_to_wire(row.try_get(5)?),
        desvio_ms: row.try_get(6)?,
        sem_hora: row.try_get::<i64, _>(7)?.max(0).unsigned_abs(),
        campos: Vec::new(),
    })
}

/// None where the topic has no field.
fn campo(row: &SqliteRow) -> Result<Option<Campo>, sqlx::Error> {
    let Some(campo) = text(row, 8)? else { return Ok(None) };
    Ok(Some(Campo {
        campo,
        numero: row.try_get(9)?,
        // A character that was cut in two comes after these.
        texto: text(row, 10)?.map(|text| text.chars().take(TEXT_CHARS_MAX).collect()),
        timestamp: timestamp::sql_to_wire(row.try_get(11)?),
        leituras: row.try_get::<i64, _>(12)?.max(0).unsigned_abs(),
    }))
}

#[cfg(test)]
mod tests;
