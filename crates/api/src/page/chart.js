// The chart of one topic's field: its past as means from `/series`, or of ten minutes each reading; then what comes.

import * as api from './api.js';
import { f, t } from './i18n.js';
import * as points from './points.js';
import { LATE_TIMES, isSilent, usualMs } from './rhythm.js';
import { write } from './way.js';

const MINUTE_MS = 60_000;
/** The first range shows each reading, the others the means of steps: the two never become one line. */
const RANGES = {
  '10m': { ms: 10 * MINUTE_MS, said: '-10m' },
  '1h': { ms: 60 * MINUTE_MS, said: '-1h' },
  '24h': { ms: 1_440 * MINUTE_MS, said: '-24h' },
  '7d': { ms: 7 * 1_440 * MINUTE_MS, said: '-7d' },
  '30d': { ms: 30 * 1_440 * MINUTE_MS, said: '-30d' },
};
const POINTS_MAX = 2_000;
/** Messages that are read for a chart of each reading; of a faster topic it begins with the newest of these. */
const ROWS_MAX = 2_000;
const RELOAD_EVERY_MS = 60_000;
/** The least that the box is wide. */
const SPAN_MS_MIN = MINUTE_MS;
const HEIGHT = 260;
/** A line goes over a hole of so many steps or less. */
const HOLE_STEPS = 1.5;

const at = (id) => document.getElementById(id);

export class Chart {
  /** @type {import('./topics.js').Topic | null} */
  topic = null;
  #campo = 'valor';
  #range = '1h';
  /** @type {import('./points.js').Point[]} */
  #points = [];
  #step = MINUTE_MS;
  #plot = null;
  #isChanged = false;
  #loadedAt = 0;
  #loading = new AbortController();
  #failed = '';
  /** What the points are of. */
  #shown = {};

  constructor() {
    for (const range of Object.keys(RANGES)) at('ranges').append(this.#choice(range));
    at('chart-field').addEventListener('change', (event) => {
      this.#campo = event.target.value;
      this.#load();
    });
    new ResizeObserver(() => this.#resize()).observe(at('plot'));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#rebuild());
  }

  /** @param {import('./topics.js').Topic} topic */
  choose(topic) {
    this.topic = topic;
    this.#campo = topic.campo ?? 'valor';
    const usual = usualMs(topic.rhythm) ?? MINUTE_MS;
    this.#range = usual <= 15_000 ? '10m' : usual <= 5 * MINUTE_MS ? '1h' : '24h';
    at('chart').hidden = false;
    this.translate();
    this.#load();
  }

  /** Says everything again, after a change of language or of choice. */
  translate() {
    for (const text of at('ranges').querySelectorAll('span')) text.textContent = t(`range_${text.dataset.range}`);
    if (!this.topic) return;
    at('chart-topic').textContent = this.topic.name || t('noTopic');
    this.#fields();
    this.#rebuild();
  }

  /** A reading of some topic has come. */
  take({ topic, read, at: moment }) {
    if (topic !== this.topic) return;
    const number = read.get(this.#campo)?.numero;
    if (typeof number !== 'number') return;
    points.fold(this.#points, this.#step, moment, number);
    points.thin(this.#points, POINTS_MAX, RANGES[this.#range].ms + this.#step);
    this.#isChanged = true;
  }

  /** @param {number} now @param {number} heardAt when messages were last seen */
  show(now, heardAt) {
    if (!this.topic) return;
    if (!this.#isEach() && Date.now() - this.#loadedAt > RELOAD_EVERY_MS) this.#load();
    if (at('chart-field').options.length !== Math.max(1, this.#numeric().length)) this.#fields();
    const from = now - RANGES[this.#range].ms;
    this.#points = this.#points.filter((point) => point.at >= from - this.#step);
    // What is known of less than the range fills the box: an hour of a month would be a stroke.
    const first = Math.min(Math.max(this.#points[0]?.at ?? from, from), now - SPAN_MS_MIN);
    this.#plot?.setScale('x', { min: first / 1_000, max: now / 1_000 });
    if (this.#isChanged) this.#draw();
    this.#summary(heardAt);
  }

  /** Messages without a topic cannot be selected: of these there are only means. */
  #isEach() {
    return this.#range === '10m' && this.topic.name !== '';
  }

  #summary(heardAt) {
    const all = points.total(this.#points);
    const said = [this.#failed || (all ? t('chartSummary', all) : t('chartEmpty'))];
    const usual = usualMs(this.topic.rhythm);
    if (usual !== null) said.push(`${t(isSilent(this.topic.rhythm, heardAt) ? 'silentWhy' : 'usualWhy', { usual })}.`);
    write(at('chart-summary'), said.join(' ').replaceAll('..', '.'));
  }

  #numeric() {
    return [...this.topic.fields].filter(([, reading]) => reading.numero !== null).map(([campo]) => campo);
  }

  #fields() {
    const options = this.#numeric().map((campo) => new Option(campo, campo, false, campo === this.#campo));
    at('chart-field').replaceChildren(...(options.length > 0 ? options : [new Option(this.#campo)]));
  }

  #choice(range) {
    const [label, input, text] = ['label', 'input', 'span'].map((tag) => document.createElement(tag));
    Object.assign(input, { type: 'radio', name: 'range', value: range });
    text.dataset.range = range;
    input.addEventListener('change', () => {
      this.#range = range;
      this.#load();
    });
    label.append(input, text);
    return label;
  }

  async #load() {
    this.#loading.abort();
    const loading = new AbortController();
    [this.#loading, this.#loadedAt] = [loading, Date.now()];
    for (const input of at('ranges').querySelectorAll('input')) input.checked = input.value === this.#range;
    const asked = { topico: this.topic.name, campo: this.#campo, desde: RANGES[this.#range].said };
    at('csv-series').href = api.query('/series', { ...asked, formato: 'csv' });
    at('csv-topic').href = api.query('/dados', { topico: asked.topico || undefined, formato: 'csv' });
    at('plot').ariaLabel = t('chartLabel', { topic: asked.topico || t('noTopic'), field: asked.campo });
    const known = this.#isOf(asked) ? this.#points : [];
    try {
      const [past, step] = await (this.#isEach() ? each(asked) : means(asked));
      if (loading.signal.aborted) return;
      [this.#points, this.#step, this.#failed] = [past, step, ''];
    } catch (error) {
      if (loading.signal.aborted) return;
      [this.#points, this.#failed] = [known, t('chartFailed', { why: error.message })];
    }
    this.#shown = asked;
    this.#draw();
  }

  #isOf(asked) {
    return ['topico', 'campo', 'desde'].every((name) => this.#shown[name] === asked[name]);
  }

  #draw() {
    this.#isChanged = false;
    if (!this.#plot) this.#rebuild();
    const hole = Math.max(HOLE_STEPS * (this.#step || MINUTE_MS), LATE_TIMES * (usualMs(this.topic.rhythm) ?? 0));
    this.#plot.setData(points.columns(this.#points, hole), false);
    this.#plot.setScale('y', { min: null, max: null });
  }

  #rebuild() {
    this.#plot?.destroy();
    const box = at('plot');
    const colour = (name) => getComputedStyle(box).getPropertyValue(name).trim();
    this.#plot = new window.uPlot(options(box.clientWidth, colour), [[], [], [], []], box);
    this.#isChanged = true;
  }

  #resize() {
    const width = at('plot').clientWidth;
    if (this.#plot && width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT });
  }
}

/** Points, and their step of 0: each reading is one. */
async function each({ topico, campo, desde }) {
  const rows = await api.json(api.query('/dados', { topico, desde, limite: ROWS_MAX }));
  return [points.ofRows(rows, campo), 0];
}

/** Points, and their step in milliseconds. */
async function means(asked) {
  const serie = await api.json(api.query('/series', asked));
  return [points.ofSeries(serie), points.stepMs(serie.passo)];
}

function options(width, colour) {
  const grid = { stroke: colour('--line'), width: 1 };
  const axis = { stroke: colour('--quiet'), grid, ticks: { ...grid, size: 4 }, font: '12px system-ui, sans-serif' };
  const value = (_, number) => (number === null || number === undefined ? '–' : f.number(number));
  const edge = { stroke: 'transparent', width: 0, points: { show: false }, value };
  return {
    width,
    height: HEIGHT,
    padding: [12, 12, 0, 0],
    cursor: { drag: { x: false, y: false } },
    scales: { x: { time: true, auto: false }, y: { auto: true } },
    series: [
      { label: t('time'), value: (_, seconds) => (seconds === null ? '–' : f.clock(seconds * 1_000)) },
      { ...edge, label: t('max') },
      { ...edge, label: t('min') },
      { label: t('mean'), stroke: colour('--accent'), width: 2, value, points: { size: 5 } },
    ],
    bands: [{ series: [1, 2], fill: colour('--band') }],
    axes: [
      { ...axis, space: 70, values: (_, splits, __, ___, stepS) => f.ticks(splits.map((s) => s * 1_000), stepS) },
      { ...axis, size: 62, values: (_, splits) => splits.map((number) => f.number(number)) },
    ],
  };
}
