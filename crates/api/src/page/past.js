// Asks for the past of the topics that are shown: their sparklines, and how often they speak.

import * as api from './api.js';
import { isKnown, ofRows, ofSeries } from './rhythm.js';
import { TEXT_CHARS_MAX } from './topics.js';

/** Questions under way at the same time. */
const AT_ONCE = 2;
const HOUR_MS = 3_600_000;
/** How far to look back from the newest message: further only where there is too little to know the rhythm. */
const RANGES_MS = [HOUR_MS, 24 * HOUR_MS, 30 * 24 * HOUR_MS];
const PAUSE_MS = 5_000;
/** Messages that tell the rhythm of a topic without a number. */
const ROWS = 16;

export class Past {
  /** @type {import('./topics.js').Topic[]} */
  #waiting = [];
  #running = 0;
  #topics;

  /** @param {import('./topics.js').Topics} topics */
  constructor(topics) {
    this.#topics = topics;
  }

  /** @param {import('./topics.js').Topic} topic */
  want(topic) {
    if (topic.isAsked || topic.at === 0 || (topic.campo === null && !isShortText(topic))) return;
    topic.isAsked = true;
    this.#waiting.push(topic);
    if (this.#running < AT_ONCE) this.#work();
  }

  async #work() {
    this.#running += 1;
    for (let topic = this.#waiting.shift(); topic; topic = this.#waiting.shift()) {
      try {
        if (topic.campo === null) this.#topics.learnRhythm(topic, ofRows(await newest(topic)));
        else this.#topics.remember(topic, await past(topic));
      } catch (error) {
        // It is asked for again when it is shown again.
        topic.isAsked = false;
        await new Promise((resolve) => { setTimeout(resolve, (error.retryAfterS ?? 0) * 1_000 || PAUSE_MS); });
      }
    }
    this.#running -= 1;
  }
}

/** A longer message may be a picture: its topic's rhythm is learned from what comes, not by loading old ones. */
function isShortText({ name, text }) {
  return name !== '' && text !== null && text.length < TEXT_CHARS_MAX;
}

function newest({ name }) {
  return api.json(api.query('/dados', { topico: name, limite: ROWS }));
}

async function past({ name, campo, at }) {
  let serie;
  for (const range of RANGES_MS) {
    const moment = (ms) => new Date(ms).toISOString();
    serie = await api.json(api.query('/series', { topico: name, campo, desde: moment(at - range), ate: moment(at + 1) }));
    if (isKnown(ofSeries(serie.pontos, at))) break;
  }
  return serie;
}
