import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../../common/errors.ts';
import { factsOf, reporterScene as scene } from '../../support/reporter-scene.ts';

const MIB = 1024 * 1024;

test('on a terminal: one line, redrawn every second, and the summary at the end', async (context) => {
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
  assert.match(last, /^ 40 % ▕█+.?▒* *▏ +156 MiB verified +33\.6 Mbit\/s .* 4 connections .*ETA 1 m$/);
  all.line.connections = 0;
  Object.assign(all.counters, { durable: 100, verified: 100 });
  all.reporter.done(factsOf(all.counters), '/dev/vdd');
  assert.match(all.drawn.at(-2) ?? '', /^100 % .* 400 MiB verified .* 4 connections .*ETA \d s$/);
  assert.equal(all.drawn.at(-1), 'end', 'it stays as it is');
  assert.match(all.out.join(''), /^done /);
  assert.deepEqual(all.err, ['source   /dev/sdc: a disk\n']);
});

test('on a terminal: an outage, its length and the time left for it; one warning above', async (context) => {
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
  assert.equal(trouble, 'waiting for the receiver: connection refused for 3 m 12 s; giving up in 23 h 56 m');
  assert.match(all.drawn.at(-1) ?? '', /ETA unknown\n/);
  assert.deepEqual(all.err, ['ddt-send: warning: cannot reach the receiver: connection refused; retrying\n']);
  all.line.connections = 4;
  all.counters.durable = 1;
  await all.pass(1);
  assert.doesNotMatch(all.drawn.at(-1) ?? '', /waiting/);
  assert.equal(all.err.at(-1), 'note     resumed after 3 m 13 s\n');
});

test('one broken connection of several is no outage, a failing target is', async (context) => {
  using all = scene(context, 'tty');
  all.start();
  all.reporter.noteRetry(new TransferError('connection-failed', 'the connection was cut'), 1000);
  await all.pass(1);
  assert.doesNotMatch(all.drawn.at(-1) ?? '', /waiting|cut/);
  all.reporter.noteRetry(new TransferError('io-error', 'cannot flush it'), 60_000);
  await all.pass(1);
  assert.match(all.drawn.at(-1) ?? '', /\nthe target fails: cannot flush it for 2 s; giving up in 59 s$/);
});

test('a limit is printed at the start, and shown while it applies', async (context) => {
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

test('on a terminal: a standstill, before anything has failed', async (context) => {
  using all = scene(context, 'tty');
  all.start();
  for (let second = 1; second <= 35; second++) {
    all.line.standstillMs = second * 1000;
    await all.pass(1);
  }
  const [, trouble = ''] = (all.drawn.at(-1) ?? '').split('\n');
  assert.equal(trouble, 'waiting for the receiver: no data on any of 4 connections for 35 s');
  assert.deepEqual(all.err, []);
});
