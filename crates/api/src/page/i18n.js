// The page's language: words, numbers, ages. Chosen by the browser until a person chooses.

import { en } from './en.js';
import { pt } from './pt.js';

const KEY = 'ponte.language';
const LANGUAGES = { pt: { tag: 'pt-BR', words: pt }, en: { tag: 'en', words: en } };

/** The first language of these that the page has; Portuguese where it has none. @param {readonly string[]} wanted */
export function choose(wanted) {
  const known = wanted.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag in LANGUAGES);
  return known ?? 'pt';
}

/** How people are told numbers and times in one language. @param {string} tag */
function formats(tag) {
  const count = new Intl.NumberFormat(tag, { maximumFractionDigits: 0 });
  const number = new Intl.NumberFormat(tag, { maximumSignificantDigits: 6 });
  const exact = new Intl.NumberFormat(tag, { maximumSignificantDigits: 15 });
  const rate = new Intl.NumberFormat(tag, { maximumSignificantDigits: 2 });
  const extreme = new Intl.NumberFormat(tag, { notation: 'scientific', maximumSignificantDigits: 6 });
  const mean = new Intl.NumberFormat(tag, { maximumSignificantDigits: 4 });
  const clock = new Intl.DateTimeFormat(tag, { dateStyle: 'short', timeStyle: 'medium' });
  const day = new Intl.DateTimeFormat(tag, { day: '2-digit', month: '2-digit' });
  const minute = new Intl.DateTimeFormat(tag, { timeStyle: 'short' });
  const second = new Intl.DateTimeFormat(tag, { timeStyle: 'medium' });
  const isExtreme = (value) => value !== 0 && (Math.abs(value) >= 1e12 || Math.abs(value) < 1e-4);
  return {
    count: (value) => count.format(value),
    number: (value) => (isExtreme(value) ? extreme : number).format(value),
    exact: (value) => (isExtreme(value) ? extreme : exact).format(value),
    rate: (value) => (value < 10 ? rate : count).format(value),
    mean: (value) => (isExtreme(value) ? extreme : mean).format(value),
    span: (ms) => { const [value, unit] = inUnits(ms); return `${count.format(value)}\u00a0${unit}`; },
    ticks: (times, stepS) => ticks(times, stepS, { day, minute, second }),
    clock: (at) => clock.format(at),
  };
}

/**
 * The labels of an axis: the time of each mark, with the day below where it turns, and below the first of several days.
 * @param {number[]} times @param {number} stepS between two marks, in seconds
 */
function ticks(times, stepS, { day, minute, second }) {
  if (stepS >= 86_400) return times.map((at) => day.format(at));
  const days = times.map((at) => day.format(at));
  const isOneDay = days.every((it) => it === days[0]);
  const clock = stepS >= 60 ? minute : second;
  return times.map((at, index) => {
    const isNew = !isOneDay && days[index] !== days[index - 1];
    return isNew ? `${clock.format(at)}\n${days[index]}` : clock.format(at);
  });
}

/** A length of time as one number that is easy to read. @param {number} ms @returns {[number, string]} */
export function inUnits(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 100) return [seconds, 's'];
  if (seconds < 100 * 60) return [Math.round(seconds / 60), 'min'];
  if (seconds < 48 * 3_600) return [Math.round(seconds / 3_600), 'h'];
  return [Math.round(seconds / 86_400), 'd'];
}

let language = localStorage.getItem(KEY) ?? choose(navigator.languages);
if (!(language in LANGUAGES)) language = 'pt';

/** Numbers and times in the page's language. */
export let f = formats(LANGUAGES[language].tag);

/** The words for a key. @param {string} key @param {object} [values] what is told in them */
export function t(key, values = {}) {
  const words = LANGUAGES[language].words[key];
  return typeof words === 'function' ? words(values, f) : words ?? key;
}

/** Puts the words into the page's frame. */
export function translate() {
  document.documentElement.lang = LANGUAGES[language].tag;
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-t-label]')) node.setAttribute('aria-label', t(node.dataset.tLabel));
  for (const node of document.querySelectorAll('[data-t-placeholder]')) node.placeholder = t(node.dataset.tPlaceholder);
}

/** Changes to the other language, and remembers it. */
export function swap() {
  language = language === 'pt' ? 'en' : 'pt';
  localStorage.setItem(KEY, language);
  f = formats(LANGUAGES[language].tag);
  translate();
}
