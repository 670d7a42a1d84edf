/** Outages: how soon it tries again, and when it gives up. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError, type ErrorCode } from '../../../common/errors.ts';
import {
  HOUR_MS,
  retriesScene as scene,
  endOf,
  failing,
  failure,
  never,
} from '../../support/retries-scene.ts';

test('attempts to connect are at most ten seconds apart', async () => {
  const { clock, retries, delaysMs } = scene({ random: 0.999 });
  const run = retries.run(never, failing(...Array.from({ length: 9 }, () => 'connection-failed' as const)));
  await clock.runToEnd(run);
  assert.deepEqual(delaysMs.slice(-3), [9990, 9990, 9990]);
});

test('the first response after a silence ends every wait for the line, and no other wait', async () => {
  const { clock, retries } = scene({ random: 0.999 });
  const five = (code: ErrorCode): (() => Promise<string>) =>
    failing(...Array.from({ length: 5 }, () => code));
  const lanes = [1, 2, 3].map(async () => await retries.run(never, five('connection-failed')));
  const full = retries.run(never, five('no-space'));
  await clock.advance(8000);
  retries.noteResponse();
  await clock.advance(0);
  assert.deepEqual(await Promise.all(lanes), ['done', 'done', 'done']);
  assert.equal(clock.sleeperCount, 1);
  assert.equal(await clock.runToEnd(full), 'done');
});

test('while responses keep coming, a lane that fails nevertheless is not hurried', async () => {
  const { clock, retries, delaysMs } = scene({ random: 0.999 });
  const run = retries.run(never, failing('connection-failed', 'connection-failed', 'connection-failed'));
  for (let second = 0; second < 8; second++) {
    retries.noteResponse();
    await clock.advance(500);
  }
  assert.equal(await run, 'done');
  assert.equal(clock.monotonicMs(), 4000);
  assert.deepEqual(delaysMs.map(Math.round), [500, 999, 1998]);
});

test('the time limit counts from the first failure, not from the last block on a slow line', async () => {
  const { clock, retries } = scene({ retryForMs: 300_000 });
  retries.noteProgress();
  const broken = failing('connection-failed', 'connection-failed');
  const run = retries.run(never, async () => {
    await clock.sleep(540_000);
    return await broken();
  });
  assert.equal(await clock.runToEnd(run), 'done');
});

test('a process that was stopped for longer than the time limit tries once more', async () => {
  const one = scene({ retryForMs: HOUR_MS });
  let tries = 0;
  const suspended = one.retries.run(never, async () => {
    tries++;
    // The process is stopped for a day during the second attempt.
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

test('the last attempt is made when the time is over, whatever delay the receiver asks for', async () => {
  const one = scene({ retryForMs: 10_000 });
  const { error, tries } = await endOf(one, async () => await Promise.reject(failure('busy', 120)));
  assert.deepEqual([error.code, tries, one.clock.monotonicMs()], ['no-progress', 2, 10_000]);
});

test('until the receiver has answered for the first time the shorter limit applies', async () => {
  const limits = { retryForMs: 24 * HOUR_MS, firstContactForMs: 120_000 };
  const hint = 'is TCP 8443 open in the firewall, and is ddt-receive running?';
  const unreachable = new TransferError('connection-failed', 'cannot reach it: timed out', { hint });
  const closed = scene(limits);
  const { error } = await endOf(closed, async () => await Promise.reject(unreachable));
  assert.deepEqual([error.code, error.hint], ['no-progress', hint]);
  assert.match(error.message, /^gave up after 2 m( \d s)?: cannot reach it: timed out$/);
  // Any response counts, even a refusal; from then on the limit is that for outages, and starts over.
  for (const answered of [failing(), failing('busy'), failing('bad-answer')]) {
    const one = scene(limits);
    const { clock, retries } = one;
    const late = failing(unreachable, unreachable, unreachable);
    assert.equal(await clock.runToEnd(retries.run(never, late)), 'done');
    assert.equal(await clock.runToEnd(retries.run(never, answered)), 'done');
    const before = clock.monotonicMs();
    const later = await endOf(one, async () => await Promise.reject(unreachable));
    assert.match(later.error.message, /^gave up after 1 d.* without progress: /);
    assert.equal(later.error.hint, 'run the same command again to resume');
    assert(clock.monotonicMs() - before >= 24 * HOUR_MS);
  }
});

test('another service at the address ends the first contact at once, but not a later one', async () => {
  const other = new TransferError(
    'connection-failed',
    '192.0.2.1:22 does not speak TLS: it is not a ddt-receive',
    {
      hint: 'check the host and port',
      details: { isOtherService: true },
    },
  );
  const one = scene({ firstContactForMs: 120_000 });
  const { error, tries } = await endOf(one, async () => await Promise.reject(other));
  assert.deepEqual(
    [error.code, error.kind, error.message, error.hint, tries],
    ['pin-mismatch', 'refused', other.message, other.hint, 1],
  );
  await one.retries.run(never, failing());
  assert.equal(await one.clock.runToEnd(one.retries.run(never, failing(other, other))), 'done');
});

test('of all that find no room, one tries again, and the others when it has got through', async () => {
  const { clock, retries, delaysMs } = scene({ random: 0.999 });
  let [tries, roomMs] = [0, 20_000];
  const attempt = async (): Promise<string> => {
    tries++;
    if (clock.monotonicMs() < roomMs) throw failure('no-space');
    return await Promise.resolve('done');
  };
  const lanes = Array.from({ length: 8 }, async () => await retries.run(never, attempt));
  await clock.advance(20_000);
  // One after 0.5, 1.5, 3.5, 7.5 and 15.5 s.
  assert.deepEqual([tries, delaysMs.length], [8 + 5, 6]);
  roomMs = 0;
  assert.deepEqual(await clock.runToEnd(Promise.all(lanes)), Array(8).fill('done'));
  assert.equal(tries, 8 + 5 + 8);
});

test('if the one that tries for all is given up, another one tries', async () => {
  const { clock, retries } = scene({ random: 0.999 });
  const gaveUp = new AbortController();
  const first = retries.run(gaveUp.signal, failing(...Array.from({ length: 9 }, () => 'no-space' as const)));
  const second = retries.run(never, failing('no-space'));
  await clock.advance(10_000);
  gaveUp.abort(failure('interrupted'));
  await assert.rejects(first, { code: 'interrupted' });
  assert.equal(await second, 'done');
});
