// Points of charts: put together by step, thinned, and drawn as a line. Pure.

import { fields } from './fields.js';

/** @typedef {{at: number, n: number, mean: number, min: number, max: number}} Point */

const STEPS_MS = { '1m': 60_000, '5m': 300_000, '15m': 900_000, '1h': 3_600_000, '6h': 21_600_000, '1d': 86_400_000 };

/** The length of a step of `/series`. @param {string} name */
export function stepMs(name) {
  return STEPS_MS[name] ?? STEPS_MS['1m'];
}

/** What `/series` answers, as points; a mean that is too large for a number is left out. @returns {Point[]} */
export function ofSeries(serie) {
  const points = serie.pontos.map(({ inicio, n, media, minimo, maximo }) => (
    { at: Date.parse(inicio), n, mean: media, min: minimo, max: maximo }));
  return points.filter((point) => point.mean !== null);
}

/**
 * The readings of a field in messages, each a point.
 * @param {object[]} rows the newest first @param {string} campo @returns {Point[]} the oldest first
 */
export function ofRows(rows, campo) {
  const points = [];
  for (const { valor, formato, timestamp } of rows.toReversed()) {
    const number = fields(valor, formato).get(campo)?.numero;
    const at = Date.parse(timestamp ?? '');
    if (typeof number === 'number' && !Number.isNaN(at)) fold(points, 0, at, number);
  }
  return points;
}

/**
 * Adds a reading to the points, in the step that it belongs to; with a step of 0 each reading is a point.
 * @param {Point[]} points in the order of time, changed @param {number} step @param {number} at @param {number} value
 */
export function fold(points, step, at, value) {
  const begin = step > 0 ? Math.floor(at / step) * step : at;
  let index = points.length;
  while (index > 0 && points[index - 1].at > begin) index -= 1;
  const point = points[index - 1];
  if (step > 0 && point?.at === begin) {
    point.mean += (value - point.mean) / (point.n + 1);
    point.n += 1;
    point.min = Math.min(point.min, value);
    point.max = Math.max(point.max, value);
  } else {
    points.splice(index, 0, { at: begin, n: 1, mean: value, min: value, max: value });
  }
}

/**
 * Makes room where there are too many points: what is older than the window goes, then the two that are closest become
 * one, so that what is left is spread over the window.
 * @param {Point[]} points in the order of time, changed @param {number} most @param {number} windowMs
 */
export function thin(points, most, windowMs) {
  const since = (points.at(-1)?.at ?? 0) - windowMs;
  const kept = points.findIndex((point) => point.at >= since);
  if (kept > 0) points.splice(0, kept);
  while (points.length > most) {
    let closest = 1;
    for (let index = 2; index < points.length; index += 1) {
      const gap = points[index].at - points[index - 1].at;
      if (gap < points[closest].at - points[closest - 1].at) closest = index;
    }
    points.splice(closest - 1, 2, both(points[closest - 1], points[closest]));
  }
}

function both(one, other) {
  const n = one.n + other.n;
  const mean = one.mean + (other.mean - one.mean) * (other.n / n);
  return { at: other.at, n, mean, min: Math.min(one.min, other.min), max: Math.max(one.max, other.max) };
}

/**
 * Columns as uPlot draws them: seconds, largest, least, mean; with a hole where nothing was for longer than `gapMs`.
 * @param {Point[]} points @param {number} gapMs
 */
export function columns(points, gapMs) {
  const found = [[], [], [], []];
  const push = (...row) => row.forEach((value, column) => found[column].push(value));
  points.forEach(({ at, max, min, mean }, index) => {
    const before = points[index - 1]?.at ?? at;
    if (at - before > gapMs) push((at + before) / 2_000, null, null, null);
    push(at / 1_000, max, min, mean);
  });
  return found;
}

/** All points together; null of none. @param {Point[]} points @returns {Point | null} */
export function total(points) {
  return points.length > 0 ? points.reduce(both) : null;
}

/**
 * A line through the points in a box, for the attribute `d` of a path.
 * @param {Point[]} points @param {number} width @param {number} height
 */
export function line(points, width, height) {
  if (points.length < 2) return '';
  const [first, last] = [points[0].at, points[points.length - 1].at];
  const means = points.map((point) => point.mean);
  const [low, high] = [Math.min(...means), Math.max(...means)];
  // Halved, so that the difference of two large numbers is one.
  const x = (at) => last > first ? (at - first) / (last - first) * width : width;
  const y = (mean) => high > low ? height - (mean / 2 - low / 2) / (high / 2 - low / 2) * height : height / 2;
  const place = (point) => `${x(point.at).toFixed(1)} ${y(point.mean).toFixed(1)}`;
  return `M${points.map(place).join('L')}`;
}
