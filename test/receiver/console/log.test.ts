import assert from 'node:assert/strict';
import { test } from 'node:test';
import { makeLog } from '../../../receiver/console/log.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const TOKEN = `ddt1.${'A'.repeat(40)}.${'b'.repeat(40)}`;
const clock = new FakeClock(Date.UTC(2027, 0, 15, 8, 0, 0, 5));

/** What is written when each kind of message is logged. */
function linesOf(format: 'text' | 'json'): string[] {
  const lines: string[] = [];
  const log = makeLog(format, clock, (line) => lines.push(line));
  log.info('listening on 0.0.0.0:8443');
  log.warning(`PUT /blocks/7 with ${TOKEN}: no`);
  const bug = new RangeError('out of range');
  bug.stack = `RangeError: out of range\n    at f (x.ts:1:1) with ${TOKEN}`;
  log.bug(bug);
  log.bug('a text that was thrown');
  return lines;
}

test('a text line has the time, the command, and the level unless it is plain news', () => {
  const lines = linesOf('text');
  const time = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d) /;
  for (const line of lines)
    assert.equal(Date.parse(time.exec(line)?.[1] ?? ''), Date.UTC(2027, 0, 15, 8), line);
  assert.deepEqual(
    lines.map((line) => line.replace(time, '')),
    [
      'ddt-receive: listening on 0.0.0.0:8443\n',
      'ddt-receive: warning: PUT /blocks/7 with ddt1.…: no\n',
      'ddt-receive: bug: RangeError: out of range\n    at f (x.ts:1:1) with ddt1.…\n',
      'ddt-receive: bug: a text that was thrown\n',
    ],
  );
});

test('the time of a text line is local, with its offset, also when the clocks change', (context) => {
  const before = process.env['TZ'];
  context.after(() => {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  });
  const timeOf = (zone: string, ms: number): string => {
    process.env['TZ'] = zone;
    let line = '';
    makeLog('text', new FakeClock(ms), (text) => (line = text)).info('x');
    return line.slice(0, 25);
  };
  const summer = Date.UTC(2026, 9, 25, 0, 30);
  assert.equal(timeOf('Europe/Berlin', summer), '2026-10-25T02:30:00+02:00');
  assert.equal(timeOf('Europe/Berlin', summer + 3_600_000), '2026-10-25T02:30:00+01:00');
  assert.equal(timeOf('America/St_Johns', summer), '2026-10-24T22:00:00-02:30');
  assert.equal(timeOf('UTC', summer), '2026-10-25T00:30:00+00:00');
});

test('as JSON a message is one line with its time and level', () => {
  const time = '2027-01-15T08:00:00.005Z';
  const objects = linesOf('json').map((line) => {
    assert.match(line, /^[^\n]*\n$/);
    return JSON.parse(line) as unknown;
  });
  assert.deepEqual(objects, [
    { time, level: 'info', message: 'listening on 0.0.0.0:8443' },
    { time, level: 'warning', message: 'PUT /blocks/7 with ddt1.…: no' },
    { time, level: 'bug', message: 'RangeError: out of range\n    at f (x.ts:1:1) with ddt1.…' },
    { time, level: 'bug', message: 'a text that was thrown' },
  ]);
});

test('a bug without a stack is logged by its message', () => {
  const lines: string[] = [];
  const bug = new Error('no stack');
  delete bug.stack;
  makeLog('text', clock, (line) => lines.push(line)).bug(bug);
  assert.match(lines.join(''), / ddt-receive: bug: no stack\n$/);
});
