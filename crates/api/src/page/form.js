// Stores a reading that a person types in.

import * as api from './api.js';
import { t } from './i18n.js';
import { interpret } from './interpret.js';

const at = (id) => document.getElementById(id);

/** The key of a reading that may have been stored without our knowing: to send it again is then no second reading. */
let pending = { body: '', key: '' };

/** Says what will be stored, before it is sent. */
export function preview() {
  const { value } = at('insert').elements.valor;
  const { valor, kind } = interpret(value, document.documentElement.lang);
  at('insert-preview').textContent = value.trim() === '' ? t('insertHint') : t(`preview_${kind}`, { valor: valor.trim() });
}

/** Watches the form. */
export function watch() {
  at('insert').addEventListener('input', preview);
  at('insert').addEventListener('submit', async (event) => {
    event.preventDefault();
    const form = event.target;
    const button = form.querySelector('button');
    if (button.ariaDisabled === 'true') return;
    button.ariaDisabled = 'true';
    say('', t('insertSending'));
    try {
      const { valor } = interpret(form.elements.valor.value, document.documentElement.lang);
      const row = await store(form.elements.topico.value.trim(), valor);
      say('good', t('insertDone', row));
      form.elements.valor.value = '';
      preview();
      form.elements.valor.focus();
    } catch (error) {
      say('bad', failure(error));
    } finally {
      button.ariaDisabled = 'false';
    }
  });
}

async function store(topico, valor) {
  const body = JSON.stringify({ valor, topico: topico || undefined });
  if (pending.body !== body) pending = { body, key: key() };
  const headers = { 'content-type': 'application/json', 'idempotency-key': pending.key };
  const row = await api.json('/dados', { method: 'POST', headers, body });
  pending = { body: '', key: '' };
  return row;
}

/** `crypto.randomUUID` is only there over TLS or on this machine; a page in a private network has neither. */
function key() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** What a person is told of a failure. */
function failure(error) {
  if (!(error instanceof api.Refused)) return t('insertGone');
  const { status, problem, retryAfterS } = error;
  if (status === 401) return t('insertLocked');
  if (status === 403 && !['host', 'origin', 'sec-fetch-site'].includes(problem.field)) return t('insertReadOnly');
  if (status === 507) return t('insertFull');
  if (status === 429 || status === 503) return t('insertBusy', { seconds: retryAfterS || 1 });
  return t('insertRefused', { field: problem.field, detail: error.message });
}

function say(kind, text) {
  at('insert-result').className = `result ${kind}`;
  at('insert-result').textContent = text;
}
