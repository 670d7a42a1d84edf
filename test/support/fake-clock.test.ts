import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from './fake-clock.ts';

test('the clock moves only when told, and wakes sleepers in order, those too that sleep again', async () => {
  const clock = new FakeClock(1000);
  const woken: string[] = [];
  const sleep = async (name: string, ms: number): Promise<void> => {
    await clock.sleep(ms);
    woken.push(`${name} ${clock.monotonicMs()}`);
  };
  const all = Promise.all([
    sleep('c', 30),
    sleep('a', 10).then(async () => await sleep('a again', 15)),
    sleep('b', 30),
    sleep('late', 41),
  ]);
  await clock.advance(9);
  assert.deepEqual([woken, clock.sleeperCount], [[], 4]);
  await clock.advance(31);
  assert.deepEqual(woken, ['a 10', 'a again 25', 'c 30', 'b 30']);
  assert.deepEqual([clock.monotonicMs(), clock.wallMs()], [40, 1040]);
  await clock.advance(1);
  await all;
  assert.deepEqual([woken.at(-1), clock.sleeperCount], ['late 41', 0]);
});

test('a sleeper that is aborted is gone, with the reason', async () => {
  const clock = new FakeClock();
  const controller = new AbortController();
  const sleeping = clock.sleep(10, controller.signal);
  controller.abort(new Error('enough'));
  await assert.rejects(sleeping, { message: 'enough' });
  await assert.rejects(clock.sleep(10, controller.signal), { message: 'enough' });
  assert.equal(clock.sleeperCount, 0);
});

test('work is run to its end, as long as it takes, and no longer', async () => {
  const clock = new FakeClock();
  void clock.sleep(99_999);
  const work = async (): Promise<string> => {
    for (let day = 0; day < 3; day++) await clock.sleep(1000);
    return 'done';
  };
  assert.equal(await clock.runToEnd(work()), 'done');
  assert.deepEqual([clock.monotonicMs(), clock.sleeperCount], [3000, 1]);
  await assert.rejects(clock.runToEnd(Promise.reject(new Error('failed'))), { message: 'failed' });
});
