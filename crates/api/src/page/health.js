// What is well and what is not, on the whole way from sensor to chart. Pure.

/** A subscriber reports every 10 s. One that has missed two reports is not heard from. */
const UNHEARD_MS = 22_000;
/**
 * The database has a report that says nothing new once a minute only, so right after a start of the API a subscriber
 * may look older than it is, until its next report.
 */
const UNHEARD_AT_START_MS = 90_000;
/** A subscriber that was not heard from for so long is gone for good where another one is there. */
const GONE_MS = 24 * 3_600_000;
/** So many messages wait at a subscriber in normal operation. */
const WAITING_MAX = 1_000;
/** So many messages are on their way into the charts in normal operation. */
const BEHIND_MAX = 10_000;
/** A spool is called filling from here. */
const SPOOL_PART_MIN = 0.5;

/** Steps that let no message of a sensor through, by what is told of them. */
const BROKEN = new Set(['brokerLost', 'subscriberUnheard']);

/** @typedef {'good' | 'wait' | 'warn' | 'bad'} Level */
/** Words by their key, with what is told in them. @typedef {[string, object?]} Said */
/** @typedef {{id: string, level: Level, text: Said, more?: Said[]}} Step */

/**
 * @typedef {object} Facts
 * @property {number} now
 * @property {number | null} answeredAt when the API last answered
 * @property {number | null} answeringSince since when it has answered without a failure
 * @property {boolean} isGone whether it does not now
 * @property {boolean} isLocked whether it wants a token that nobody gave
 * @property {{status: number, detail?: string, leituras?: {atraso: number, refazendo?: number}} | null} ready
 * @property {object[] | null} producers what `/produtores` tells
 * @property {number} producersAt when it told that
 * @property {number | null} newestAt when the newest message was captured
 * @property {{total: number, silent: number}} topics
 * @property {number} rate messages per second
 */

/** @param {Facts} facts @returns {{level: Level, head: Said, sub: Said | null, steps: Step[]}} */
export function judge(facts) {
  const steps = [sensors(facts), broker(facts), subscriber(facts), api(facts), readings(facts)];
  const worst = ['bad', 'warn'].map((level) => ofLevel(steps, level)).find((step) => step);
  if (facts.isLocked && !facts.isGone) return { level: 'warn', head: ['head_locked'], sub: ['sub_locked'], steps };
  if (worst) return { level: worst.level, head: [`head_${worst.text[0]}`, worst.text[1]], sub: sub(facts), steps };
  if (facts.ready === null) return { level: 'wait', head: ['looking'], sub: null, steps };
  if (facts.topics.total === 0) return { level: 'good', head: ['head_empty'], sub: null, steps };
  return { level: 'good', head: ['head_good'], sub: sub(facts), steps };
}

/** The first cause goes first: what is behind it follows from it. */
function ofLevel(steps, level) {
  const order = ['api', 'subscriber', 'broker', 'readings', 'sensors'];
  return order.map((id) => steps.find((step) => step.id === id)).find((step) => step.level === level);
}

function sub({ now, answeredAt, isGone, newestAt, rate }) {
  if (isGone) return answeredAt === null ? ['sub_never'] : ['sub_gone', { ms: now - answeredAt }];
  if (newestAt === null) return null;
  return rate > 0 ? ['sub_flow', { rate, ms: now - newestAt }] : ['sub_last', { ms: now - newestAt }];
}

/** Whether messages of the sensors come through. @param {Facts} facts */
function isWayOpen(facts) {
  return !facts.isGone && !facts.isLocked && ![broker(facts), subscriber(facts)].some(({ text: [key] }) => BROKEN.has(key));
}

/**
 * Until when a message of a sensor would have been seen: silence is judged up to then. With subscribers that is the
 * oldest of their last reports; null where it cannot be told. @param {Facts} facts @returns {number | null}
 */
export function heardUntil(facts) {
  if (facts.producers === null || !isWayOpen(facts)) return null;
  return facts.now - Math.max(0, ...current(facts.producers, facts.now).map(({ ms }) => ms));
}

function sensors(facts) {
  const { topics } = facts;
  const step = { id: 'sensors', level: 'wait' };
  if (!isWayOpen(facts)) return { ...step, text: ['unknownNow'] };
  if (topics.total === 0) return { ...step, text: ['sensorsNone'] };
  if (topics.silent > 0) return { ...step, level: 'warn', text: ['sensorsSilent', topics] };
  return { ...step, level: 'good', text: ['sensorsGood', topics] };
}

/** Those that count: heard from, or the last one that was. */
export function current(producers, now) {
  const seen = (producer) => now - (Date.parse(producer.visto_em ?? '') || 0);
  const recent = producers.filter((producer) => seen(producer) < GONE_MS);
  const newestFirst = (recent.length > 0 ? recent : producers).toSorted((one, other) => seen(one) - seen(other));
  return (recent.length > 0 ? newestFirst : newestFirst.slice(0, 1)).map((it) => ({ ...it, ms: seen(it) }));
}

/** Whether a producer has missed its reports, as far as the API was there to take them. */
function isUnheard(producer, { now, producersAt, answeringSince }) {
  // What the last answer told: a page that has slept does not blame the subscriber.
  const ms = producer.ms - (now - producersAt);
  const isSettled = answeringSince !== null && producersAt - answeringSince > UNHEARD_MS;
  return ms > (isSettled ? UNHEARD_MS : UNHEARD_AT_START_MS);
}

function broker(facts) {
  const { now, isGone, producers } = facts;
  const step = { id: 'broker', level: 'wait' };
  if (isGone || producers === null) return { ...step, text: ['unknownNow'] };
  const all = current(producers, now);
  if (all.length === 0) return { ...step, text: ['brokerNobody'] };
  const heard = all.filter((producer) => !isUnheard(producer, facts));
  if (heard.length === 0) return { ...step, text: ['unknownNow'] };
  const lost = heard.find((producer) => producer.estado?.conectado === false);
  if (lost) return { ...step, level: 'bad', text: ['brokerLost', { why: lost.estado.falha ?? '' }] };
  const isTold = heard.some((producer) => producer.estado?.conectado === true);
  return isTold ? { ...step, level: 'good', text: ['brokerGood'] } : { ...step, text: ['brokerUntold'] };
}

function subscriber(facts) {
  const { now, isGone, producers } = facts;
  const step = { id: 'subscriber', level: 'wait' };
  if (isGone || producers === null) return { ...step, text: ['unknownNow'] };
  const all = current(producers, now);
  if (all.length === 0) return { ...step, text: ['subscriberNone'] };
  const sum = (of) => all.reduce((total, producer) => total + of(producer), 0);
  const quarantined = sum((producer) => producer.quarentena);
  const part = Math.max(...all.map((producer) => (producer.estado?.spool_bytes ?? 0) / (producer.estado?.spool_bytes_max || 1)));
  const more = [];
  if (quarantined > 0) more.push(['moreQuarantine', { count: quarantined }]);
  if (part >= SPOOL_PART_MIN) more.push(['moreSpool', { part }]);
  const unheard = all.find((producer) => isUnheard(producer, facts));
  if (unheard) return { ...step, level: 'bad', text: ['subscriberUnheard', { ms: unheard.ms }], more };
  const missing = sum((producer) => Math.abs(producer.faltando));
  if (missing > 0) return { ...step, level: 'warn', text: ['subscriberMissing', { missing }], more };
  const told = { waiting: sum((producer) => producer.esperando), ms: Math.max(...all.map(({ ms }) => ms)) };
  if (told.waiting > WAITING_MAX || part >= SPOOL_PART_MIN) {
    return { ...step, level: 'warn', text: ['subscriberWaiting', told], more };
  }
  return { ...step, level: 'good', text: ['subscriberGood', told], more };
}

function api({ now, isGone, ready, newestAt }) {
  const step = { id: 'api', level: 'bad' };
  if (isGone) return { ...step, text: ['apiGone'] };
  if (ready === null) return { ...step, level: 'wait', text: ['unknownNow'] };
  if (ready.status === 507) return { ...step, text: ['apiFull'] };
  if (ready.status !== 200) return { ...step, text: ['apiIll', { why: ready.detail ?? `HTTP ${ready.status}` }] };
  const good = { ...step, level: 'good' };
  return newestAt === null ? { ...good, text: ['apiEmpty'] } : { ...good, text: ['apiGood', { ms: now - newestAt }] };
}

function readings({ isGone, ready }) {
  const step = { id: 'readings', level: 'wait' };
  if (isGone || !ready?.leituras) return { ...step, text: ['unknownNow'] };
  const { atraso, refazendo } = ready.leituras;
  if (refazendo !== undefined) return { ...step, text: ['readingsRebuilding', { count: refazendo }] };
  if (atraso > BEHIND_MAX) return { ...step, level: 'warn', text: ['readingsBehind', { count: atraso }] };
  return { ...step, level: 'good', text: ['readingsGood'] };
}
