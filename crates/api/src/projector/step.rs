//! What follows from consecutive messages: readings, and what they change in lists and roll-ups. Pure.

use std::collections::{BTreeMap, HashSet};
use std::iter::from_fn;
use std::sync::Arc;

use dados::Timestamp;

use super::device_time::{DeviceTime, Rules, device_time};
use super::fields::{Field, fields};
use crate::store::projection::{Ahead, Carried, FieldNews, Message, Position, Reading, RollUp, Step, TopicNews};

/// Characters of a message that `topicos` shows.
const NEWEST_CHARS_MAX: usize = 1024;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;
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
}

/// What follows from the messages beyond `from`, in the order of their ids, as steps that lead from there on. Where `from`
/// is between two pieces of a step, the messages begin with all that the step has left, and no message at all ends it too.
///
/// A step has some `readings_max` readings: more only where a message has. What is `carried` is not added to roll-ups again.
/// `now` is our clock, which tells the times that lie in the future.
pub(crate) fn derive(
    from: &Position,
    messages: &[Message],
    rules: &Rules,
    carried: Carried,
    readings_max: usize,
    now: Timestamp,
) -> (Vec<Step>, Losses) {
    let (mut steps, mut losses, mut rest) = (Vec::new(), Losses::default(), messages);
    let ahead_from: Arc<str> = ahead_from(now).into();
    let (mut from, mut ahead) = (from.clone(), from.ahead.as_ref().map(|ahead| ahead.until_id));
    while !rest.is_empty() || ahead.is_some() {
        let mut making = Making { carried, losses, ahead_from: ahead_from.clone(), ..Making::default() };
        let is_next = |message: &Message, making: &Making| match ahead {
            Some(until_id) => message.id <= until_id,
            None => making.readings_of(&message.topico) < readings_max,
        };
        while let Some((message, later)) = rest.split_first()
            && is_next(message, &making)
        {
            making.add(message, rules);
            (rest, making.last_id) = (later, message.id);
        }
        losses = making.losses;
        let until_id = ahead.take().unwrap_or(making.last_id);
        making.cut(from, until_id, readings_max, &mut steps);
        from = Position::whole(until_id);
    }
    (steps, losses)
}

/// Some steps while they are made.
#[derive(Default)]
struct Making {
    last_id: i64,
    /// Topics and names of fields, each of which is in many rows.
    names: HashSet<Arc<str>>,
    readings: Vec<Reading>,
    topics: BTreeMap<Arc<str>, Topic>,
    fields: BTreeMap<(Arc<str>, Arc<str>), FieldNews>,
    /// By topic, field and the begin in milliseconds.
    minutes: BTreeMap<(Arc<str>, Arc<str>, i64), RollUp>,
    hours: BTreeMap<(Arc<str>, Arc<str>, i64), RollUp>,
    losses: Losses,
    carried: Carried,
    /// Times from here on are ahead of our clock.
    ahead_from: Arc<str>,
}

struct Topic {
    news: TopicNews,
    readings: usize,
}

impl Making {
    fn readings_of(&self, topico: &str) -> usize {
        self.topics.get(topico).map_or(0, |topic| topic.readings)
    }

    /// Cuts what was made between topics.
    fn cut(mut self, mut from: Position, until_id: i64, readings_max: usize, steps: &mut Vec<Step>) {
        let key = |reading: &Reading| (reading.topico.clone(), reading.campo.clone(), reading.timestamp.clone());
        self.readings.sort_by_cached_key(|reading| (key(reading), reading.dado_id));
        let mut readings = self.readings.into_iter().peekable();
        let mut fields = self.fields.into_values().peekable();
        let mut minutes = self.minutes.into_values().peekable();
        let mut hours = self.hours.into_values().peekable();
        let mut topics = self.topics.into_values().peekable();
        loop {
            let ahead_from = self.ahead_from.clone();
            let mut step = Step { from: from.clone(), to: Position::whole(until_id), ahead_from, ..Step::default() };
            while step.readings.len() < readings_max
                && let Some(Topic { news, .. }) = topics.next()
            {
                let topico = &*news.topico;
                step.readings.extend(from_fn(|| readings.next_if(|reading| *reading.topico == *topico)));
                step.fields.extend(from_fn(|| fields.next_if(|field| *field.newest.topico == *topico)));
                step.minutes.extend(from_fn(|| minutes.next_if(|roll_up| *roll_up.topico == *topico)));
                step.hours.extend(from_fn(|| hours.next_if(|roll_up| *roll_up.topico == *topico)));
                step.topics.push(news);
            }
            if topics.peek().is_none() {
                steps.push(step);
                return;
            }
            if let Some(last) = step.topics.last() {
                let ahead = Some(Ahead { until_id, topico: last.topico.clone() });
                step.to = Position { last_id: from.last_id, ahead };
            }
            from = step.to.clone();
            steps.push(step);
        }
    }

    fn add(&mut self, message: &Message, rules: &Rules) {
        let Some(captured) = message.timestamp else {
            self.losses.untimed += 1;
            return;
        };
        let topico = self.name(&message.topico);
        let found = fields(&message.valor, message.formato);
        self.losses.omitted_fields += u64::from(found.omitted);
        let device = device_time(rules, &topico, &found.fields, captured);
        let captured_text: Arc<str> = captured.to_sql().into();
        let (time, text, clock) = match device {
            DeviceTime::At(time) => (time, time.to_sql().into(), rules.campo(&topico)),
            DeviceTime::NotAsked | DeviceTime::Unreadable => (captured, captured_text.clone(), None),
        };
        // `{"valor":1}` has that field too.
        let is_whole = found.fields.len() == 1 && !message.valor.trim_start().starts_with('{');
        let whole = found.fields.first().filter(|field| is_whole && field.campo == WHOLE);
        self.add_topic(
            message,
            TopicNews {
                topico: topico.clone(),
                ultimo_id: message.id,
                ultimo_valor: Arc::default(),
                ultimo_numero: whole.and_then(|field| field.numero),
                ultimo_timestamp: captured_text.clone(),
                mensagens: 1,
                desvio_ms: clock.map(|_| time.as_ms() - captured.as_ms()),
                sem_hora: (device == DeviceTime::Unreadable).into(),
            },
        );
        self.losses.unreadable_times += u64::from(device == DeviceTime::Unreadable);
        // The device's time is no reading.
        for field in found.fields.iter().filter(|field| clock != Some(&*field.campo)) {
            let reading = Reading {
                topico: topico.clone(),
                campo: self.name(&field.campo),
                timestamp: Arc::clone(&text),
                dado_id: message.id,
                numero: field.numero,
                texto: field.texto.as_deref().map(Arc::from),
                capturado: clock.map(|_| captured_text.clone()),
            };
            self.add_reading(reading, field, time);
        }
    }

    fn name(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        let name: Arc<str> = name.into();
        self.names.insert(name.clone());
        name
    }

    fn add_topic(&mut self, message: &Message, mut news: TopicNews) {
        let known = self.topics.get(&news.topico);
        let readings = known.map_or(0, |topic| topic.readings);
        let before = known.map(|topic| &topic.news);
        if let Some(before) = before {
            news.mensagens += before.mensagens;
            news.sem_hora += before.sem_hora;
            news.desvio_ms = news.desvio_ms.or(before.desvio_ms);
        }
        match before.filter(|before| !is_newest(&self.ahead_from, &before.ultimo_timestamp, &news.ultimo_timestamp)) {
            Some(before) => {
                news.ultimo_id = before.ultimo_id;
                news.ultimo_valor = before.ultimo_valor.clone();
                news.ultimo_numero = before.ultimo_numero;
                news.ultimo_timestamp = before.ultimo_timestamp.clone();
            }
            None => news.ultimo_valor = first_chars(&message.valor, NEWEST_CHARS_MAX).into(),
        }
        self.topics.insert(news.topico.clone(), Topic { news, readings });
    }

    fn add_reading(&mut self, reading: Reading, field: &Field<'_>, time: Timestamp) {
        let (topico, campo) = (&reading.topico, &reading.campo);
        if let Some(number) = field.numero.filter(|_| !self.carried.has(reading.dado_id, time)) {
            for (roll_ups, step_ms) in [(&mut self.minutes, MINUTE_MS), (&mut self.hours, HOUR_MS)] {
                let begin_ms = time.as_ms().div_euclid(step_ms) * step_ms;
                roll_ups
                    .entry((topico.clone(), campo.clone(), begin_ms))
                    .and_modify(|roll_up| roll_up.add(number))
                    .or_insert_with(|| RollUp::of(topico, campo, begin_ms, number));
            }
        }
        self.fields
            .entry((topico.clone(), campo.clone()))
            .and_modify(|news| news.add(&reading, &self.ahead_from))
            .or_insert_with(|| FieldNews { newest: reading.clone(), leituras: 1 });
        if let Some(topic) = self.topics.get_mut(topico) {
            topic.readings += 1;
        }
        self.readings.push(reading);
    }
}

impl FieldNews {
    fn add(&mut self, reading: &Reading, ahead_from: &str) {
        self.leituras += 1;
        if is_newest(ahead_from, &self.newest.timestamp, &reading.timestamp) {
            self.newest = reading.clone();
        }
    }
}

impl RollUp {
    fn of(topico: &Arc<str>, campo: &Arc<str>, begin_ms: i64, number: f64) -> Self {
        // Without decimals: a begin has none. A time that was read is in the range that has a text.
        let mut inicio = Timestamp::from_ms(begin_ms).map_or_else(|_| String::new(), Timestamp::to_sql);
        inicio.truncate("2026-11-23 03:21:00".len());
        Self {
            topico: topico.clone(),
            campo: campo.clone(),
            inicio: inicio.into(),
            n: 1,
            soma: number,
            minimo: number,
            maximo: number,
        }
    }

    fn add(&mut self, number: f64) {
        self.n += 1;
        self.soma = (self.soma + number).clamp(f64::MIN, f64::MAX);
        self.minimo = self.minimo.min(number);
        self.maximo = self.maximo.max(number);
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
