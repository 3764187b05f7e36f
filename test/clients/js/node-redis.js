// node-redis as people use it, in RESP2 and RESP3, with defineScript.
const assert = require('node:assert');
const { createClient, defineScript } = require('redis');
const port = Number(process.argv[2]);

const addTo = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  parseCommand(parser, key, by) { parser.pushKey(key); parser.push(String(by)); },
  transformReply: undefined,
});

async function run(RESP) {
  let checks = 0;
  const check = (got, want) => { assert.deepEqual(got, want); checks++; };
  const c = createClient({ url: `redis://127.0.0.1:${port}`, RESP, scripts: { addTo } });
  c.on('error', err => { console.error(err); process.exit(1); });
  await c.connect();
  const p = `nr${RESP}:`;
  check(await c.set(p + 'a', 'x'), 'OK');
  check(await c.get(p + 'a'), 'x');
  await c.hSet(p + 'h', { f: 'v', g: 'w' });
  check({ ...(await c.hGetAll(p + 'h')) }, { f: 'v', g: 'w' });
  check(await c.addTo(p + 'n', 3), 3);
  await c.scriptFlush();
  check(await c.addTo(p + 'n', 3), 6);
  const sums = await Promise.all(Array.from({ length: 500 }, () => c.addTo(p + 'n', 1)));
  check(sums.every((v, i) => v === 7 + i), true);
  check(await c.multi().set(p + 'b', '1').get(p + 'b').addTo(p + 'n', 1).exec(), ['OK', '1', 507]);
  check(await c.zAdd(p + 'z', [{ score: 1.5, value: 'm' }]), 1);
  check(await c.zScore(p + 'z', 'm'), 1.5);

  const sub = c.duplicate();
  sub.on('error', () => {});
  await sub.connect();
  const heard = new Promise(resolve => sub.subscribe(p + 'ch', resolve));
  await new Promise(r => setTimeout(r, 50));
  check(await c.publish(p + 'ch', 'hi'), 1);
  check(await heard, 'hi');
  await sub.unsubscribe(p + 'ch');

  const blocking = c.duplicate();
  blocking.on('error', () => {});
  await blocking.connect();
  const popped = blocking.blPop(p + 'q', 5);
  await c.rPush(p + 'q', 'job');
  check((await popped).element, 'job');
  for (const x of [c, sub, blocking]) await x.close();
  return checks;
}

async function main() {
  console.log('ok', (await run(2)) + (await run(3)));
}
main().catch(err => { console.error(err); process.exit(1); });
