// How a value that a person types is stored: a number by the page's language, JSON, or text. Pure.

import { number } from './fields.js';

/** Numbers as each language writes them beside the form that sensors use: with these marks of thousands and decimals. */
const WRITTEN = {
  pt: { form: /^[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+$/, thousands: '.', decimal: ',' },
  en: { form: /^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$/, thousands: ',', decimal: '.' },
};

/**
 * What is stored for a text, and as what it counts.
 * @param {string} text @param {string} language a tag such as pt-BR
 * @returns {{valor: string, kind: 'number' | 'json' | 'text'}}
 */
export function interpret(text, language) {
  const written = WRITTEN[language.slice(0, 2)];
  const trimmed = text.trim();
  if (written?.form.test(trimmed)) {
    const valor = trimmed.replaceAll(written.thousands, '').replace(written.decimal, '.');
    return { valor, kind: 'number' };
  }
  if (number(text) !== null) return { valor: text, kind: 'number' };
  return { valor: text, kind: isJson(trimmed) ? 'json' : 'text' };
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
