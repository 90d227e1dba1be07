//! What the projections take up at once: derived from consecutive rows of `dados`, ready to be added.

use std::cmp::Ordering;
use std::sync::Arc;

use dados::{Formato, Timestamp};

/// A row of `dados` as the projections read it. Texts of other programs that are no UTF-8 are shown as such.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: i64,
    /// Empty where there is none.
    pub(crate) topico: String,
    pub(crate) valor: String,
    /// When it was captured; none where the column holds no time.
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) formato: Option<Formato>,
}

/// A row of `leituras`. Times are in the database's form, with milliseconds, so that they sort as text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) topico: Arc<str>,
    pub(crate) campo: Arc<str>,
    pub(crate) timestamp: Arc<str>,
    pub(crate) dado_id: i64,
    pub(crate) numero: Option<f64>,
    pub(crate) texto: Option<Arc<str>>,
    /// When it was captured, where `timestamp` is the device's.
    pub(crate) capturado: Option<Arc<str>>,
}

/// What a step adds to a row of `topicos`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TopicNews {
    pub(crate) topico: Arc<str>,
    /// The message of the step that arrived last; one that is ahead of our clock only where all of them are.
    pub(crate) ultimo_id: i64,
    pub(crate) ultimo_valor: Arc<str>,
    pub(crate) ultimo_numero: Option<f64>,
    pub(crate) ultimo_timestamp: Arc<str>,
    pub(crate) mensagens: i64,
    /// The device's clock less ours in the last message that had its time.
    pub(crate) desvio_ms: Option<i64>,
    pub(crate) sem_hora: i64,
}

/// What a step adds to a row of `campos`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldNews {
    /// The reading of the step that arrived last; one that is ahead of our clock only where all of them are.
    pub(crate) newest: Reading,
    pub(crate) leituras: i64,
    /// The message that it came with first; none where that is not known.
    pub(crate) since: Option<Since>,
}

/// The message that a field came with first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since {
    pub(crate) id: i64,
    pub(crate) captured: Timestamp,
}

/// A field that a topic has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownField {
    pub(crate) campo: Arc<str>,
    /// None for one that was there before this was kept.
    pub(crate) since: Option<Since>,
}

/// What a step adds to a row of `leituras_minuto` or `leituras_hora`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RollUp {
    pub(crate) topico: Arc<str>,
    pub(crate) campo: Arc<str>,
    /// The minute's or the hour's begin.
    pub(crate) inicio: Arc<str>,
    pub(crate) n: i64,
    pub(crate) soma: f64,
    pub(crate) minimo: f64,
    pub(crate) maximo: f64,
}

/// How far the tables of one generation have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// They have all messages up to this one,
    pub(crate) last_id: i64,
    /// and those of some topics beyond it.
    pub(crate) ahead: Option<Ahead>,
}

/// The topics up to and with this one, by their bytes, have come as far as this message. Where a field is named, that
/// topic has only its fields up to and with this one, and is not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) until_id: i64,
    pub(crate) topico: Arc<str>,
    pub(crate) campo: Option<Arc<str>>,
}

impl Ahead {
    /// Whether a topic's field has come as far; with none, the topic as a whole.
    pub(crate) fn has(&self, topico: &str, campo: Option<&str>) -> bool {
        let is_field = |until: &Arc<str>| campo.is_some_and(|campo| *campo <= **until);
        match topico.cmp(&self.topico) {
            Ordering::Less => true,
            Ordering::Equal => self.campo.as_ref().is_none_or(is_field),
            Ordering::Greater => false,
        }
    }
}

impl Position {
    /// All messages up to this one, and none beyond.
    pub(crate) fn whole(last_id: i64) -> Self {
        Self { last_id, ahead: None }
    }

    /// Whether a field of a message of this topic is taken up; with none, whether the message is counted.
    #[cfg(test)]
    pub(crate) fn has(&self, id: i64, topico: &str, campo: Option<&str>) -> bool {
        let is_ahead = |ahead: &Ahead| id <= ahead.until_id && ahead.has(topico, campo);
        id <= self.last_id || self.ahead.as_ref().is_some_and(is_ahead)
    }
}

/// What brings the tables from one position to the next. Every list is in the order of its table's key.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Step {
    pub(crate) from: Position,
    pub(crate) to: Position,
    /// Times from here on are ahead of our clock.
    pub(crate) ahead_from: Arc<str>,
    pub(crate) readings: Vec<Reading>,
    pub(crate) topics: Vec<TopicNews>,
    pub(crate) fields: Vec<FieldNews>,
    pub(crate) minutes: Vec<RollUp>,
    pub(crate) hours: Vec<RollUp>,
}

impl Step {
    /// Of all its lists.
    pub(crate) fn rows(&self) -> usize {
        self.readings.len() + self.topics.len() + self.fields.len() + self.minutes.len() + self.hours.len()
    }
}

/// Which of two sets of tables: the one that is read, or the one that `reproject` makes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    Current,
    Next,
}

/// How far the projections have come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Projected {
    pub(crate) current: Position,
    /// None where nothing is made anew.
    pub(crate) next: Option<Next>,
}

/// Projections that are being made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    pub(crate) at: Position,
    pub(crate) carried: Carried,
}

/// What the next generation has from the current one, since the messages that it was made of may be gone: the roll-ups
/// up to a moment, with all messages up to an id in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) since_id: i64,
    pub(crate) until: Option<Timestamp>,
}

impl Carried {
    /// Whether a reading of this time in this message is in the roll-ups already.
    pub(crate) fn has(self, id: i64, time: Timestamp) -> bool {
        id <= self.since_id && self.until.is_some_and(|until| time < until)
    }
}
