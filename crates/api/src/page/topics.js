// What is known of each topic: its newest message, its readings, its rhythm.

import { fields } from './fields.js';
import * as points from './points.js';
import * as rhythm from './rhythm.js';

/** Topics that are kept; of more, only those that speak or are looked for. */
export const TOPICS_MAX = 5_000;
/** Points of a sparkline. */
const POINTS_MAX = 90;
/** Fields of a topic, over all its messages. */
const FIELDS_MAX = 256;
const HOUR_MS = 3_600_000;
/** Characters of a payload that are kept to show. */
export const TEXT_CHARS_MAX = 1_024;
/** A time further ahead of the API's clock is not the newest of a topic that has a plausible one, as in `/topicos`. */
const AHEAD_MS_MAX = 5 * 60_000;

/**
 * @typedef {object} Topic
 * @property {string} name empty for the messages without a topic
 * @property {string | null} text the beginning of the newest message
 * @property {string | undefined} format
 * @property {number} id of the newest message
 * @property {number} at when it was captured
 * @property {number} count
 * @property {Map<string, import('./fields.js').Reading>} fields
 * @property {string | null} campo the field of the sparkline: the first that is a number
 * @property {import('./points.js').Point[]} points of that field
 * @property {import('./rhythm.js').Rhythm | null} rhythm
 * @property {number} windowMs how long these go back
 * @property {boolean} isAsked whether its past was asked for
 */

export class Topics {
  /** @type {Map<string, Topic>} */
  byName = new Map();
  /** Whether there are topics that are not here. */
  isCut = false;

  /** Takes in what `/topicos` tells. @param {object[]} list @param {number} now @param {number} [most] topics to keep */
  load(list, now, most = TOPICS_MAX) {
    for (const told of list) {
      const at = Date.parse(told.ultimo_timestamp);
      const heardAt = Math.min(at, now);
      const topic = this.#topic(told.topico ?? '', most);
      if (!topic) continue;
      const unseen = Math.max(0, told.mensagens - topic.count);
      if (topic.rhythm !== null && heardAt > topic.rhythm.last) {
        topic.rhythm = { ...topic.rhythm, last: heardAt, n: topic.rhythm.n + unseen };
      }
      topic.count += unseen;
      for (const { campo, numero, texto } of told.campos) {
        if (!topic.fields.has(campo)) topic.fields.set(campo, { numero, texto });
      }
      topic.campo ??= firstNumber(topic.fields);
      // A row may have come by the stream that the projector has not seen yet.
      if (told.ultimo_id < topic.id) continue;
      Object.assign(topic, { id: told.ultimo_id, at, text: told.ultimo_valor });
    }
  }

  /** Takes in a row as it is stored; gives its topic, and the fields of the message. @param {number} now */
  take(row, now) {
    const topic = this.#topic(row.topico ?? '');
    if (!topic) return null;
    const read = fields(row.valor, row.formato);
    const at = Date.parse(row.timestamp ?? '') || topic.at;
    topic.count += 1;
    topic.rhythm = rhythm.beat(topic.rhythm, Math.min(at, now));
    topic.campo ??= firstNumber(read);
    const number = read.get(topic.campo)?.numero;
    if (typeof number === 'number') {
      points.fold(topic.points, 0, at, number);
      points.thin(topic.points, POINTS_MAX, topic.windowMs);
    }
    const latest = now + AHEAD_MS_MAX;
    if (at <= latest || topic.at > latest || topic.id === 0) {
      const text = row.valor?.slice(0, TEXT_CHARS_MAX) ?? null;
      Object.assign(topic, { id: row.id, at, text, format: row.formato });
      for (const [campo, reading] of read) {
        if (topic.fields.size < FIELDS_MAX || topic.fields.has(campo)) topic.fields.set(campo, reading);
      }
    }
    return { topic, read, at };
  }

  /** Takes in a topic's past, which ends where what was seen live begins. @param {Topic} topic */
  remember(topic, serie) {
    const past = points.ofSeries(serie);
    const seenSince = topic.points[0]?.at ?? Infinity;
    topic.points = [...past.filter((point) => point.at < seenSince), ...topic.points];
    topic.windowMs = Date.parse(serie.ate) - Date.parse(serie.desde);
    points.thin(topic.points, POINTS_MAX, topic.windowMs);
    this.learnRhythm(topic, rhythm.ofSeries(serie.pontos, topic.at));
  }

  /** Takes in how often a topic spoke, where that says more than what was seen live. @param {Topic} topic */
  learnRhythm(topic, known) {
    if (known !== null && (topic.rhythm === null || known.n > topic.rhythm.n)) topic.rhythm = known;
  }

  /** @param {number} now */
  silent(now) {
    return [...this.byName.values()].filter((topic) => rhythm.isSilent(topic.rhythm, now));
  }

  #topic(name, most = TOPICS_MAX) {
    const known = this.byName.get(name);
    if (known) return known;
    if (this.byName.size >= most) {
      this.isCut = true;
      return null;
    }
    const topic = {
      name, text: null, format: undefined, id: 0, at: 0, count: 0, fields: new Map(), campo: null, points: [],
      windowMs: HOUR_MS, rhythm: null, isAsked: false,
    };
    this.byName.set(name, topic);
    return topic;
  }
}

function firstNumber(read) {
  for (const [campo, { numero }] of read) if (numero !== null) return campo;
  return null;
}

/** Whether a topic is what a search is for: a part of its name, or with + or # an MQTT filter (MQTT 5.0 §4.7). */
export function isMatch(search, name) {
  if (search === '') return true;
  if (!/[+#]/.test(search)) return name.toLowerCase().includes(search.toLowerCase());
  if (name.startsWith('$') && /^[+#]/.test(search)) return false;
  const [wanted, levels] = [search.split('/'), name.split('/')];
  for (let level = 0; level < wanted.length; level += 1) {
    if (wanted[level] === '#') return true;
    if (level >= levels.length || (wanted[level] !== '+' && wanted[level] !== levels[level])) return false;
  }
  return wanted.length === levels.length;
}
