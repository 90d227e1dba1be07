//! What follows from consecutive messages: readings, and what they change in lists and roll-ups. Pure.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use dados::Timestamp;

pub(crate) use self::pieces::Steps;
use self::pieces::{Part, Parts, Point, Series, Stamp};
use super::device_time::{DeviceTime, Rules, device_time};
use super::fields::fields;
use super::known::Known;
use crate::store::projection::{Ahead, Carried, Message, Position, Since, TopicNews};

mod pieces;

/// Characters of a message that `topicos` shows.
const NEWEST_CHARS_MAX: usize = 1024;
/// Readings that are in memory at once, about: a message more at most. Fewer would make steps of many fields costly,
/// which then have but a few readings of each.
const READINGS_MAX: usize = 65_536;
/// A time further ahead of our clock than this is that of a wrong clock: it does not become the newest of a topic or a
/// field that has a plausible one.
const AHEAD_MS_MAX: i64 = 5 * 60_000;
/// The name of what is a reading as a whole.
const WHOLE: &str = "valor";

/// What a step could not use of its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Messages whose `timestamp` is no time: someone has edited the table.
    pub(crate) untimed: u64,
    /// Messages in which the device's time was looked for and could not be read.
    pub(crate) unreadable_times: u64,
    /// Fields beyond the limits of a message.
    pub(crate) omitted_fields: u64,
    /// Readings of fields beyond the limits of a topic.
    pub(crate) refused_fields: u64,
}

/// What follows from the messages beyond `from`, in the order of their ids, as steps that lead from there on. Where `from`
/// is between two pieces of a step, the messages begin with all that the step has left, and no message at all ends it too.
///
/// A step has some `rows_max` rows in all its tables: more only where a field has as many readings. No more messages are
/// taken up than make some [`READINGS_MAX`] readings. What is `carried` is not added to roll-ups again.
/// `now` is our clock, which tells the times that lie in the future; `known` has the fields of all topics of the messages
/// as they were at `from`.
pub(crate) fn derive(
    from: &Position,
    messages: &[Message],
    rules: &Rules,
    carried: Carried,
    rows_max: usize,
    now: Timestamp,
    known: &mut Known,
) -> (Steps, Losses) {
    let ahead_from: Arc<str> = ahead_from(now).into();
    let (mut parts, mut losses, mut readings, mut rest) = (VecDeque::new(), Losses::default(), 0, messages);
    let mut begun = from.ahead.as_ref();
    let mut last_id = from.last_id;
    while begun.is_some() || (!rest.is_empty() && readings < READINGS_MAX) {
        let mut gathering =
            Gathering { carried, done: begun, losses, ahead_from: ahead_from.clone(), ..Gathering::default() };
        while let Some((message, later)) = rest.split_first() {
            let is_next = match begun {
                Some(Ahead { until_id, .. }) => message.id <= *until_id,
                None => {
                    gathering.messages_of(&message.topico) < rows_max
                        && readings + gathering.points.len() < READINGS_MAX
                }
            };
            if !is_next {
                break;
            }
            gathering.add(message, rules, known);
            (rest, last_id) = (later, message.id);
        }
        losses = gathering.losses;
        readings += gathering.points.len();
        last_id = begun.map_or(last_id, |ahead| ahead.until_id);
        let done = begun.take().cloned();
        parts.push_back(gathering.finish(last_id, done));
    }
    let to = if parts.is_empty() { from.clone() } else { Position::whole(last_id) };
    (Steps { at: from.clone(), to, parts, readings, rows_max, ahead_from }, losses)
}

/// Consecutive messages while they are taken apart.
#[derive(Default)]
struct Gathering<'a> {
    carried: Carried,
    /// What of these messages is in the tables already.
    done: Option<&'a Ahead>,
    stamps: Vec<Stamp>,
    points: Vec<Point>,
    series: Vec<Series>,
    topics: Vec<TopicNews>,
    /// By name.
    found: HashMap<Arc<str>, Found>,
    losses: Losses,
    /// Times from here on are ahead of our clock.
    ahead_from: Arc<str>,
}

/// Where a topic is in `topics`, its messages, and where its fields are in `series`.
struct Found {
    topic: u32,
    messages: usize,
    series: HashMap<Arc<str>, u32>,
}

impl Gathering<'_> {
    fn messages_of(&self, topico: &str) -> usize {
        self.found.get(topico).map_or(0, |topic| topic.messages)
    }

    fn finish(self, until_id: i64, done: Option<Ahead>) -> Part {
        let Self { carried, stamps, points, series, topics, .. } = self;
        Part::new(Parts { until_id, done, carried, stamps, points, series, topics })
    }

    fn add(&mut self, message: &Message, rules: &Rules, known: &mut Known) {
        let Some(captured) = message.timestamp else {
            self.losses.untimed += 1;
            return;
        };
        let first = Since { id: message.id, captured };
        let found = fields(&message.valor, message.formato);
        self.losses.omitted_fields += u64::from(found.omitted);
        let device = device_time(rules, &message.topico, &found.fields, captured);
        self.losses.unreadable_times += u64::from(device == DeviceTime::Unreadable);
        let captured_text: Arc<str> = captured.to_sql().into();
        let (time, text, clock) = match device {
            DeviceTime::At(time) => (time, time.to_sql().into(), rules.campo(&message.topico)),
            DeviceTime::NotAsked | DeviceTime::Unreadable => (captured, captured_text.clone(), None),
        };
        // `{"valor":1}` has that field too.
        let is_whole = found.fields.len() == 1 && !message.valor.trim_start().starts_with('{');
        let whole = found.fields.first().filter(|field| is_whole && field.campo == WHOLE);
        let topic = self.add_topic(
            message,
            TopicNews {
                topico: Arc::default(),
                ultimo_id: message.id,
                ultimo_valor: Arc::default(),
                ultimo_numero: whole.and_then(|field| field.numero),
                ultimo_timestamp: captured_text.clone(),
                mensagens: 1,
                desvio_ms: clock.map(|_| time.as_ms() - captured.as_ms()),
                sem_hora: (device == DeviceTime::Unreadable).into(),
            },
        );
        let stamp = self.stamps.len() as u32;
        let captured = clock.map(|_| captured_text);
        self.stamps.push(Stamp { id: message.id, time, text, captured });
        // The device's time is no reading.
        for field in found.fields.iter().filter(|field| clock != Some(&*field.campo)) {
            if let Some(series) = self.series_of(topic, (&message.topico, &field.campo), first, known) {
                let texto = field.texto.as_deref().map(Arc::from);
                self.points.push(Point { series, stamp, numero: field.numero, texto });
            }
        }
    }

    /// Where the field is in `series`; none where its readings are in the tables already, or the topic has too many.
    fn series_of(
        &mut self,
        topic: u32,
        (topico, campo): (&str, &str),
        message: Since,
        known: &mut Known,
    ) -> Option<u32> {
        let found = self.found.get_mut(topico)?;
        if let Some(series) = found.series.get(campo) {
            return Some(*series);
        }
        let Some(since) = known.admit(topico, campo, message) else {
            self.losses.refused_fields += 1;
            return None;
        };
        if self.done.is_some_and(|done| done.has(topico, Some(campo))) {
            return None;
        }
        let (index, campo): (u32, Arc<str>) = (self.series.len() as u32, campo.into());
        found.series.insert(campo.clone(), index);
        self.series.push(Series { topic, campo, since });
        Some(index)
    }

    /// Counts a message of its topic, and gives where that is in `topics`.
    fn add_topic(&mut self, message: &Message, mut news: TopicNews) -> u32 {
        let Some(found) = self.found.get_mut(&*message.topico) else {
            let (topic, topico): (u32, Arc<str>) = (self.topics.len() as u32, message.topico.as_str().into());
            news.ultimo_valor = first_chars(&message.valor, NEWEST_CHARS_MAX).into();
            news.topico = topico.clone();
            self.topics.push(news);
            self.found.insert(topico, Found { topic, messages: 1, series: HashMap::new() });
            return topic;
        };
        found.messages += 1;
        let before = &mut self.topics[found.topic as usize];
        before.mensagens += 1;
        before.sem_hora += news.sem_hora;
        before.desvio_ms = news.desvio_ms.or(before.desvio_ms);
        if is_newest(&self.ahead_from, &before.ultimo_timestamp, &news.ultimo_timestamp) {
            before.ultimo_id = news.ultimo_id;
            before.ultimo_valor = first_chars(&message.valor, NEWEST_CHARS_MAX).into();
            before.ultimo_numero = news.ultimo_numero;
            before.ultimo_timestamp = news.ultimo_timestamp;
        }
        found.topic
    }
}

/// The first time that is too far ahead of our clock, in the database's form.
fn ahead_from(now: Timestamp) -> String {
    Timestamp::from_ms(now.as_ms() + AHEAD_MS_MAX + 1).unwrap_or(now).to_sql()
}

/// Whether what arrives with a `time` replaces what arrived `before` it: always, unless it alone is ahead of our clock.
/// `store/sqlite/step` has the same rule in SQL.
fn is_newest(ahead_from: &str, before: &str, time: &str) -> bool {
    !(before..=time).contains(&ahead_from)
}

fn first_chars(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests;
