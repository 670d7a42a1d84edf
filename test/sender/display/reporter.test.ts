import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { NO_DIFFERENCES } from '../../../sender/transfer/comparison.ts';
import { factsOf, reporterScene as scene, type ReporterScene } from '../../support/reporter-scene.ts';

const TOKEN = `ddt1.${'A'.repeat(40)}.${'b'.repeat(40)}`;
const MIB = 1024 * 1024;

function eventsOf(out: readonly string[]): Record<string, unknown>[] {
  for (const line of out) assert.match(line, /^\{.*\}\n$/, 'one object, one line');
  return out.map((line) => ({ ...(JSON.parse(line) as object) }));
}

test('as JSON: progress at once and every second, done on the last line', async (context) => {
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
  assert.equal(events[5]?.['secondsLeft'], 45);
  assert.equal(events[3]?.['connections'], 4);
  assert.equal(events[0]?.['secondsLeft'], null);
  assert.deepEqual(all.err, []);
});

test('as JSON: a failure is the last line, with its code and without secrets', async (context) => {
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

test('as JSON: a failure before the transfer starts is an event too', (context) => {
  using all = scene(context, 'json');
  all.reporter.failed({ code: 'bug', message: 'RangeError: x' });
  assert.deepEqual(eventsOf(all.out), [{ event: 'failed', code: 'bug', message: 'RangeError: x' }]);
});

test('as lines: one a minute in a log, one every five seconds on a terminal', async (context) => {
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

test('as lines: no line is repeated while nothing changes', async (context) => {
  using all = scene(context, 'plain');
  all.start();
  await all.pass(600);
  assert.equal(all.err.length, 1);
  all.counters.durable = 1;
  await all.pass(60);
  assert.equal(all.err.length, 2);
});

test('as lines: the summary goes to standard output, main prints failures', (context) => {
  using all = scene(context, 'plain');
  all.reporter.fact('source   /dev/sdc: a disk');
  assert.deepEqual(all.err, ['source   /dev/sdc: a disk\n']);
  all.reporter.failed({ code: 'busy', message: 'busy' });
  assert.deepEqual(all.out, []);
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.match(all.out.join(''), /^done .* on \/dev\/vdd: .*\nblocks .*\nline .*\nroot .*\n$/);
});

test('without progress there are warnings, but no facts, lines or summary', async (context) => {
  using all = scene(context, 'none');
  all.reporter.fact('source   /dev/sdc: a disk');
  all.start();
  await all.pass(120);
  all.reporter.noteRetry(new TransferError('busy', 'the receiver is busy'));
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.deepEqual(all.out, []);
  assert.deepEqual(all.err, ['ddt-send: warning: the receiver is busy; retrying\n']);
});

test('without progress a copy that differs is a warning', (context) => {
  using all = scene(context, 'none');
  const target = { count: 1, ranges: [[7, 1]] } as const;
  const rest = {
    source: NO_DIFFERENCES,
    missing: NO_DIFFERENCES,
    isSealed: true,
    readBack: null,
    leftOut: null,
  };
  all.reporter.compared({ blocksTotal: 50, bytesTotal: 400, blockSizeBytes: 8, target, ...rest }, '/dev/vdd');
  assert.deepEqual(all.out, []);
  const sentence = '1 of 50 blocks on /dev/vdd are not what was sealed: block 7';
  assert.deepEqual(all.err, [`ddt-send: warning: ${sentence}\n`]);
});

test('an outage is reported when it begins, then once a minute with its length', async (context) => {
  using all = scene(context, 'none');
  all.start();
  all.line.connections = 0;
  for (let second = 0; second < 150; second++) {
    all.reporter.noteRetry(new TransferError('connection-failed', `cannot reach ${TOKEN}`));
    await all.pass(1);
  }
  assert.deepEqual(all.err, [
    'ddt-send: warning: cannot reach ddt1.…; retrying\n',
    'ddt-send: warning: cannot reach ddt1.…; retrying (for 1 m now)\n',
    'ddt-send: warning: cannot reach ddt1.…; retrying (for 2 m now)\n',
  ]);
});

test('that the target has no room is said once, and once when it has some', async (context) => {
  using all = scene(context, 'json');
  all.start();
  for (let minute = 0; minute < 5; minute++) {
    all.reporter.noteRetry(new TransferError('no-space', 'it is full'));
    // What was written before.
    all.counters.verified++;
    await all.pass(60);
  }
  all.reporter.noteRoom();
  assert.deepEqual(all.err, [
    'ddt-send: warning: there is no room at the receiver: it is full; trying again until there is\n',
    'note     there is room at the receiver again, after 5 m\n',
  ]);
  all.reporter.noteRetry(new TransferError('no-space', 'full again'));
  assert.equal(all.err.length, 3);
});

test('a later outage counts from its own beginning', async (context) => {
  using all = scene(context, 'none');
  all.start();
  all.reporter.noteRetry(new TransferError('connection-failed', 'first'));
  await all.pass(30);
  all.counters.durable = 50;
  await all.pass(100);
  all.reporter.noteRetry(new TransferError('connection-failed', 'second'));
  assert.equal(all.err.at(-1), 'ddt-send: warning: second; retrying\n');
});

test('a standstill is reported after twenty seconds, and as JSON every second', async (context) => {
  using all = scene(context, 'json');
  all.start();
  for (let second = 1; second <= 90; second++) {
    all.line.standstillMs = second * 1000;
    await all.pass(1);
  }
  assert.deepEqual(all.err, [
    'ddt-send: warning: waiting for the receiver: no data on any of 4 connections for 20 s\n',
    'ddt-send: warning: waiting for the receiver: no data on any of 4 connections for 1 m 20 s\n',
  ]);
  const waiting = eventsOf(all.out).filter(({ event }) => event === 'waiting');
  assert.equal(waiting.length, 81);
  assert.deepEqual(waiting.at(-1), {
    event: 'waiting',
    code: 'standstill',
    message: 'waiting for the receiver: no data on any of 4 connections',
    seconds: 90,
  });
  all.line.standstillMs = 0;
  await all.pass(5);
  assert.equal(eventsOf(all.out).at(-1)?.['event'], 'progress');
});

test('an outage counts from the last movement, and ends when bytes move again', async (context) => {
  using all = scene(context, 'json');
  all.start();
  for (let second = 1; second <= 60; second++) {
    all.line.standstillMs = second * 1000;
    await all.pass(1);
  }
  const error = new TransferError('connection-failed', 'the connection did not move for 60 s');
  all.reporter.noteRetry(error, 3_600_000);
  Object.assign(all.line, { connections: 0, standstillMs: undefined });
  await all.pass(10);
  assert.deepEqual(eventsOf(all.out).at(-1), {
    event: 'waiting',
    code: 'connection-failed',
    message: 'waiting for the receiver: the connection did not move for 60 s',
    seconds: 70,
    giveUpInSeconds: 3590,
  });
  Object.assign(all.line, { connections: 1, standstillMs: 0 });
  await all.pass(1);
  assert.equal(all.err.at(-1), 'note     resumed after 1 m 11 s\n');
  assert.equal(eventsOf(all.out).at(-1)?.['event'], 'progress');
});

test('a block that arrives ends a standstill at once', async (context) => {
  using all = scene(context, 'json');
  all.start();
  all.line.standstillMs = 30_000;
  await all.pass(2);
  all.counters.durable++;
  await all.pass(5);
  assert.deepEqual(
    eventsOf(all.out)
      .slice(-5)
      .map(({ event }) => event),
    Array.from({ length: 5 }, () => 'progress'),
  );
});

test('as JSON, before the transfer starts: every retried failure is an event', (context) => {
  using all = scene(context, 'json');
  const refused = Object.assign(new Error('x'), { code: 'ECONNREFUSED' });
  all.reporter.noteRetry(new TransferError('connection-failed', 'cannot reach it', { cause: refused }), 5000);
  assert.deepEqual(eventsOf(all.out), [
    {
      event: 'waiting',
      code: 'connection-failed',
      message: 'waiting for the receiver: connection refused',
      seconds: 0,
      giveUpInSeconds: 5,
    },
  ]);
});

/** One block of 4 MiB on its way at 400 KiB/s, after so many seconds. */
async function sendSlowly(all: ReporterScene, seconds: number): Promise<void> {
  for (let second = 1; second <= seconds; second++) {
    all.line.bytesUnderWay = all.line.bytesAcknowledged = second * 400 * 1024;
    await all.pass(1);
  }
}

test('on a slow line people see rate, percentage and ETA before a block is durable', async (context) => {
  for (const format of ['tty', 'plain'] as const) {
    await context.test(format, async (inner) => {
      using all = scene(inner, format, true);
      all.start();
      await sendSlowly(all, 10);
      const line = format === 'tty' ? all.drawn.at(-1) : all.err.at(-1);
      const shown = /^0\.9 % .*3\.9 MiB sent +3\.3 Mbit\/s +line 3\.3 Mbit\/s .*ETA 17 m/;
      assert.match(line ?? '', shown);
    });
  }
});

test('on a slow line programs see rate, percentage and ETA before a block is durable', async (context) => {
  using all = scene(context, 'json');
  all.start();
  await sendSlowly(all, 10);
  const event = eventsOf(all.out).at(-1) ?? {};
  const { percent, bytesArrived, lineBytesPerSecond, bytesPerSecond, blocksDurable, secondsLeft } = event;
  const RATE = 400 * 1024;
  assert.deepEqual([percent, bytesArrived], [0.9, 10 * RATE]);
  assert.deepEqual([lineBytesPerSecond, bytesPerSecond], [RATE, RATE]);
  assert.deepEqual([blocksDurable, secondsLeft], [0, 1020]);
});

test('as lines: the last one above the summary says 100 %, however short the run was', (context) => {
  using all = scene(context, 'plain');
  all.start();
  Object.assign(all.counters, { durable: 100, verified: 100 });
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.equal(all.err.length, 1);
  assert.match(
    all.err[0] ?? '',
    /^100 % {2}400 MiB durable {2}400 MiB verified .* 4 connections {2}ETA 0 s\n$/,
  );
});

test('the address is named when the first contact takes more than a second', async (context) => {
  using all = scene(context, 'plain');
  all.reporter.connecting('2001:db8::7', 443);
  await all.pass(0.5);
  assert.deepEqual(all.err, []);
  await all.pass(1);
  assert.deepEqual(all.err, ['connecting to [2001:db8::7]:443 …\n']);
  for (const end of [
    () => all.reporter.connected(),
    () => all.reporter.noteRetry(new TransferError('busy', 'busy')),
    () => all.reporter.failed({ code: 'busy', message: 'busy' }),
  ]) {
    all.err.length = 0;
    all.reporter.connecting('vm', 8443);
    end();
    await all.pass(5);
    assert.doesNotMatch(all.err.join(''), /connecting/);
  }
});

test('trouble is an outage of five minutes, once, and again with the next', async (context) => {
  using all = scene(context, 'none');
  all.reporter.about({ source: '/dev/sdc', target: '/dev/vdd' });
  all.start();
  const lost = new TransferError('connection-failed', 'cannot reach it', { cause: new Error('no route') });
  const outage = async (seconds: number): Promise<void> => {
    all.line.connections = 0;
    all.reporter.noteRetry(lost);
    await all.pass(seconds);
    all.line.connections = 4;
    all.counters.durable++;
    await all.pass(1);
  };
  await outage(299);
  assert.deepEqual(all.troubles, []);
  await outage(900);
  await outage(299);
  const one = { source: '/dev/sdc', target: '/dev/vdd', code: 'connection-failed' };
  const message = 'waiting for the receiver: no route for 5 m';
  assert.deepEqual(all.troubles, [{ ...one, message }]);
  await outage(301);
  assert.equal(all.troubles.length, 2);
});

test('trouble that no waiting ends is reported at once', async (context) => {
  using all = scene(context, 'none');
  all.start();
  for (const code of ['no-space', 'io-error'] as const) {
    all.reporter.noteRetry(new TransferError(code, 'it is so'));
    await all.pass(1);
  }
  all.reporter.noteOtherSource(9, 10);
  all.reporter.noteLost(2);
  all.reporter.noteUnreadable([[512, 512]]);
  assert.deepEqual(
    all.troubles.map(({ code }) => code),
    ['no-space', 'io-error', 'other-source', 'lost', 'unreadable'],
  );
});

test('the last word is the result in one line, or the failure', (context) => {
  using all = scene(context, 'none');
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.equal(all.reporter.lastWord.message, '100 blocks, 400 MiB, on /dev/vdd: durable, NOT read back');
  const facts = { blocksTotal: 9, blocksSkipped: 0, blocksToSend: 9, bytesTotal: 36 * MIB, isSealed: false };
  all.reporter.dryRun({ ...facts, blocksZero: 3 });
  const dry = '9 of 9 blocks would be sent, 3 of them as zeros; 0 are present and equal; nothing was sent';
  assert.deepEqual(all.reporter.lastWord, { code: 'dry-run', message: dry });
  all.reporter.keptOpen(factsOf(all.counters), '/dev/vdd');
  const pass = /^100 blocks, 400 MiB, on \/dev\/vdd, not sealed; 0 sent, .*; 5 bytes in 9 s$/;
  assert.match(all.reporter.lastWord.message, pass);
  all.reporter.failed(new TransferError('no-progress', 'gave up', { hint: 'again' }));
  assert.deepEqual(all.reporter.lastWord, { code: 'no-progress', message: 'gave up', hint: 'again' });
});
