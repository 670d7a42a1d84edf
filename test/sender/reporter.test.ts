import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { TransferError } from '../../common/errors.ts';
import type { BlockCounters, DoneFacts } from '../../sender/progress.ts';
import type { Draw } from '../../sender/live-area.ts';
import { BLOCKS_STYLE } from '../../sender/live-line.ts';
import { Reporter, type ProgressFormat } from '../../sender/reporter.ts';
import { FakeClock } from '../support/fake-clock.ts';

const MIB = 1024 * 1024;
const TOKEN = `ddt1.${'A'.repeat(40)}.${'b'.repeat(40)}`;

interface Scene extends Disposable {
  readonly reporter: Reporter;
  readonly clock: FakeClock;
  readonly counters: BlockCounters;
  readonly line: { connections: number };
  readonly out: string[];
  readonly err: string[];
  /** Of the live area, at 100 columns: each state that was drawn. */
  readonly drawn: string[];
  /** Lets time pass, for the clock and for the reporter's timer alike. */
  pass(seconds: number): Promise<void>;
  start(): void;
}

function scene(context: TestContext, format: ProgressFormat, isTerminal = false): Scene {
  context.mock.timers.enable({ apis: ['setInterval'] });
  const clock = new FakeClock();
  const counters = { total: 100, read: 0, durable: 0, verified: 0, sent: 0, skipped: 0, zero: 0, resent: 0 };
  const [out, err, drawn]: [string[], string[], string[]] = [[], [], []];
  const area = {
    draw: (draw: Draw) => drawn.push(draw(100).join('\n')),
    print: (text: string) => err.push(text),
    end: () => drawn.push('end'),
  };
  const line = { connections: 4 };
  const reporter = new Reporter({
    format,
    isTerminal,
    clock,
    writeOut: (text) => out.push(text),
    writeErr: (text) => err.push(text),
    ...(format === 'tty' ? { live: { area, style: BLOCKS_STYLE } } : {}),
  });
  return {
    reporter,
    clock,
    counters,
    line,
    out,
    err,
    drawn,
    async pass(seconds) {
      for (let at = 0; at < seconds; at++) {
        await clock.advance(1000);
        context.mock.timers.tick(1000);
      }
    },
    start: () =>
      reporter.start({
        counters,
        bytesTotal: 400 * MIB,
        blockSizeBytes: 4 * MIB,
        bytesWire: () => counters.durable * 1000,
        connections: () => line.connections,
      }),
    [Symbol.dispose]: () => reporter.stop(),
  };
}

function factsOf(counters: BlockCounters): DoneFacts {
  const root = `sha256:${'0'.repeat(64)}`;
  return { counters, bytesTotal: 400 * MIB, bytesWire: 5, seconds: 9, root, verified: 'none' };
}

function eventsOf(out: readonly string[]): Record<string, unknown>[] {
  for (const line of out) assert.match(line, /^\{.*\}\n$/, 'one object, one line');
  return out.map((line) => ({ ...(JSON.parse(line) as object) }));
}

test('as JSON: progress at once and every second, and done as the last line', async (context) => {
  using all = scene(context, 'json');
  all.start();
  assert.equal(all.out.length, 1);
  for (let second = 1; second <= 5; second++) {
    all.counters.durable += 2;
    await all.pass(1);
  }
  all.counters.durable = 100;
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  await all.pass(5);
  const events = eventsOf(all.out);
  assert.deepEqual(
    events.map(({ event, blocksDurable }) => [event, blocksDurable]),
    [...[0, 2, 4, 6, 8, 10, 100].map((durable) => ['progress', durable]), ['done', undefined]],
  );
  assert.equal(events[3]?.['bytesPerSecond'], 8 * MIB);
  assert.equal(events[3]?.['secondsLeft'], 47);
  assert.equal(events[3]?.['connections'], 4);
  assert.equal(events[0]?.['secondsLeft'], null);
  assert.deepEqual(all.err, []);
});

test('as JSON: a failure is the last line, with its code, and never a secret', async (context) => {
  using all = scene(context, 'json');
  all.start();
  all.reporter.failed(
    new TransferError('usage', `cannot use ${TOKEN}: no`, {
      hint: `try ddt-send x 'https://y/#token=${TOKEN}'`,
    }),
  );
  await all.pass(3);
  assert.deepEqual(eventsOf(all.out).slice(1), [
    {
      event: 'failed',
      code: 'usage',
      message: 'cannot use ddt1.…: no',
      hint: "try ddt-send x 'https://y/#token=ddt1.…'",
    },
  ]);
});

test('a failure before anything began is told as JSON all the same', (context) => {
  using all = scene(context, 'json');
  all.reporter.failed({ code: 'bug', message: 'RangeError: x' });
  assert.deepEqual(eventsOf(all.out), [{ event: 'failed', code: 'bug', message: 'RangeError: x' }]);
});

test('as lines: one a minute in a log, one every five seconds where somebody looks', async (context) => {
  for (const [isTerminal, everySeconds] of [
    [false, 60],
    [true, 5],
  ] as const) {
    await context.test(`every ${everySeconds} s`, async (inner) => {
      using all = scene(inner, 'plain', isTerminal);
      all.start();
      const seconds: number[] = [];
      for (let second = 1; second <= 180; second++) {
        const before = all.err.length;
        all.counters.durable = Math.floor(second / 2);
        await all.pass(1);
        if (all.err.length > before) seconds.push(second);
      }
      assert.deepEqual(
        seconds.slice(0, 3),
        [1, 2, 3].map((times) => times * everySeconds),
      );
      assert.match(all.err.at(-1) ?? '', /^ 90 % {2}360 MiB durable {2}.* {2}4 connections {2}ETA .*\n$/);
      assert.deepEqual(all.out, [], 'results only go to standard output');
    });
  }
});

test('as lines: nothing is said twice while nothing changes', async (context) => {
  using all = scene(context, 'plain');
  all.start();
  await all.pass(600);
  assert.equal(all.err.length, 1);
  all.counters.durable = 1;
  await all.pass(60);
  assert.equal(all.err.length, 2);
});

test('as lines: the summary goes to standard output, a failure is left to main', (context) => {
  using all = scene(context, 'plain');
  all.reporter.fact('source   /dev/sdc: a disk');
  assert.deepEqual(all.err, ['source   /dev/sdc: a disk\n']);
  all.reporter.failed({ code: 'busy', message: 'busy' });
  assert.deepEqual(all.out, []);
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.match(all.out.join(''), /^done .* on \/dev\/vdd: .*\nblocks .*\nline .*\nroot .*\n$/);
});

test('without progress there are no facts, no lines and no summary, but warnings', async (context) => {
  using all = scene(context, 'none');
  all.reporter.fact('source   /dev/sdc: a disk');
  all.start();
  await all.pass(120);
  all.reporter.noteRetry(new TransferError('busy', 'the receiver is busy'));
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.deepEqual(all.out, []);
  assert.deepEqual(all.err, ['ddt-send: warning: the receiver is busy; trying again\n']);
});

test('an outage is told when it begins, then once a minute with its length', async (context) => {
  using all = scene(context, 'none');
  all.start();
  all.line.connections = 0;
  for (let second = 0; second < 150; second++) {
    all.reporter.noteRetry(new TransferError('connection-failed', `cannot reach ${TOKEN}`));
    await all.pass(1);
  }
  assert.deepEqual(all.err, [
    'ddt-send: warning: cannot reach ddt1.…; trying again\n',
    'ddt-send: warning: cannot reach ddt1.…; trying again (for 1 m now)\n',
    'ddt-send: warning: cannot reach ddt1.…; trying again (for 2 m now)\n',
  ]);
});

test('the next outage, after blocks became durable again, counts from its own beginning', async (context) => {
  using all = scene(context, 'none');
  all.start();
  all.reporter.noteRetry(new TransferError('connection-failed', 'first'));
  await all.pass(30);
  all.counters.durable = 50;
  await all.pass(100);
  all.reporter.noteRetry(new TransferError('connection-failed', 'second'));
  assert.equal(all.err.at(-1), 'ddt-send: warning: second; trying again\n');
});

test('on a terminal: one line, drawn anew every second, and the summary when it has ended', async (context) => {
  using all = scene(context, 'tty');
  all.reporter.fact('source   /dev/sdc: a disk');
  all.start();
  for (let second = 1; second <= 40; second++) {
    all.counters.durable = second;
    all.counters.verified = second - 1;
    await all.pass(1);
  }
  assert.equal(all.drawn.length, 41);
  const last = all.drawn.at(-1) ?? '';
  assert.match(last, /^ 39 % ▕█+.?▒* *▏ +156 MiB verified +33\.6 Mbit\/s .* 4 connections .*ETA 1 m$/);
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.equal(all.drawn.at(-1), 'end', 'it stays as it is');
  assert.match(all.out.join(''), /^done /);
  assert.deepEqual(all.err, ['source   /dev/sdc: a disk\n']);
});

test('on a terminal: what is wrong, since when, and until when it tries; one warning above', async (context) => {
  using all = scene(context, 'tty');
  all.start();
  await all.pass(30);
  all.line.connections = 0;
  const refused = Object.assign(new Error('x'), { code: 'ECONNREFUSED' });
  for (let second = 0; second < 192; second++) {
    const message = 'cannot reach the receiver: connection refused';
    const error = new TransferError('connection-failed', message, { cause: refused });
    all.reporter.noteRetry(error, 86_400_000 - second * 1000);
    await all.pass(1);
  }
  const [, trouble = ''] = (all.drawn.at(-1) ?? '').split('\n');
  assert.equal(trouble, 'waiting for the receiver: connection refused, for 3 m 12 s; giving up in 23 h 56 m');
  assert.match(all.drawn.at(-1) ?? '', /ETA unknown\n/);
  assert.deepEqual(all.err, [
    'ddt-send: warning: cannot reach the receiver: connection refused; trying again\n',
  ]);
  all.line.connections = 4;
  all.counters.durable = 1;
  await all.pass(1);
  assert.doesNotMatch(all.drawn.at(-1) ?? '', /waiting/);
  assert.equal(all.err.at(-1), 'note     going on after 3 m 13 s\n');
});

test('one broken connection of several is no outage, a failing target is one', async (context) => {
  using all = scene(context, 'tty');
  all.start();
  all.reporter.noteRetry(new TransferError('connection-failed', 'the connection was cut'), 1000);
  await all.pass(1);
  assert.doesNotMatch(all.drawn.at(-1) ?? '', /waiting|cut/);
  all.reporter.noteRetry(new TransferError('no-space', 'no space left'), 60_000);
  await all.pass(1);
  assert.match(all.drawn.at(-1) ?? '', /\nthe target fails: no space left, for 2 s; giving up in 59 s$/);
});

test('a limit is told when it holds from the start, and shown as long as it does', async (context) => {
  using all = scene(context, 'tty');
  let limit: number | undefined = 2 * MIB;
  all.reporter.showLimit(() => limit);
  assert.deepEqual(all.err, ['limit    2 MiB/s (16.8 Mbit/s)\n']);
  all.start();
  assert.match(all.drawn.at(-1) ?? '', / limit 16\.8 Mbit\/s /);
  limit = undefined;
  await all.pass(1);
  assert.doesNotMatch(all.drawn.at(-1) ?? '', /limit/);
});
