import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { SharedRun } from '../../../receiver/durability/single-flight.ts';

test('who asks during a run gets the next one, and all who ask then share it', async () => {
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let begun = 0;
  const shared = new SharedRun(async () => await gates[begun++]?.promise);
  const first = shared.run();
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(begun, 1);
  let ended = 0;
  const [second, third] = [shared.run(), shared.run()].map(async (run) => {
    await run;
    ended++;
  });
  gates[0]?.resolve();
  await first;
  await turn();
  assert.deepEqual([begun, ended], [2, 0]);
  gates[1]?.resolve();
  await Promise.all([second, third]);
  assert.equal(begun, 2);
});

test('a run that fails tells all who share it, and the next one begins all the same', async () => {
  let runs = 0;
  const shared = new SharedRun(async () => {
    runs++;
    if (runs === 1) throw new Error('once');
    return Promise.resolve();
  });
  const results = await Promise.allSettled([shared.run(), shared.run()]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await shared.run();
  assert.equal(runs, 2);
});
