// ioredis as people use it: commands, pipelines, transactions, subscriptions,
// and scripts through defineCommand. Ends with "ok" and the checks that passed.
const assert = require('node:assert');
const Redis = require('ioredis');
const port = Number(process.argv[2]);

async function main() {
  let checks = 0;
  const check = (got, want) => { assert.deepStrictEqual(got, want); checks++; };
  const r = new Redis({ host: '127.0.0.1', port });
  check(await r.set('io:a', '1'), 'OK');
  check(await r.get('io:a'), '1');
  check(await r.hset('io:h', { x: 1, y: 2 }), 2);
  check(await r.hgetall('io:h'), { x: '1', y: '2' });
  check((await r.info('server')).includes('redis_version'), true);

  r.defineCommand('addTo', { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  check(await r.addTo('io:n', 5), 5);
  check(await r.addTo('io:n', 5), 10);
  const many = await Promise.all(Array.from({ length: 1000 }, () => r.addTo('io:n', 1)));
  check(many.every((v, i) => v === 11 + i), true);

  const piped = await r.pipeline().set('io:b', '2').addTo('io:n', 1).get('io:b').exec();
  check(piped, [[null, 'OK'], [null, 1011], [null, '2']]);
  await r.script('FLUSH');
  const again = await r.pipeline().set('io:b', '3').addTo('io:n', 1).get('io:b').set('io:b', '4').exec();
  check(again, [[null, 'OK'], [null, 1012], [null, '3'], [null, 'OK']]);
  check(await r.multi().incr('io:m').addTo('io:n', 1).exec(), [[null, 1], [null, 1013]]);
  await assert.rejects(r.lpush('io:a', 'x'), /WRONGTYPE/);
  checks++;

  const watcher = r.duplicate();
  await watcher.watch('io:w');
  await r.set('io:w', 'changed');
  check(await watcher.multi().set('io:w', 'mine').exec(), null);
  check(await r.get('io:w'), 'changed');

  const sub = r.duplicate();
  const heard = new Promise(resolve => sub.on('message', (ch, msg) => resolve([ch, msg])));
  check(await sub.subscribe('io:ch'), 1);
  check(await r.publish('io:ch', 'hello'), 1);
  check(await heard, ['io:ch', 'hello']);
  check(await sub.unsubscribe('io:ch'), 0);
  check(await sub.get('io:a'), '1');

  const blocker = r.duplicate();
  const popped = blocker.blpop('io:q', 5);
  await r.rpush('io:q', 'job');
  check(await popped, ['io:q', 'job']);

  const found = [];
  for await (const keys of r.scanStream({ match: 'io:*' })) found.push(...keys);
  check(found.includes('io:a'), true);

  for (const c of [r, watcher, sub, blocker]) await c.quit();
  console.log('ok', checks);
}
main().catch(err => { console.error(err); process.exit(1); });
