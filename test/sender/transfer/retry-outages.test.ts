/** Outages: how soon it tries again, and how long it goes on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ErrorCode } from '../../../common/errors.ts';
import {
  HOUR_MS,
  retriesScene as scene,
  endOf,
  failing,
  failure,
  never,
} from '../../support/retries-scene.ts';

test('an attempt to connect is made every ten seconds at least', async () => {
  const { clock, retries, delaysMs } = scene({ random: 0.999 });
  const run = retries.run(never, failing(...Array.from({ length: 9 }, () => 'connection-failed' as const)));
  await clock.runToEnd(run);
  assert.deepEqual(delaysMs.slice(-3), [9990, 9990, 9990]);
});

test('the first answer after a silence ends all waiting for the line, and no other waiting', async () => {
  const { clock, retries } = scene({ random: 0.999 });
  const five = (code: ErrorCode): (() => Promise<string>) =>
    failing(...Array.from({ length: 5 }, () => code));
  const lanes = [1, 2, 3].map(async () => await retries.run(never, five('connection-failed')));
  const full = retries.run(never, five('no-space'));
  await clock.advance(8000);
  retries.noteAnswer();
  await clock.advance(0);
  assert.deepEqual(await Promise.all(lanes), ['done', 'done', 'done']);
  assert.equal(clock.sleeperCount, 1);
  assert.equal(await clock.runToEnd(full), 'done');
});

test('while answers come a lane that fails all the same is not hurried', async () => {
  const { clock, retries, delaysMs } = scene({ random: 0.999 });
  const run = retries.run(never, failing('connection-failed', 'connection-failed', 'connection-failed'));
  for (let second = 0; second < 8; second++) {
    retries.noteAnswer();
    await clock.advance(500);
  }
  assert.equal(await run, 'done');
  assert.equal(clock.monotonicMs(), 4000);
  assert.deepEqual(delaysMs.map(Math.round), [500, 999, 1998]);
});

test('patience begins with the first failure, not with the last block that a slow line brought', async () => {
  const { clock, retries } = scene({ retryForMs: 300_000 });
  retries.noteProgress();
  const broken = failing('connection-failed', 'connection-failed');
  const run = retries.run(never, async () => {
    await clock.sleep(540_000);
    return await broken();
  });
  assert.equal(await clock.runToEnd(run), 'done');
});

test('whoever was suspended for longer than the patience tries once more before it gives up', async () => {
  const one = scene({ retryForMs: HOUR_MS });
  let tries = 0;
  const suspended = one.retries.run(never, async () => {
    tries++;
    // The second attempt is under way when the process is stopped for a day.
    if (tries === 2) await one.clock.sleep(24 * HOUR_MS);
    return tries > 2 ? 'done' : await Promise.reject(failure('connection-failed'));
  });
  assert.equal(await one.clock.runToEnd(suspended), 'done');
  const { error, tries: all } = await endOf(scene({ retryForMs: HOUR_MS }), async () => {
    await Promise.resolve();
    throw failure('connection-failed');
  });
  assert.equal(error.code, 'no-progress');
  assert(all > 100);
});

test('the last attempt is made when the patience ends, whatever the receiver asks for', async () => {
  const one = scene({ retryForMs: 10_000 });
  const { error, tries } = await endOf(one, async () => await Promise.reject(failure('busy', 120)));
  assert.deepEqual([error.code, tries, one.clock.monotonicMs()], ['no-progress', 2, 10_000]);
});
