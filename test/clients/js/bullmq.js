// BullMQ: a queue with many jobs, delayed ones, retried ones and a flow. Its
// scripts are several kilobytes each and run for every step of every job.
const assert = require('node:assert');
const { Queue, Worker, QueueEvents, FlowProducer } = require('bullmq');
const port = Number(process.argv[2]);
const jobs = Number(process.argv[3] || 10000);
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };

async function main() {
  const queue = new Queue('work', { connection });
  const events = new QueueEvents('work', { connection });
  await events.waitUntilReady();
  const done = new Set();
  let tried = 0;
  let finish;
  const all = new Promise(resolve => { finish = resolve; });
  const worker = new Worker('work', async job => {
    if (job.name === 'flaky' && job.attemptsMade === 0) { tried++; throw new Error('once more'); }
    if (job.name === 'child') return job.data.n * 2;
    if (job.name === 'parent') return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
    return job.data.n;
  }, { connection, concurrency: 50 });
  worker.on('error', err => { console.error('worker', err); process.exit(1); });
  let parent;
  worker.on('completed', (job, value) => {
    assert(!done.has(job.id), `job ${job.id} completed twice`);
    done.add(job.id);
    if (job.name === 'parent') parent = value;
    if (done.size === jobs + 10 + 10 + 4) finish();
  });
  for (let i = 0; i < jobs; i += 500) {
    await queue.addBulk(Array.from({ length: Math.min(500, jobs - i) }, (_, k) => ({ name: 'plain', data: { n: i + k } })));
  }
  for (let i = 0; i < 10; i++) await queue.add('delayed', { n: i }, { delay: 300 });
  for (let i = 0; i < 10; i++) await queue.add('flaky', { n: i }, { attempts: 3, backoff: { type: 'fixed', delay: 50 } });
  const flow = new FlowProducer({ connection });
  await flow.add({ name: 'parent', queueName: 'work', data: {}, children: [1, 2, 3].map(n => ({ name: 'child', queueName: 'work', data: { n } })) });
  await all;
  assert.strictEqual(tried, 10);
  assert.strictEqual(parent, 12);
  const counts = await queue.getJobCounts('completed', 'failed', 'waiting', 'active', 'delayed');
  assert.deepStrictEqual(counts, { completed: jobs + 24, failed: 0, waiting: 0, active: 0, delayed: 0 });
  await worker.close();
  await events.close();
  await flow.close();
  await queue.obliterate({ force: true });
  await queue.close();
  console.log('ok', jobs + 24);
}
main().catch(err => { console.error(err); process.exit(1); });
