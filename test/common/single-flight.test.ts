import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SingleFlight } from '../../common/single-flight.ts';

test('concurrent callers share one run, and its failure; the next call starts another run', async () => {
  const runs: PromiseWithResolvers<number>[] = [];
  const flight = new SingleFlight(async () => {
    const run = Promise.withResolvers<number>();
    runs.push(run);
    return await run.promise;
  });
  const both = [flight.run(), flight.run()];
  runs[0]?.resolve(1);
  assert.deepEqual(await Promise.all(both), [1, 1]);
  const failing = [flight.run(), flight.run()];
  runs[1]?.reject(new Error('failed'));
  for (const each of failing) await assert.rejects(each, { message: 'failed' });
  const again = flight.run();
  runs[2]?.resolve(3);
  assert.deepEqual([await again, runs.length], [3, 3]);
});

test('work that fails at once does not block the next run', async () => {
  let count = 0;
  const flight = new SingleFlight<number>(async () => {
    count++;
    if (count === 1) throw new Error('failed');
    return await Promise.resolve(count);
  });
  await assert.rejects(flight.run(), { message: 'failed' });
  assert.equal(await flight.run(), 2);
});
