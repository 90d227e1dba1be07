// How often a topic speaks, and when it has been silent for too long. Pure.

/** So many times its usual interval a topic may be late. */
export const LATE_TIMES = 3;
/** A topic is not called silent sooner than this. */
export const SILENT_MS_MIN = 30_000;
/** Of fewer messages nobody knows how often they come. */
const MESSAGES_MIN = 4;
/** Beyond so many the older half is forgotten: a sensor that was set to another pace is soon known by it. */
const MESSAGES_MAX = 500;

/** From the first to the last of so many messages, by the clock. @typedef {{first: number, last: number, n: number}} Rhythm */

/** @param {Rhythm | null} rhythm @param {number} at @returns {Rhythm} */
export function beat(rhythm, at) {
  if (rhythm === null) return { first: at, last: at, n: 1 };
  const next = { first: Math.min(rhythm.first, at), last: Math.max(rhythm.last, at), n: rhythm.n + 1 };
  if (next.n <= MESSAGES_MAX) return next;
  return { ...next, first: next.first + (next.last - next.first) / 2, n: Math.ceil(next.n / 2) };
}

/**
 * What the points of `/series` up to the newest message tell.
 * @param {{inicio: string, n: number}[]} points @param {number} last @returns {Rhythm | null}
 */
export function ofSeries(points, last) {
  // Nobody knows when in its step the first message came; from the second step on that matters little.
  const whole = points.length > 1 ? points.slice(1) : points;
  const n = whole.reduce((sum, point) => sum + point.n, 0);
  return n > 0 ? { first: Math.min(Date.parse(whole[0].inicio), last), last, n } : null;
}

/** What the newest messages of a topic tell. @param {{timestamp: string | null}[]} rows @returns {Rhythm | null} */
export function ofRows(rows) {
  const times = rows.map(({ timestamp }) => Date.parse(timestamp ?? '')).filter((at) => !Number.isNaN(at));
  return times.length > 0 ? { first: Math.min(...times), last: Math.max(...times), n: times.length } : null;
}

/** Whether that is enough to know the interval. @param {Rhythm | null} rhythm */
export function isKnown(rhythm) {
  return rhythm !== null && rhythm.n >= MESSAGES_MIN && rhythm.last > rhythm.first;
}

/** The mean time between two messages; null where it is not known. @param {Rhythm | null} rhythm */
export function usualMs(rhythm) {
  return isKnown(rhythm) ? (rhythm.last - rhythm.first) / (rhythm.n - 1) : null;
}

/** @param {Rhythm | null} rhythm @param {number} now */
export function isSilent(rhythm, now) {
  const usual = usualMs(rhythm);
  return usual !== null && now - rhythm.last > Math.max(LATE_TIMES * usual, SILENT_MS_MIN);
}
