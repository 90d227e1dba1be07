// The page's pure modules, asked in the browser that runs them: gives a list of what is not as it should be.

const load = (name) => import(`/assets/${name}.js`);
const [{ fields, number }, { Parser }, rhythm, points, { isMatch, Topics }, { judge, current, heardUntil }, { choose, f, inUnits }, { fileName }, { interpret }] =
  await Promise.all(['fields', 'sse', 'rhythm', 'points', 'topics', 'health', 'i18n', 'export', 'interpret'].map(load));

const wrong = [];
const same = (what, found, expected) => {
  const [one, other] = [JSON.stringify(found), JSON.stringify(expected)];
  if (one !== other) wrong.push(`${what}: ${one}, not ${other}`);
};

// A payload's fields are those that the API lays out.
const read = (text, format) => [...fields(text, format)].map(([campo, { numero, texto }]) => [campo, numero ?? texto]);
same('number', read('23.5'), [['valor', 23.5]]);
same('padded', read(' 1e3\n\0'), [['valor', 1000]]);
same('text', read('ligada'), [['valor', 'ligada']]);
same('nothing', [read(''), read('null'), read(null), read('AAEC', 'base64')], [[], [], [], []]);
same('object', read('{"a":{"b":1,"c":true},"d":[1,"2"],"e":null,"f":"x"}'),
  [['a.b', 1], ['a.c', 1], ['d.0', 1], ['d.1', 2], ['f', 'x']]);
same('broken', read('{"a":'), [['valor', '{"a":']]);
same('many', fields(JSON.stringify(Array.from({ length: 99 }, (_, i) => i))).size, 16);
same('wide', fields(JSON.stringify(Object.fromEntries(Array.from({ length: 99 }, (_, i) => [`k${i}`, i])))).size, 64);
same('deep', read('{"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":1}}}}}}}}}'), [['a.b.c.d.e.f.g.h', '{"i":1}']]);
same('prototype', read('{"__proto__":1,"constructor":2}'), [['__proto__', 1], ['constructor', 2]]);
for (const text of ['NaN', 'inf', 'Infinity', '23,5', '0x17', '1e999', '', '.', '1_0', '1n']) same(text, number(text), null);

// Events, however they are cut into pieces.
const stream = '\ufeffretry: 2000\nid: 7\n\n: quiet\r\n\r\nid: 8\r\ndata: {"a":1}\r\n\r\nevent: perdidos\rdata: x\rdata:y\r\r';
const parse = (pieces) => {
  const parser = new Parser();
  const messages = pieces.flatMap((piece) => parser.push(piece));
  // A \r may be half of a \r\n: the next piece tells.
  return [[...messages, ...parser.push(':\n')], parser.lastId, parser.retryMs];
};
const whole = [[{ event: 'message', data: '{"a":1}', id: '8' }, { event: 'perdidos', data: 'x\ny', id: '8' }], '8', 2000];
same('one piece', parse([stream]), whole);
same('single characters', parse([...stream]), whole);
for (let cut = 1; cut < stream.length; cut += 1) same(`cut at ${cut}`, parse([stream.slice(0, cut), stream.slice(cut)]), whole);
same('no end, no message', parse(['data: 1\n'])[0], []);

// Silence is three times the usual interval, and half a minute at least.
const beats = (every, count) => {
  let known = null;
  for (let beat = 0; beat < count; beat += 1) known = rhythm.beat(known, beat * every);
  return known;
};
same('too few', rhythm.isSilent(beats(1_000, 3), 1e9), false);
same('seconds', [32_000, 34_000].map((now) => rhythm.isSilent(beats(1_000, 4), now)), [false, true]);
same('minutes', [359_000, 361_000].map((now) => rhythm.isSilent(beats(60_000, 4), now)), [false, true]);
same('usual', rhythm.usualMs(beats(2_000, 10_000)), rhythm.usualMs(beats(2_000, 50)));
const spoken = [40, 20, 10, 0].map((minute) => ({ timestamp: new Date(minute * 60_000).toISOString() }));
same('from messages', rhythm.ofRows(spoken), { first: 0, last: 2_400_000, n: 4 });
same('from none', rhythm.ofRows([{ timestamp: null }]), null);
same('none', [rhythm.usualMs(null), rhythm.isSilent(null, 1)], [null, false]);

// The newest of a topic is what arrived last; a time ahead of the clock freezes neither it nor the rhythm.
const clock = Date.parse('2026-11-23T03:21:45.678Z');
const newest = (times) => {
  const topics = new Topics();
  times.forEach((ms, index) => {
    topics.take({ id: index + 1, topico: 'a', valor: String(index + 1), timestamp: new Date(clock + ms).toISOString() }, clock);
  });
  const { id, text, rhythm: { last } } = topics.byName.get('a');
  return [id, text, last - clock];
};
same('in order', newest([-1_000, 0]), [2, '2', 0]);
same('late', newest([0, -1_000]), [2, '2', 0]);
same('ahead', newest([0, 300_001]), [1, '1', 0]);
same('no longer ahead', newest([1e12, 300_000]), [2, '2', 0]);
same('all ahead', newest([1e12, 1e11]), [2, '2', 0]);

// Charts.
const made = [];
for (const [moment, value] of [[0, 1], [59_999, 3], [60_000, 5], [30_000, 2]]) points.fold(made, 60_000, moment, value);
same('fold', made, [{ at: 0, n: 3, mean: 2, min: 1, max: 3 }, { at: 60_000, n: 1, mean: 5, min: 5, max: 5 }]);
const many = [];
for (let index = 0; index < 1_001; index += 1) points.fold(many, 0, index * 10, index);
points.thin(many, 400, 1e9);
const gaps = many.slice(1).map((point, index) => point.at - many[index].at);
same('thin', [many.length, points.total(many).n, Math.max(...gaps) <= 60], [400, 1_001, true]);
points.thin(many, 400, 5_000);
same('window', many[0].at >= 5_000, true);
same('columns', points.columns(made, 30_000), [[0, 30, 60], [3, null, 5], [1, null, 5], [2, null, 5]]);
same('line', [points.line(made, 100, 20), points.line([], 1, 1)], ['M0.0 20.0L100.0 0.0', '']);
same('huge', points.line([{ at: 0, mean: -1.7e308 }, { at: 1, mean: 1.7e308 }], 10, 10), 'M0.0 10.0L10.0 0.0');

const rows = [{ valor: '{"t":3}', timestamp: '1970-01-01T00:00:02Z' }, { valor: 'x', timestamp: '1970-01-01T00:00:01.5Z' },
  { valor: '{"t":1}', timestamp: '1970-01-01T00:00:01Z' }];
same('each reading', points.ofRows(rows, 't').map(({ at, n, mean }) => [at, n, mean]), [[1_000, 1, 1], [2_000, 1, 3]]);
const midnight = new Date(2026, 10, 30).getTime();
const labels = (hours, stepHours) => f.ticks(hours.map((hour) => midnight + hour * 3_600_000), stepHours * 3_600);
same('axis of one day', labels([1, 2, 3], 1).some((label) => label.includes('30')), false);
same('axis over midnight', labels([-24, -12, 0, 12], 12).map((label) => label.includes('\n')), [true, false, true, false]);
same('axis of days', labels([0, 24, 48], 24).map((label) => label.slice(0, 2)), ['30', '01', '02']);

// Typed values.
for (const [text, language, valor, kind] of [
  ['23,5', 'pt-BR', '23.5', 'number'], ['-1.234,50', 'pt-BR', '-1234.50', 'number'], ['1.234', 'pt-BR', '1.234', 'number'],
  ['23.5', 'pt-BR', '23.5', 'number'], ['1,234.5', 'en', '1234.5', 'number'], ['23,5', 'en', '23,5', 'text'],
  ['12,34,5', 'pt-BR', '12,34,5', 'text'], ['{"a":1,5}', 'pt-BR', '{"a":1,5}', 'text'], ['{"a":1.5}', 'pt-BR', '{"a":1.5}', 'json'],
  ['aberto', 'pt-BR', 'aberto', 'text'],
]) same(`${text} in ${language}`, interpret(text, language), { valor, kind });

// Searches.
for (const [search, name, is] of [
  ['', 'a', true], ['SALA', 'casa/sala', true], ['casa/+', 'casa/sala', true], ['casa/+', 'casa/sala/luz', false],
  ['casa/#', 'casa', true], ['#', '$SYS/a', false], ['+', 'a/b', false], ['+/b', 'a/b', true], ['x', 'casa', false],
]) same(`${search} finds ${name}`, isMatch(search, name), is);

// What is told of the whole way.
const now = Date.parse('2026-11-23T12:00:00Z');
const producer = (more = {}) => ({
  visto_em: '2026-11-23T11:59:50Z', esperando: 0, quarentena: 0, faltando: 0, estado: { conectado: true }, ...more,
});
const facts = (more = {}) => ({
  now, answeredAt: now, answeringSince: now - 3_600_000, producersAt: now, isGone: false, isLocked: false, ready: { status: 200, leituras: { atraso: 0 } },
  producers: [producer()], newestAt: now, topics: { total: 3, silent: 0 }, rate: 1, ...more,
});
const head = (more) => judge(facts(more)).head[0];
for (const [more, expected] of [
  [{}, 'head_good'],
  [{ topics: { total: 0, silent: 0 }, newestAt: null, producers: [] }, 'head_empty'],
  [{ isGone: true, isLocked: true }, 'head_apiGone'],
  [{ isLocked: true, producers: null }, 'head_locked'],
  [{ ready: { status: 507 } }, 'head_apiFull'],
  [{ ready: { status: 503, detail: 'x' } }, 'head_apiIll'],
  [{ ready: null }, 'looking'],
  [{ producers: [producer({ estado: { conectado: false, falha: 'refused' } })] }, 'head_brokerLost'],
  [{ producers: [producer({ visto_em: '2026-11-23T11:59:37Z' })] }, 'head_subscriberUnheard'],
  [{ producers: [producer({ visto_em: '2026-11-23T11:59:39Z' })] }, 'head_good'],
  // A start of the API, and a page that has slept for an hour.
  [{ producers: [producer({ visto_em: '2026-11-23T11:59:00Z' })], answeringSince: now - 5_000 }, 'head_good'],
  [{ producers: [producer({ visto_em: '2026-11-23T11:58:00Z' })], answeringSince: now - 5_000 }, 'head_subscriberUnheard'],
  [{ producers: [producer({ visto_em: '2026-11-23T11:00:00Z' })], producersAt: now - 3_595_000 }, 'head_good'],
  [{ producers: [producer({ esperando: 5_000 })] }, 'head_subscriberWaiting'],
  [{ producers: [producer({ faltando: -2 })] }, 'head_subscriberMissing'],
  [{ producers: [producer({ estado: undefined })] }, 'head_good'],
  [{ ready: { status: 200, leituras: { atraso: 50_000 } } }, 'head_readingsBehind'],
  [{ topics: { total: 3, silent: 1 } }, 'head_sensorsSilent'],
]) same(JSON.stringify(more), head(more), expected);
const broken = { topics: { total: 3, silent: 2 } };
for (const more of [{ isGone: true }, { producers: [producer({ visto_em: '2026-11-23T11:50:00Z' })] },
  { producers: [producer({ estado: { conectado: false } })] }]) {
  const step = judge(facts({ ...broken, ...more })).steps[0];
  same(`sensors with ${JSON.stringify(more)}`, [step.level, step.text[0]], ['wait', 'unknownNow']);
}
same('heard until the last report', [
  heardUntil(facts()) - now, heardUntil(facts({ producers: [] })) - now, heardUntil(facts({ isGone: true })),
  heardUntil(facts({ producers: [producer({ estado: { conectado: false } })] })), heardUntil(facts({ producers: null })),
], [-10_000, 0, null, null, null]);
const old = producer({ visto_em: '2026-11-01T00:00:00Z' });
same('a producer that is gone for good', [current([old, producer()], now).length, current([old], now).length], [1, 1]);

same('languages', [choose(['de', 'en-GB']), choose(['pt-PT', 'en']), choose(['de'])], ['en', 'pt', 'pt']);
same('times', [0, 99_000, 5_000_000, 90_000_000, 1e9].map((ms) => inUnits(ms).join(' ')), ['0 s', '99 s', '83 min', '25 h', '12 d']);
same('file names', [fileName('attachment; filename="a_1h.csv"'), fileName('filename="../x"'), fileName(null)], ['a_1h.csv', 'dados.csv', 'dados.csv']);

return wrong;
