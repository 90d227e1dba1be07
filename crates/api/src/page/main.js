// The live page: puts its parts together, and has each asked and shown in its time.

import * as api from './api.js';
import { Chart } from './chart.js';
import * as exports from './export.js';
import { Feed } from './feed.js';
import { Flow } from './flow.js';
import * as form from './form.js';
import { heardUntil, judge } from './health.js';
import { swap, t, translate } from './i18n.js';
import { List } from './list.js';
import { Past } from './past.js';
import * as tokens from './token.js';
import { TOPICS_MAX, Topics } from './topics.js';
import { show, write } from './way.js';

const SHOW_EVERY_MS = 1_000;
const HEALTH_EVERY_MS = 3_000;
const PRODUCERS_EVERY_MS = 6_000;
/** The stream tells what is new: the whole list is read again only to heal what it missed. */
const TOPICS_EVERY_MS = 60_000;
const TOPICS_SOON_MS = 2_000;
const HEAL_EVERY_MS = 10_000;
const TOPICS_PAGE = 1_000;
/** Topics that a search may bring beyond those that are kept anyway. */
const FOUND_MAX = 1_000;
const TYPING_MS = 400;

const at = (id) => document.getElementById(id);

const topics = new Topics();
const flow = new Flow();
const chart = new Chart();
const past = new Past(topics);
const list = new List(topics, choose);
const feed = new Feed(onRows, onMissed);

const facts = {
  answeredAt: null, answeringSince: null, isGone: false, ready: null, producers: null, producersAt: 0, newestAt: null,
  heardAt: 0, version: '', missedSince: 0,
};

function onRows(rows) {
  flow.add(rows.length);
  const now = api.now();
  for (const row of rows) {
    const taken = topics.take(row, now);
    if (taken) {
      facts.newestAt = Math.max(facts.newestAt ?? 0, Math.min(taken.at, now));
      chart.take(taken);
    }
  }
}

function onMissed(count) {
  flow.add(count);
  facts.missedSince ||= Date.now();
}

function choose(topic) {
  list.chosen = topic.name;
  chart.choose(topic);
  render();
  at('chart').scrollIntoView({ block: 'nearest' });
  at('chart-title').focus({ preventScroll: true });
}

async function askHealth() {
  try {
    const ready = await api.json('/readyz');
    facts.ready = { ...ready, status: 200 };
    facts.isGone = false;
  } catch (error) {
    facts.isGone = !(error instanceof api.Refused);
    if (!facts.isGone) facts.ready = { status: error.status, detail: error.message };
  }
  if (!facts.isGone) facts.answeredAt = api.now();
  facts.answeringSince = facts.isGone ? null : facts.answeringSince ?? facts.answeredAt;
}

async function askProducers() {
  [facts.producers, facts.producersAt] = [await api.json('/produtores'), api.now()];
}

async function askTopics() {
  facts.missedSince = 0;
  const atraso = facts.ready?.leituras?.atraso;
  let path = api.query('/topicos', { limite: TOPICS_PAGE });
  for (let page = 0; path && page * TOPICS_PAGE < TOPICS_MAX; page += 1) {
    const response = await api.request(path);
    load(await response.json());
    path = /<([^>]+)>; rel="next"/.exec(response.headers.get('link') ?? '')?.[1];
  }
  topics.isCut = Boolean(path);
  // What is stored shows there a little later: a list that was read too early is read again soon.
  return atraso === 0 ? TOPICS_EVERY_MS : TOPICS_SOON_MS;
}

/** What is kept is not all there is: the API knows the others, by name or filter. */
async function askFound() {
  const search = at('search').value.trim();
  if (!topics.isCut || search === '') return;
  const found = await api.json(api.query('/topicos', { topico: search, limite: TOPICS_PAGE }));
  load(found, TOPICS_MAX + FOUND_MAX);
  render();
}

function load(told, most) {
  const now = api.now();
  topics.load(told, now, most);
  for (const { ultimo_timestamp: time } of told) {
    facts.newestAt = Math.max(facts.newestAt ?? 0, Math.min(Date.parse(time), now));
  }
}

function render() {
  const now = api.now();
  const isFollowing = feed.state === 'live' || feed.state === 'polling';
  const isLocked = tokens.isLocked();
  const seen = { ...facts, now, isLocked, topics: { total: topics.byName.size, silent: 0 }, rate: isFollowing ? flow.rate() : 0 };
  facts.heardAt = Math.max(facts.heardAt, (isFollowing && heardUntil(seen)) || 0);
  seen.topics.silent = topics.silent(facts.heardAt).length;
  show(judge(seen));
  document.body.classList.toggle('stale', facts.isGone);
  at('give-token').hidden = !isLocked;
  at('forget').hidden = tokens.token() === null;
  write(at('feed-note'), isLocked ? '' : t(`feed_${feed.state}`));
  flow.show(isFollowing);
  const shown = list.show(at('search').value.trim(), at('order').value, { now, heardAt: facts.heardAt || now });
  if (isFollowing) shown.forEach((topic) => past.want(topic));
  chart.show(now, facts.heardAt || now);
}

function words() {
  translate();
  at('language').textContent = t('otherLanguage');
  at('language').lang = document.documentElement.lang === 'en' ? 'pt-BR' : 'en';
  at('token-wrong').dataset.malformed = t('tokenMalformed');
  write(at('version'), facts.version ? t('version', facts) : '');
  chart.translate();
  form.preview();
}

/**
 * Does it now and again and again, never twice at once. It may say itself when next; a failure shows elsewhere.
 * @param {number} ms @param {() => unknown} act
 */
function every(ms, act) {
  const due = { timer: 0, isRunning: false };
  const run = async () => {
    clearTimeout(due.timer);
    if (due.isRunning || document.hidden) return;
    due.isRunning = true;
    let pauseMs = ms;
    try {
      pauseMs = await act() ?? ms;
    } catch (error) {
      pauseMs = Math.max(ms, (error.retryAfterS ?? 0) * 1_000);
    }
    due.isRunning = false;
    due.timer = setTimeout(run, pauseMs);
  };
  run();
  return run;
}

function listen(runs) {
  at('language').addEventListener('click', () => { swap(); words(); render(); });
  at('forget').addEventListener('click', tokens.forget);
  at('give-token').addEventListener('click', () => { tokens.reopen(); runs.forEach((run) => run()); });
  at('order').addEventListener('change', render);
  let typing = 0;
  at('search').addEventListener('input', () => {
    render();
    clearTimeout(typing);
    typing = setTimeout(() => askFound().catch(() => {}), TYPING_MS);
  });
  // A page that nobody looks at holds none of the few connections that a browser has for one host.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return feed.stop();
    feed.start();
    runs.forEach((run) => run());
  });
}

async function configure() {
  const { metabase, versao } = await api.json('/assets/config.json');
  facts.version = versao;
  if (metabase) Object.assign(at('metabase'), { href: metabase, hidden: false });
  words();
}

words();
at('example').textContent = `mosquitto_pub -t casa/teste -m 42\ncurl -d valor=23.5 -d topico=casa/teste ${location.origin}/dados`;
form.watch();
exports.watch();
if (!document.hidden) feed.start();
const again = [
  every(HEALTH_EVERY_MS, askHealth), every(PRODUCERS_EVERY_MS, askProducers), every(TOPICS_EVERY_MS, askTopics),
];
every(SHOW_EVERY_MS, () => {
  if (facts.missedSince > 0 && Date.now() - facts.missedSince > HEAL_EVERY_MS) again[2]();
  render();
});
listen(again);
configure().catch(() => {});
