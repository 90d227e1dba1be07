// Follows what is stored: by server-sent events, or by asking again and again where these do not come through.

import * as api from './api.js';
import { Parser } from './sse.js';

const PATH = '/dados/ao-vivo';
/** The API says something every 15 s; a connection with three silences is dead. */
const SILENCE_MS_MAX = 45_000;
/** It says something at once, too. What is held back longer goes through a proxy that collects. */
const FIRST_WORD_MS_MAX = 8_000;
const RETRY_MS_MIN = 1_000;
const RETRY_MS_MAX = 15_000;
/** After a longer absence the past is not replayed: the list of topics is read anew. */
const RESUME_MS_MAX = 60_000;
const POLL_EVERY_MS = 2_000;
const POLL_ROWS = 100;
/** How long to poll before events are tried again. */
const POLL_FOR_MS = 60_000;

/** @typedef {'connecting' | 'live' | 'polling' | 'lost'} FeedState */

/** There is an API, but no stream of events. */
class Unstreamable extends Error {}

export class Feed {
  /** @type {FeedState} */
  state = 'connecting';
  /** The newest row that was seen. @type {number | undefined} */
  #lastId = undefined;
  #heardAt = 0;
  #running = new AbortController();
  #onRows;
  #onMissed;

  /**
   * @param {(rows: object[]) => void} onRows
   * @param {(count: number) => void} onMissed so many rows were stored and not shown
   */
  constructor(onRows, onMissed) {
    [this.#onRows, this.#onMissed] = [onRows, onMissed];
  }

  start() {
    this.state = 'connecting';
    this.#running = new AbortController();
    this.#run(this.#running.signal);
  }

  stop() {
    this.state = 'connecting';
    this.#running.abort();
  }

  /** @param {AbortSignal} signal */
  async #run(signal) {
    for (let failures = 0; !signal.aborted; failures += 1) {
      if (Date.now() - this.#heardAt > RESUME_MS_MAX) this.#lastId = undefined;
      let retryMs;
      try {
        retryMs = await this.#follow(signal, () => { failures = 0; });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Unstreamable && await this.#poll(signal)) failures = 0;
      }
      if (signal.aborted) return;
      this.state = 'lost';
      await pause(delay(failures, retryMs), signal);
    }
  }

  /** Reads one stream to its end; gives how long the server wants to be left alone. */
  async #follow(signal, onWord) {
    const stop = new AbortController();
    const both = AbortSignal.any([signal, stop.signal]);
    let timer = setTimeout(() => stop.abort(), FIRST_WORD_MS_MAX);
    let response = null;
    let words = 0;
    try {
      response = await this.#open(both);
      const parser = new Parser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        clearTimeout(timer);
        timer = setTimeout(() => stop.abort(), SILENCE_MS_MAX);
        words += 1;
        onWord();
        this.#hear(parser, piece.value);
      }
      return parser.retryMs;
    } catch (error) {
      throw response && words === 0 && stop.signal.aborted ? new Unstreamable() : error;
    } finally {
      clearTimeout(timer);
    }
  }

  #hear(parser, text) {
    this.state = 'live';
    this.#heardAt = Date.now();
    this.#take(parser.push(text));
    const id = Number(parser.lastId);
    if (parser.lastId && Number.isSafeInteger(id)) this.#lastId = id;
  }

  async #open(signal) {
    const headers = { accept: 'text/event-stream' };
    if (this.#lastId !== undefined) headers['last-event-id'] = String(this.#lastId);
    let response;
    try {
      response = await api.request(PATH, { headers, signal });
    } catch (error) {
      const isUnknown = error instanceof api.Refused && [400, 404, 405, 406].includes(error.status);
      throw isUnknown ? new Unstreamable() : error;
    }
    if (!response.headers.get('content-type')?.startsWith('text/event-stream')) throw new Unstreamable();
    return response;
  }

  #take(messages) {
    const rows = [];
    for (const { event, data } of messages) {
      if (event === 'message') rows.push(JSON.parse(data));
      if (event === 'perdidos') {
        const { de, ate } = JSON.parse(data);
        this.#onMissed(ate - de + 1);
      }
    }
    if (rows.length > 0) this.#onRows(rows);
  }

  /** Asks for the newest rows for a while; whether the API answered. */
  async #poll(signal) {
    const until = Date.now() + POLL_FOR_MS;
    while (Date.now() < until) {
      let newest;
      try {
        newest = await api.json(api.query('/dados', { limite: POLL_ROWS }));
      } catch {
        return this.state === 'polling';
      }
      if (signal.aborted) return true;
      this.state = 'polling';
      this.#heardAt = Date.now();
      this.#takePolled(newest);
      await pause(POLL_EVERY_MS, signal);
      if (signal.aborted) return true;
    }
    return true;
  }

  /** @param {{id: number}[]} newest the newest first */
  #takePolled(newest) {
    const before = this.#lastId;
    this.#lastId = newest[0]?.id ?? 0;
    if (before === undefined) return;
    const fresh = newest.filter((row) => row.id > before).reverse();
    if (fresh.length === POLL_ROWS) this.#onMissed(fresh[0].id - before - 1);
    if (fresh.length > 0) this.#onRows(fresh);
  }
}

/** Longer after each failure, and never the same for all pages that wait. */
function delay(failures, retryMs = RETRY_MS_MIN) {
  const longest = Math.min(Math.max(retryMs, RETRY_MS_MIN) * 2 ** Math.min(failures, 10), RETRY_MS_MAX);
  return longest * (0.5 + Math.random() / 2);
}

/** @param {number} ms @param {AbortSignal} signal */
function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
