import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ASCII_STYLE, BLOCKS_STYLE, liveLines, titleOf } from '../../../sender/display/live-line.ts';
import type { OutageText } from '../../../sender/display/outage.ts';
import type { Snapshot } from '../../../sender/display/progress-columns.ts';

const MIB = 1024 * 1024;
const COUNTERS = {
  total: 238_475,
  read: 91_000,
  durable: 95_390,
  verified: 90_685,
  sent: 40_000,
  copied: 0,
  skipped: 500,
  zero: 50_000,
  resent: 0,
};
const STATE: Snapshot = {
  counters: COUNTERS,
  bytesTotal: 1_000_204_886_016,
  blockSizeBytes: 4 * MIB,
  bytesArrived: 95_390 * 4 * MIB,
  bytesWire: 160_000 * MIB,
  bytesPerSecond: 11_500_000,
  lineBytesPerSecond: 5_000_000,
  connections: 24,
  secondsLeft: 49_200,
  limitBytesPerSecond: undefined,
};
const OUTAGE: OutageText = {
  what: 'waiting for the receiver: connection refused',
  since: ' for 3 m 12 s',
  giveUp: '; giving up in 23 h 56 m',
};

const linesAt = (columns: number, changes: Partial<Snapshot> = {}, outage?: OutageText): string[] =>
  liveLines({ ...STATE, ...changes }, outage, columns, BLOCKS_STYLE);

test('a wider terminal shows more; the most important columns stay longest', () => {
  assert.deepEqual(
    [20, 40, 50, 60, 80, 100, 130].map((columns) => linesAt(columns)[0]),
    [
      ' 40 %  92.0 Mbit/s',
      ' 40 %   92.0 Mbit/s  ETA 13 h 40 m',
      ' 40 % ▕██▎   ▏  354.2 GiB verified  ETA 13 h 40 m',
      ' 40 %  354.2 GiB verified   92.0 Mbit/s  ETA 13 h 40 m',
      ' 40 % ▕██▎   ▏  354.2 GiB verified   92.0 Mbit/s  24 connections  ETA 13 h 40 m',
      ' 40 % ▕██▋    ▏  354.2 GiB verified   92.0 Mbit/s   line 40.0 Mbit/s' +
        '  24 connections  ETA 13 h 40 m',
      ' 40 % ▕█████████▌               ▏  354.2 GiB verified   92.0 Mbit/s   line 40.0 Mbit/s' +
        '  24 connections   ratio 2.3  ETA 13 h 40 m',
    ],
  );
});

test('no line is ever wider than the terminal, and none is empty', () => {
  const size = fc.integer({ min: 0, max: 2 ** 50 });
  const text = fc.string({ unit: 'binary', maxLength: 150 });
  fc.assert(
    fc.property(
      fc.record({
        bytesWire: size,
        bytesArrived: fc.nat(STATE.bytesTotal ?? 0),
        bytesPerSecond: size,
        lineBytesPerSecond: size,
        connections: fc.integer({ min: 0, max: 64 }),
        resent: fc.integer({ min: 0, max: 10 ** 9 }),
        durable: fc.integer({ min: 0, max: COUNTERS.total }),
        verified: fc.integer({ min: 0, max: COUNTERS.total }),
        limit: fc.option(size, { nil: undefined }),
        what: fc.option(text, { nil: undefined }),
        style: fc.constantFrom(BLOCKS_STYLE, ASCII_STYLE),
      }),
      ({ resent, durable, verified, limit, what, style, ...rest }) => {
        const outage = what === undefined ? undefined : { ...OUTAGE, what };
        const counters = { ...COUNTERS, resent, durable, verified };
        for (let columns = 20; columns <= 200; columns++) {
          const state = { ...STATE, ...rest, counters, limitBytesPerSecond: limit };
          const lines = liveLines(state, outage, columns, style);
          assert.equal(lines.length, what === undefined ? 1 : 2);
          for (const line of lines) {
            assert(Array.from(line).length < columns, `${columns}: ${line}`);
            assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
          }
          assert.match(lines[0] ?? '', /^[ \d.]{3} %/);
        }
      },
    ),
    { numRuns: 10 },
  );
});

test('wide characters count as the two columns that they take', () => {
  const what = '日本語のディスク'.repeat(10);
  for (let columns = 20; columns <= 200; columns++) {
    const line = linesAt(columns, {}, { ...OUTAGE, what })[1] ?? '';
    const wide = line.match(/[^ -~…]/g)?.length ?? 0;
    assert(line.length + wide < columns, `${columns}: ${line}`);
  }
});

test('a number that grows by a digit moves nothing', () => {
  const at = (bytesPerSecond: number, connections: number, secondsLeft: number): number[] => {
    const [line = ''] = linesAt(100, { bytesPerSecond, connections, secondsLeft });
    return ['▏ ', ' verified', 'bit/s', 'ETA'].map((text) => line.indexOf(text));
  };
  assert.deepEqual(at(1_240_000, 9, 3000), at(12_400_000, 10, 49_200));
});

test('the bar shows what is verified, more faintly what is durable, and faintest what has arrived', () => {
  const barAt = (
    verified: number,
    durable: number,
    arrived = durable,
    style = BLOCKS_STYLE,
  ): string | undefined => {
    const counters = { ...COUNTERS, total: 1000, verified, durable };
    const state = { ...STATE, counters, bytesTotal: 1_000_000, bytesArrived: arrived * 1000 };
    return /[▕[](.*)[▏\]] /.exec(liveLines(state, undefined, 80, style)[0] ?? '')?.[1];
  };
  assert.equal(barAt(0, 0), '      ');
  assert.equal(barAt(500, 500), '███   ');
  assert.equal(barAt(500, 900), '███▒▒ ');
  assert.equal(barAt(521, 521), '███▏  ');
  assert.equal(barAt(999, 999), '█████▉');
  assert.equal(barAt(1000, 1000), '██████');
  assert.equal(barAt(0, 1000), '▒▒▒▒▒▒');
  assert.equal(barAt(334, 500, 900), '██▒░░ ');
  assert.equal(barAt(500, 900, 1000, ASCII_STYLE), '###--.');
});

test('what the receiver verified in an earlier run counts once this run has compared it', () => {
  const counters = { ...COUNTERS, durable: 0, verified: 200_000 };
  assert.match(linesAt(80, { counters, bytesArrived: 0 })[0] ?? '', /^ {2}0 % .* 0 bytes sent /);
  const compared = { counters: { ...counters, durable: 23_847 }, bytesArrived: 23_847 * 4 * MIB };
  assert.match(linesAt(80, compared)[0] ?? '', /^ 10 % .* 93\.2 GiB verified /);
});

test('a wide terminal shows the ratio, what was resent, and the limit', () => {
  const [line = ''] = linesAt(200, { counters: { ...COUNTERS, resent: 7 }, limitBytesPerSecond: 5 * MIB });
  assert.match(
    line,
    / {2}line 40\.0 Mbit\/s {2}limit 41\.9 Mbit\/s {2}24 connections {2}7 resent {3}ratio 2\.3 {2}ETA/,
  );
  assert.doesNotMatch(linesAt(200, { bytesWire: 1_000_000 * MIB })[0] ?? '', /ratio/);
});

test('an outage is shown below, shorter where there is less room', () => {
  assert.deepEqual(
    [100, 80, 50, 40].map((columns) => linesAt(columns, {}, OUTAGE)[1]),
    [
      'waiting for the receiver: connection refused for 3 m 12 s; giving up in 23 h 56 m',
      'waiting for the receiver: connection refused for 3 m 12 s',
      'waiting for the receiver: connectio… for 3 m 12 s',
      'waiting for the receiver:… for 3 m 12 s',
    ],
  );
});

test('the title of the window is short: how far it is, whether it waits, and what is copied', () => {
  assert.equal(titleOf(STATE, false, '/dev/sdc'), '40 % ddt-send /dev/sdc');
  assert.equal(titleOf(STATE, true, '/dev/sdc'), '40 % waiting: ddt-send /dev/sdc');
  assert.equal(titleOf({ ...STATE, bytesTotal: null }, false), 'ddt-send');
});
