// Shows how the whole way is: a headline, and a step for each part of it.

import { t } from './i18n.js';

const at = (id) => document.getElementById(id);

/** @param {ReturnType<import('./health.js').judge>} verdict */
export function show({ level, head, sub, steps }) {
  at('state').dataset.level = level;
  // It is read out when it changes, so only what matters stands in it, and no ages.
  write(at('headline'), t(...head));
  write(at('subline'), sub ? t(...sub) : '');
  document.title = level === 'bad' || level === 'warn' ? `⚠ ${t(...head)} – Ponte` : 'Ponte';
  const list = at('way');
  while (list.childElementCount < steps.length) list.append(made());
  steps.forEach((step, index) => fill(list.children[index], step));
}

function made() {
  const item = document.createElement('li');
  const mark = document.createElement('span');
  mark.className = 'mark';
  mark.setAttribute('role', 'img');
  const [title, text] = [document.createElement('strong'), document.createElement('span')];
  text.className = 'said';
  item.append(mark, title, text);
  return item;
}

function fill(item, { id, level, text, more = [] }) {
  const [mark, title, said] = item.children;
  item.dataset.level = level;
  item.dataset.step = id;
  if (mark.ariaLabel !== t(`level_${level}`)) mark.ariaLabel = t(`level_${level}`);
  write(title, t(id));
  write(said, [text, ...more].map((words) => t(...words)).join('; '));
}

/** Leaves a text alone that is there already, so that a selection in it stays. @param {Element} node @param {string} text */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
