import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_CODES, TransferError, isErrorCode, type ErrorCode } from '../../../common/errors.ts';
import {
  HOUR_MS,
  retriesScene as scene,
  endOf,
  failing,
  failure,
  never,
} from '../../support/retries-scene.ts';

test('success needs one attempt, and each attempt gets the failure of the previous one', async () => {
  const { clock, retries, delaysMs } = scene();
  assert.equal(await retries.run(never, failing()), 'done');
  const told: (string | undefined)[] = [];
  const attempt = failing('busy', 'too-slow');
  const run = retries.run(never, async (before) => {
    told.push(before?.code);
    return await attempt();
  });
  assert.equal(await clock.runToEnd(run), 'done');
  assert.deepEqual(told, [undefined, 'busy', 'too-slow']);
  assert.deepEqual(delaysMs, [250, 500]);
});

test('each failure in a row waits longer, up to a minute, and as long as announced', async () => {
  const { clock, retries, delaysMs } = scene({ random: 0.999 });
  const tries: number[] = [];
  const attempt = failing(...Array.from({ length: 9 }, () => 'draining' as const));
  const run = retries.run(never, async () => {
    tries.push(clock.monotonicMs());
    return await attempt();
  });
  await clock.runToEnd(run);
  const inSeconds = delaysMs.map((ms) => ms / 999);
  assert.deepEqual(inSeconds, [0.5, 1, 2, 4, 8, 16, 32, 60, 60]);
  let sum = 0;
  for (const [at, delayMs] of delaysMs.entries()) assert.equal(tries[at + 1], (sum += delayMs));
});

test('a delay that the receiver asks for is kept, up to two minutes', async () => {
  const { clock, retries, delaysMs } = scene({ random: 0 });
  const run = retries.run(never, failing(failure('busy', 7), failure('draining', 9999), failure('no-space')));
  assert.equal(await clock.runToEnd(run), 'done');
  assert.deepEqual(delaysMs, [7000, 120_000, 0]);
});

test('transient codes are retried, and all others end it at once', async () => {
  const sentAgain = new Set<ErrorCode>(['digest-mismatch', 'length-mismatch', 'decode-failed', 'io-error']);
  for (const code of Object.keys(ERROR_CODES).filter((name): name is ErrorCode => isErrorCode(name))) {
    const { clock, retries } = scene();
    const run = clock.runToEnd(retries.run(never, failing(code)));
    if (sentAgain.has(code) || ERROR_CODES[code].kind === 'transient') assert.equal(await run, 'done', code);
    else await assert.rejects(run, { code }, code);
  }
});

test('a block that arrives damaged is sent three times at most', async () => {
  const { error, tries } = await endOf(
    scene(),
    failing('digest-mismatch', 'decode-failed', 'length-mismatch'),
  );
  assert.deepEqual([error.code, error.kind, tries], ['length-mismatch', 'corrupt', 3]);
  const { clock, retries } = scene();
  const run = retries.run(never, failing('digest-mismatch', 'busy', 'digest-mismatch', 'busy', 'busy'));
  assert.equal(await clock.runToEnd(run), 'done', 'two failures are allowed');
});

test('damage is counted for each block, not over all lanes', async () => {
  const { clock, retries } = scene();
  const two = ['digest-mismatch', 'digest-mismatch'] as const;
  const runs = Promise.all([retries.run(never, failing(...two)), retries.run(never, failing(...two))]);
  assert.deepEqual(await clock.runToEnd(runs), ['done', 'done']);
});

test('the third error of the target without progress in between ends it', async () => {
  const { error, tries } = await endOf(scene(), failing('io-error', 'busy', 'io-error', 'io-error'));
  assert.deepEqual([error.code, error.kind, tries], ['io-error', 'device', 4]);
  assert.equal(error.message, 'the target fails again and again: cannot do it: io-error');
  assert.match(error.hint ?? '', /check the disk on the receiver/);
  assert(error.cause instanceof TransferError);
});

test('errors of the target are counted over all blocks, and from zero after progress', async () => {
  const { clock, retries } = scene();
  const two = ['io-error', 'io-error'] as const;
  assert.equal(await clock.runToEnd(retries.run(never, failing(...two))), 'done');
  retries.noteProgress();
  assert.equal(await clock.runToEnd(retries.run(never, failing(...two))), 'done');
  await assert.rejects(clock.runToEnd(retries.run(never, failing('io-error'))), { code: 'io-error' });
});

test('one failed write ends the epoch for all lanes, and counts as one error of the target', async () => {
  const { clock, retries } = scene();
  const lanes = Array.from({ length: 8 }, async () => await retries.run(never, failing('io-error')));
  await clock.runToEnd(Promise.all(lanes));
  const again = Array.from({ length: 8 }, async () => await retries.run(never, failing('io-error')));
  await clock.runToEnd(Promise.all(again));
  await assert.rejects(clock.runToEnd(retries.run(never, failing('io-error'))), { code: 'io-error' });
});

test('without progress it gives up after the time limit, with exit status 6', async () => {
  const one = scene({ retryForMs: HOUR_MS });
  await one.retries.run(never, failing());
  const { error } = await endOf(one, async () => await Promise.reject(failure('connection-failed')));
  assert.deepEqual([error.code, error.kind], ['no-progress', 'transient']);
  assert.match(
    error.message,
    /^gave up after 1 h( \d+ s| \d m)? without progress: cannot do it: connection-failed$/,
  );
  assert.equal(error.hint, 'run the same command again to resume');
  const waitedMs = one.clock.monotonicMs();
  assert(waitedMs >= HOUR_MS && waitedMs < HOUR_MS + 60_000, `${waitedMs}`);
});

test('progress, even of another lane, restarts the time limit', async () => {
  const one = scene({ retryForMs: HOUR_MS });
  const other = (async () => {
    for (let times = 0; times < 10; times++) {
      await one.clock.sleep(HOUR_MS - 60_000);
      one.retries.noteProgress();
    }
  })();
  const { error } = await endOf(one, async () => await Promise.reject(failure('busy')));
  await other;
  assert.equal(error.code, 'no-progress');
  assert(one.clock.monotonicMs() >= 10 * (HOUR_MS - 60_000) + HOUR_MS);
});

test('time without requests, as while a pipe is silent, does not count', async () => {
  const one = scene({ retryForMs: HOUR_MS });
  await one.clock.runToEnd(one.retries.run(never, failing()));
  await one.clock.advance(25 * HOUR_MS);
  assert.equal(await one.clock.runToEnd(one.retries.run(never, failing('busy', 'busy'))), 'done');
  // Another lane's success does not restart it while the first one keeps failing.
  const failingOn = one.retries.run(never, async () => await Promise.reject(failure('busy')));
  const other = (async () => {
    for (let times = 0; times < 10; times++) {
      await one.clock.sleep(10 * 60_000);
      await one.retries.run(never, failing());
    }
  })();
  const startMs = one.clock.monotonicMs();
  await assert.rejects(one.clock.runToEnd(failingOn), { code: 'no-progress' });
  assert(one.clock.monotonicMs() - startMs < HOUR_MS + 60_000);
  await one.clock.runToEnd(other);
});

test('a time limit of zero means one attempt', async () => {
  const { error, tries } = await endOf(scene({ retryForMs: 0 }), failing('busy'));
  assert.deepEqual([error.code, tries], ['no-progress', 1]);
});

test('an interruption ends waits and attempts, with its own reason', async () => {
  const interrupted = new TransferError('interrupted', 'interrupted');
  const { clock, retries } = scene();
  const waiting = new AbortController();
  const run = retries.run(waiting.signal, failing('busy'));
  await clock.advance(100);
  assert.equal(clock.sleeperCount, 1);
  waiting.abort(interrupted);
  await assert.rejects(run, (error) => error === interrupted);
  assert.equal(clock.sleeperCount, 0);

  const during = new AbortController();
  const tried = retries.run(during.signal, async () => {
    during.abort(interrupted);
    return await Promise.reject(failure('sealed'));
  });
  await assert.rejects(tried, (error) => error === interrupted);
});

test('a bug is not retried', async () => {
  const { retries, delaysMs } = scene();
  const bug = new RangeError('a bug');
  await assert.rejects(
    retries.run(never, async () => await Promise.reject(bug)),
    (error) => error === bug,
  );
  assert.deepEqual(delaysMs, []);
});
