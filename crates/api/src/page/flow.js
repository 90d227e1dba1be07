// Messages per second, of the last two minutes.

import { f, t } from './i18n.js';
import { write } from './way.js';

const SECONDS = 120;
/** The rate is a mean of so many whole seconds. */
const RATE_SECONDS = 10;
const HEIGHT = 40;

const at = (id) => document.getElementById(id);

export class Flow {
  /** How many came in each second, the running one last. */
  #counts = new Array(SECONDS + 1).fill(0);
  #second = Math.floor(performance.now() / 1_000);
  #began = this.#second;

  /** @param {number} count */
  add(count) {
    this.#advance();
    this.#counts[SECONDS] += count;
  }

  /** Messages per second. */
  rate() {
    this.#advance();
    const seconds = Math.min(RATE_SECONDS, this.#second - this.#began);
    if (seconds === 0) return 0;
    return this.#counts.slice(SECONDS - seconds, SECONDS).reduce((sum, count) => sum + count, 0) / seconds;
  }

  /** @param {boolean} isFollowing whether what comes is seen */
  show(isFollowing) {
    this.#advance();
    const whole = this.#counts.slice(0, SECONDS);
    const peak = Math.max(...whole);
    const bar = (count, second) => {
      const height = Math.max(count / peak * HEIGHT, 0.8);
      return count > 0 ? `M${second + 0.1} ${HEIGHT}v${-height.toFixed(2)}h0.8v${height.toFixed(2)}z` : '';
    };
    at('flow-bars').firstElementChild.setAttribute('d', whole.map(bar).join(''));
    write(at('rate'), isFollowing ? f.rate(this.rate()) : '–');
    write(at('flow-peak'), peak > 0 ? t('peak', { peak }) : '');
  }

  #advance() {
    const second = Math.floor(performance.now() / 1_000);
    const passed = Math.min(second - this.#second, this.#counts.length);
    if (passed > 0) this.#counts = [...this.#counts.slice(passed), ...new Array(passed).fill(0)];
    this.#second = second;
  }
}
