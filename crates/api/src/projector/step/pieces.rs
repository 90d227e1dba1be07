//! Messages that were taken apart, cut into steps: field by field, so that a step is short whatever the messages look like.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use dados::Timestamp;

use crate::store::projection::{Ahead, Carried, FieldNews, Position, Reading, RollUp, Since, Step, TopicNews};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// The id and the times of a message.
pub(super) struct Stamp {
    pub(super) id: i64,
    /// Of its readings.
    pub(super) time: Timestamp,
    pub(super) text: Arc<str>,
    /// When it was captured, where its readings have the device's time.
    pub(super) captured: Option<Arc<str>>,
}

/// A reading, by where its field and its message are in [`Parts`].
pub(super) struct Point {
    pub(super) series: u32,
    pub(super) stamp: u32,
    pub(super) numero: Option<f64>,
    pub(super) texto: Option<Arc<str>>,
}

/// A field of a topic, by where that is in [`Parts`].
pub(super) struct Series {
    pub(super) topic: u32,
    pub(super) campo: Arc<str>,
    /// The message that it came with first.
    pub(super) since: Option<Since>,
}

/// What consecutive messages have in them, in the order of their coming.
pub(super) struct Parts {
    /// The last of the messages.
    pub(super) until_id: i64,
    /// What of them is in the tables already.
    pub(super) done: Option<Ahead>,
    pub(super) carried: Carried,
    pub(super) stamps: Vec<Stamp>,
    pub(super) points: Vec<Point>,
    pub(super) series: Vec<Series>,
    pub(super) topics: Vec<TopicNews>,
}

/// The same in the order of the tables' keys, and how far it is cut.
pub(super) struct Part {
    until_id: i64,
    carried: Carried,
    stamps: Vec<Stamp>,
    points: Vec<Point>,
    /// By topic and name, the readings of each as a range of `points`.
    series: VecDeque<(Series, Range<usize>)>,
    /// By name, with where each is in [`Parts`].
    topics: VecDeque<(u32, TopicNews)>,
}

/// The steps that lead from one position to another.
pub(crate) struct Steps {
    pub(super) at: Position,
    pub(super) to: Position,
    pub(super) parts: VecDeque<Part>,
    pub(super) readings: usize,
    pub(super) rows_max: usize,
    /// Times from here on are ahead of our clock.
    pub(super) ahead_from: Arc<str>,
}

impl Steps {
    /// Where the last one leads.
    pub(crate) fn to(&self) -> &Position {
        &self.to
    }

    /// What all of them had at first.
    pub(crate) fn readings(&self) -> usize {
        self.readings
    }
}

impl Iterator for Steps {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let part = self.parts.front_mut()?;
        let step = part.cut(self.at.clone(), self.rows_max, &self.ahead_from);
        if part.topics.is_empty() {
            self.parts.pop_front();
        }
        self.at = step.to.clone();
        Some(step)
    }
}

impl Part {
    pub(super) fn new(Parts { until_id, done, carried, stamps, mut points, series, topics }: Parts) -> Self {
        let mut order: Vec<usize> = (0..series.len()).collect();
        let key = |index: &usize| (&*topics[series[*index].topic as usize].topico, &*series[*index].campo);
        order.sort_unstable_by(|a, b| key(a).cmp(&key(b)));
        let mut ranks = vec![0; order.len()];
        for (rank, index) in order.iter().enumerate() {
            ranks[*index] = rank;
        }
        let rank = |point: &Point| ranks[point.series as usize];
        // Ids rise with the number of the stamp.
        points.sort_unstable_by_key(|point| (rank(point), stamps[point.stamp as usize].time, point.stamp));
        let mut lengths = vec![0; order.len()];
        for point in &points {
            lengths[rank(point)] += 1;
        }
        let mut series: Vec<(usize, Series)> = series.into_iter().enumerate().collect();
        series.sort_unstable_by_key(|(index, _)| ranks[*index]);
        let mut begin = 0;
        let ranges = lengths.into_iter().map(|length| {
            let range = begin..begin + length;
            begin = range.end;
            range
        });
        let series = series.into_iter().map(|(_, series)| series).zip(ranges).collect();
        // What is done of a topic as a whole is not among the messages, or it is by hand.
        let is_left = |news: &TopicNews| done.as_ref().is_none_or(|done| !done.has(&news.topico, None));
        let mut topics: Vec<(u32, TopicNews)> = (0..).zip(topics).filter(|(_, news)| is_left(news)).collect();
        topics.sort_unstable_by(|(_, a), (_, b)| a.topico.cmp(&b.topico));
        Self { until_id, carried, stamps, points, series, topics: topics.into() }
    }

    /// The next step: no field more once it has as many rows.
    fn cut(&mut self, from: Position, rows_max: usize, ahead_from: &Arc<str>) -> Step {
        let last_id = from.last_id;
        let (to, ahead_from) = (Position::whole(self.until_id), ahead_from.clone());
        let mut step = Step { from, to, ahead_from, ..Step::default() };
        while let Some((topic, _)) = self.topics.front() {
            let (topic, mut campo) = (*topic, None);
            while let Some((series, readings)) = self.series.pop_front_if(|(series, _)| series.topic == topic) {
                campo = Some(series.campo.clone());
                self.add(&mut step, &series, readings);
                if step.rows() >= rows_max {
                    break;
                }
            }
            let is_more = self.series.front().is_some_and(|(series, _)| series.topic == topic);
            let topico = self.topics[0].1.topico.clone();
            if !is_more {
                step.topics.extend(self.topics.pop_front().map(|(_, news)| news));
                campo = None;
            }
            if is_more || (step.rows() >= rows_max && !self.topics.is_empty()) {
                step.to = Position { last_id, ahead: Some(Ahead { until_id: self.until_id, topico, campo }) };
                break;
            }
        }
        step
    }

    /// A field's readings, in the order of their time, and what follows from them.
    fn add(&mut self, step: &mut Step, Series { campo, since, .. }: &Series, readings: Range<usize>) {
        let topico = self.topics[0].1.topico.clone();
        let (mut minutes, mut hours) = (Vec::new(), Vec::new());
        let first = step.readings.len();
        // The one that arrived last, or the last of those that are not ahead of our clock.
        let mut newest = None;
        for point in &mut self.points[readings] {
            let stamp = &self.stamps[point.stamp as usize];
            if let Some(number) = point.numero.filter(|_| !self.carried.has(stamp.id, stamp.time)) {
                add_number(&mut minutes, MINUTE_MS, stamp.time, number);
                add_number(&mut hours, HOUR_MS, stamp.time, number);
            }
            newest = newest.max(Some((stamp.text < step.ahead_from, point.stamp, step.readings.len())));
            step.readings.push(Reading {
                topico: topico.clone(),
                campo: campo.clone(),
                timestamp: stamp.text.clone(),
                dado_id: stamp.id,
                numero: point.numero,
                texto: point.texto.take(),
                capturado: stamp.captured.clone(),
            });
        }
        let leituras = (step.readings.len() - first) as i64;
        if let Some((_, _, newest)) = newest {
            step.fields.push(FieldNews { newest: step.readings[newest].clone(), leituras, since: *since });
        }
        step.minutes.extend(minutes.into_iter().map(|numbers| roll_up(&topico, campo, numbers)));
        step.hours.extend(hours.into_iter().map(|numbers| roll_up(&topico, campo, numbers)));
    }
}

/// The numbers of a minute or an hour.
struct Numbers {
    begin_ms: i64,
    n: i64,
    sum: f64,
    least: f64,
    most: f64,
}

/// Adds a number whose time is not before that of the last one.
fn add_number(all: &mut Vec<Numbers>, length_ms: i64, time: Timestamp, number: f64) {
    let begin_ms = time.as_ms().div_euclid(length_ms) * length_ms;
    match all.last_mut().filter(|numbers| numbers.begin_ms == begin_ms) {
        Some(numbers) => {
            numbers.n += 1;
            numbers.sum = (numbers.sum + number).clamp(f64::MIN, f64::MAX);
            numbers.least = numbers.least.min(number);
            numbers.most = numbers.most.max(number);
        }
        None => all.push(Numbers { begin_ms, n: 1, sum: number, least: number, most: number }),
    }
}

fn roll_up(topico: &Arc<str>, campo: &Arc<str>, Numbers { begin_ms, n, sum, least, most }: Numbers) -> RollUp {
    // Without decimals: a begin has none. A time that was read is in the range that has a text.
    let mut inicio = Timestamp::from_ms(begin_ms).map_or_else(|_| String::new(), Timestamp::to_sql);
    inicio.truncate("2026-11-23 03:21:00".len());
    let (topico, campo, inicio) = (topico.clone(), campo.clone(), inicio.into());
    RollUp { topico, campo, inicio, n, soma: sum, minimo: least, maximo: most }
}
