// What can be charted of a payload: its fields, by the rule that the API's tables are made by. Pure.

const FIELDS_MAX = 64;
const ARRAY_ITEMS_MAX = 16;
const DEPTH_MAX = 8;
/** A longer payload is not taken apart while it streams by: the list shows its beginning. */
const PAYLOAD_CHARS_MAX = 100_000;
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

/** @typedef {{numero: number | null, texto: string | null}} Reading */

/**
 * @param {string | null} valor @param {string} [formato] @returns {Map<string, Reading>}
 */
export function fields(valor, formato) {
  const found = new Map();
  const text = (valor ?? '').replace(/\0+$/, '').trim();
  if (formato === 'base64' || text === '' || text.length > PAYLOAD_CHARS_MAX) return found;
  add(found, 'valor', '', 0, parsed(text));
  return found;
}

/** A number as sensors write them; null where the text is none, or too large. @param {string} text */
export function number(text) {
  const trimmed = text.trim();
  const value = DECIMAL.test(trimmed) ? Number(trimmed) : NaN;
  return Number.isFinite(value) ? value : null;
}

/** The text as the JSON that it is, or as itself. A number stays a text, as its digits may say more. */
function parsed(text) {
  if (!'{["tf'.includes(text[0]) && text !== 'null') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function add(found, name, prefix, depth, value) {
  if (value === null) return;
  if (typeof value === 'object') {
    if (depth === DEPTH_MAX) return put(found, name, { numero: null, texto: JSON.stringify(value) });
    const entries = Array.isArray(value) ? value.slice(0, ARRAY_ITEMS_MAX).entries() : Object.entries(value);
    for (const [key, member] of entries) {
      const path = `${prefix}${key}`;
      add(found, path, `${path}.`, depth + 1, member);
    }
    return;
  }
  if (typeof value === 'string') return put(found, name, { numero: number(value), texto: value });
  put(found, name, { numero: Number(value), texto: null });
}

function put(found, name, reading) {
  if (found.size < FIELDS_MAX || found.has(name)) found.set(name, reading);
}
