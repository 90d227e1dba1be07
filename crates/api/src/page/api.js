// Asks the API: with the token if there is one, within a time, by the API's clock.

import * as tokens from './token.js';
import { t } from './i18n.js';

const TIMEOUT_MS = 10_000;
/** A clock that is off by less is right: the header `date` has whole seconds, and an answer takes its time. */
const SKEW_MS_MIN = 5_000;

/** The API's clock less ours. */
let skewMs = 0;

/** The time by the API's clock, which is the one that rows are stamped with. */
export function now() {
  return Date.now() + skewMs;
}

/** The API answered, and no. */
export class Refused extends Error {
  /** @param {number} status @param {{detail?: string, field?: string}} problem @param {number} retryAfterS */
  constructor(status, problem, retryAfterS) {
    super(problem.detail ?? `HTTP ${status}`);
    Object.assign(this, { status, problem, retryAfterS });
  }
}

/**
 * An answer that says yes; throws `Refused`, or what `fetch` throws where there is no answer.
 * @param {string} path @param {RequestInit} [options]
 */
export async function request(path, options = {}) {
  for (;;) {
    const token = tokens.token();
    const headers = new Headers(options.headers);
    if (token) headers.set('authorization', `Bearer ${token}`);
    const signal = options.signal ?? AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(path, { ...options, headers, signal, cache: 'no-store', redirect: 'error' });
    learnTime(response);
    if (response.ok) return response;
    const refused = await refusal(response);
    if (response.status !== 401) throw refused;
    await tokens.ask(token, t('tokenWrong')).catch(() => { throw refused; });
  }
}

/** @param {string} path @param {RequestInit} [options] */
export async function json(path, options) {
  return (await request(path, options)).json();
}

/** A path with its query; a parameter without a value is left out. @param {Record<string, unknown>} parameters */
export function query(path, parameters) {
  const said = Object.entries(parameters).filter(([, value]) => value !== undefined);
  const pairs = said.map(([name, value]) => `${name}=${encodeURIComponent(value)}`);
  return pairs.length > 0 ? `${path}?${pairs.join('&')}` : path;
}

async function refusal(response) {
  const isProblem = response.headers.get('content-type')?.startsWith('application/problem+json');
  const problem = isProblem ? await response.json().catch(() => ({})) : {};
  return new Refused(response.status, problem, Number(response.headers.get('retry-after')) || 0);
}

function learnTime(response) {
  const theirs = Date.parse(response.headers.get('date') ?? '');
  if (Number.isNaN(theirs)) return;
  const skew = theirs - Date.now();
  skewMs = Math.abs(skew) >= SKEW_MS_MIN ? skew : 0;
}
