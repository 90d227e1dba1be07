// Shows the topics: which, in what order, and each with its newest value, its age and a sparkline.

import { number } from './fields.js';
import { f, t } from './i18n.js';
import { line } from './points.js';
import { isSilent, usualMs } from './rhythm.js';
import { TOPICS_MAX, isMatch } from './topics.js';
import { write } from './way.js';

/** Topics that are shown at once. */
export const SHOWN_MAX = 200;
/** Fields of a message that are shown. */
const FIELDS_SHOWN = 4;
/** Characters of a message that are shown. */
const VALUE_CHARS_MAX = 160;
const FIELD_CHARS_MAX = 40;
/** A longer number may have digits that are more than a double holds. */
const DIGITS_MAX = 15;
const SPARK = { width: 100, height: 24 };
const SVG = 'http://www.w3.org/2000/svg';

const at = (id) => document.getElementById(id);

/** @typedef {import('./topics.js').Topic} Topic */

export class List {
  #topics;
  #onChoose;
  /** @type {Map<string, HTMLLIElement>} */
  #rows = new Map();
  /** Rows that are in sight: the others need no upkeep. @type {Set<Element>} */
  #inSight = new Set();
  #sight;
  /** @type {string | null} */
  chosen = null;

  /** @param {import('./topics.js').Topics} topics @param {(topic: Topic) => void} onChoose */
  constructor(topics, onChoose) {
    [this.#topics, this.#onChoose] = [topics, onChoose];
    this.#sight = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) this.#inSight.add(target);
        else this.#inSight.delete(target);
      }
    }, { rootMargin: '50%' });
  }

  /**
   * Shows what is found, and gives it.
   * @param {string} search @param {string} order
   * @param {{now: number, heardAt: number}} times ages count up to now, silence up to when messages were last seen
   */
  show(search, order, times) {
    const found = [...this.#topics.byName.values()].filter((topic) => isMatch(search, topic.name));
    found.sort(comparison(order, times.heardAt));
    const shown = found.slice(0, SHOWN_MAX);
    this.#arrange(shown);
    for (const topic of shown) {
      const row = this.#rows.get(topic.name);
      if (this.#inSight.has(row) || row.dataset.filled !== 'yes') this.#fill(row, topic, times);
    }
    const { size } = this.#topics.byName;
    write(at('topics-count'), size > 0 ? f.count(size) : '');
    this.#note(search, shown.length, found.length);
    at('empty').hidden = size > 0;
    return shown;
  }

  #note(search, shown, found) {
    const said = [];
    if (found === 0 && search !== '') said.push(t('listNone'));
    if (found > shown) said.push(t('listMore', { shown, found }));
    if (this.#topics.isCut) said.push(t('listCut', { most: TOPICS_MAX }));
    at('topics-note').hidden = said.length === 0;
    write(at('topics-note'), said.join(' '));
  }

  /** Puts the rows in order and moves only those that are not: what has the focus keeps it. */
  #arrange(shown) {
    const names = new Set(shown.map((topic) => topic.name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      this.#sight.unobserve(row);
      this.#inSight.delete(row);
      this.#rows.delete(name);
      row.remove();
    }
    let before = null;
    for (const topic of shown) {
      const row = this.#rows.get(topic.name) ?? this.#made(topic);
      const place = before ? before.nextSibling : at('list').firstChild;
      if (place !== row) at('list').insertBefore(row, place);
      before = row;
    }
  }

  #made(topic) {
    const row = document.createElement('li');
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'topic';
    button.addEventListener('click', () => this.#onChoose(topic));
    const part = (name, tag = 'span') => {
      const node = document.createElement(tag);
      node.className = name;
      button.append(node);
      return node;
    };
    // A name may be written from right to left; it does not turn its neighbours around.
    part('name', 'bdi');
    part('value');
    button.append(spark());
    part('age');
    part('badge');
    row.append(button);
    this.#rows.set(topic.name, row);
    this.#sight.observe(row);
    return row;
  }

  /** @param {HTMLLIElement} row @param {Topic} topic @param {{now: number, heardAt: number}} times */
  #fill(row, topic, { now, heardAt }) {
    const button = row.firstElementChild;
    const [name, value, svg, age, badge] = button.children;
    row.dataset.filled = 'yes';
    write(name, topic.name === '' ? t('noTopic') : topic.name);
    name.classList.toggle('none', topic.name === '');
    if (value.dataset.of !== `${topic.id}`) fillValue(value, topic);
    value.dataset.of = `${topic.id}`;
    const drawn = line(topic.points, SPARK.width, SPARK.height);
    if (svg.firstElementChild.getAttribute('d') !== drawn) svg.firstElementChild.setAttribute('d', drawn);
    const isLate = isSilent(topic.rhythm, heardAt);
    const usual = usualMs(topic.rhythm);
    write(age, topic.at > 0 ? t('ago', { ms: now - topic.at }) : '');
    write(badge, isLate ? t('silent') : '');
    button.classList.toggle('silent', isLate);
    const why = usual === null ? '' : t(isLate ? 'silentWhy' : 'usualWhy', { usual });
    const title = [t('messages', { count: topic.count }), why].filter((text) => text !== '').join('. ');
    if (button.title !== title) button.title = title;
    const current = topic.name === this.chosen ? 'true' : 'false';
    if (button.getAttribute('aria-current') !== current) button.setAttribute('aria-current', current);
  }
}

function spark() {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'spark');
  svg.setAttribute('viewBox', `-2 -2 ${SPARK.width + 4} ${SPARK.height + 4}`);
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  svg.append(document.createElementNS(SVG, 'path'));
  return svg;
}

/** The newest message: its fields where it has some, else its beginning. @param {Element} node @param {Topic} topic */
export function fillValue(node, topic) {
  const text = topic.text ?? '';
  const isObject = /^\s*[[{]/.test(text) && topic.fields.size > 0 && !topic.fields.has('valor');
  node.replaceChildren();
  if (topic.format === 'base64' || !isObject) {
    node.append(cut(plain(text, topic.format), VALUE_CHARS_MAX) || t('noValue'));
    return;
  }
  const fields = [...topic.fields];
  for (const [campo, { numero, texto }] of fields.slice(0, FIELDS_SHOWN)) {
    const pair = document.createElement('span');
    const key = document.createElement('span');
    [pair.className, key.className] = ['pair', 'key'];
    key.textContent = cut(campo, FIELD_CHARS_MAX);
    pair.append(key, ' ', texto === null ? f.number(numero) : cut(texto, FIELD_CHARS_MAX));
    node.append(pair, ' ');
  }
  if (fields.length > FIELDS_SHOWN) node.append(t('moreFields', { count: fields.length - FIELDS_SHOWN }));
}

/** A number as people here write it, as long as no digit is lost. */
function plain(text, format) {
  if (format === 'base64') return `${t('binary')} ${text}`;
  const value = text.length <= DIGITS_MAX ? number(text) : null;
  return value === null ? text : f.exact(value);
}

function cut(text, most) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

function comparison(order, heardAt) {
  const byName = (one, other) => (one.name < other.name ? -1 : Number(one.name > other.name));
  const late = (topic) => Number(isSilent(topic.rhythm, heardAt));
  if (order === 'newest') return (one, other) => other.at - one.at || byName(one, other);
  if (order === 'silent') return (one, other) => late(other) - late(one) || byName(one, other);
  return byName;
}
