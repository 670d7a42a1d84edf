import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ASCII_STYLE, BLOCKS_STYLE, liveLines, type LiveState } from '../../../sender/display/live-line.ts';

const MIB = 1024 * 1024;
const COUNTERS = {
  total: 238_475,
  read: 91_000,
  durable: 95_390,
  verified: 90_685,
  sent: 40_000,
  skipped: 500,
  zero: 50_000,
  resent: 0,
};
const STATE: LiveState = {
  counters: COUNTERS,
  bytesTotal: 1_000_204_886_016,
  blockSizeBytes: 4 * MIB,
  bytesWire: 160_000 * MIB,
  bytesPerSecond: 11_500_000,
  lineBytesPerSecond: 5_000_000,
  connections: 24,
  secondsLeft: 49_200,
  timeLeft: '13 h 40 m',
  limitBytesPerSecond: undefined,
  trouble: undefined,
};
const TROUBLE = {
  what: 'waiting for the receiver: connection refused',
  since: ', for 3 m 12 s',
  giveUp: '; giving up in 23 h 56 m',
};

const linesAt = (columns: number, changes: Partial<LiveState> = {}): string[] =>
  liveLines({ ...STATE, ...changes }, columns, BLOCKS_STYLE);

test('the wider the terminal, the more it says; what matters most is left last', () => {
  assert.deepEqual(
    [20, 40, 50, 60, 80, 100, 130].map((columns) => linesAt(columns)[0]),
    [
      ' 38 %  92.0 Mbit/s',
      ' 38 %   92.0 Mbit/s  ETA 13 h 40 m',
      ' 38 % ▕██▎   ▏  354.2 GiB verified  ETA 13 h 40 m',
      ' 38 %  354.2 GiB verified   92.0 Mbit/s  ETA 13 h 40 m',
      ' 38 % ▕██▎   ▏  354.2 GiB verified   92.0 Mbit/s  24 connections  ETA 13 h 40 m',
      ' 38 % ▕█████▎        ▏  354.2 GiB verified   92.0 Mbit/s  24 connections' +
        '   ratio 2.3  ETA 13 h 40 m',
      ' 38 % ▕█████████▌               ▏  354.2 GiB verified   92.0 Mbit/s   line 40.0 Mbit/s' +
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
        const trouble = what === undefined ? undefined : { ...TROUBLE, what };
        const counters = { ...COUNTERS, resent, durable, verified };
        for (let columns = 20; columns <= 200; columns++) {
          const state = { ...STATE, ...rest, counters, limitBytesPerSecond: limit, trouble };
          const lines = liveLines(state, columns, style);
          assert.equal(lines.length, what === undefined ? 1 : 2);
          for (const line of lines) {
            assert(Array.from(line).length < columns, `${columns}: ${line}`);
            assert.doesNotMatch(line, /[\p{Cc}\p{Cf}]/u);
          }
          assert.match(lines[0] ?? '', /^[ \d]{3} %/);
        }
      },
    ),
    { numRuns: 10 },
  );
});

test('wide characters count as the two columns that they take', () => {
  const what = '日本語のディスク'.repeat(10);
  for (let columns = 20; columns <= 200; columns++) {
    const line = linesAt(columns, { trouble: { ...TROUBLE, what } })[1] ?? '';
    const wide = line.match(/[^ -~…]/g)?.length ?? 0;
    assert(line.length + wide < columns, `${columns}: ${line}`);
  }
});

test('a number that grows by a digit moves nothing', () => {
  const at = (bytesPerSecond: number, connections: number, timeLeft: string): number[] => {
    const [line = ''] = linesAt(100, { bytesPerSecond, connections, timeLeft });
    return ['▏ ', ' verified', 'bit/s', 'ETA'].map((text) => line.indexOf(text));
  };
  assert.deepEqual(at(1_240_000, 9, '50 m'), at(12_400_000, 10, '13 h 40 m'));
});

test('the bar shows what is verified, and more faintly what is only durable', () => {
  const barAt = (verified: number, durable: number, style = BLOCKS_STYLE): string | undefined => {
    const counters = { ...COUNTERS, total: 1000, verified, durable };
    return /[▕[](.*)[▏\]] /.exec(liveLines({ ...STATE, counters }, 80, style)[0] ?? '')?.[1];
  };
  assert.equal(barAt(0, 0), '      ');
  assert.equal(barAt(500, 500), '███   ');
  assert.equal(barAt(500, 900), '███▒▒ ');
  assert.equal(barAt(521, 521), '███▏  ');
  assert.equal(barAt(999, 999), '█████▉');
  assert.equal(barAt(1000, 1000), '██████');
  assert.equal(barAt(0, 1000), '▒▒▒▒▒▒');
  assert.equal(barAt(500, 900, ASCII_STYLE), '###-- ');
});

test('what the receiver verified in an earlier run counts when this run has compared it', () => {
  const counters = { ...COUNTERS, durable: 0, verified: 200_000 };
  assert.match(linesAt(80, { counters })[0] ?? '', /^ {2}0 % .* 0 bytes durable /);
  const compared = { ...counters, durable: 23_847 };
  assert.match(linesAt(80, { counters: compared })[0] ?? '', /^ {2}9 % .* 93\.2 GiB verified /);
});

test('on a wide terminal it tells what it saves, what was resent and what limits it', () => {
  const [line = ''] = linesAt(200, { counters: { ...COUNTERS, resent: 7 }, limitBytesPerSecond: 5 * MIB });
  assert.match(
    line,
    / {2}line 40\.0 Mbit\/s {2}limit 41\.9 Mbit\/s {2}24 connections {2}7 resent {3}ratio 2\.3 {2}ETA/,
  );
  assert.doesNotMatch(linesAt(200, { bytesWire: 1_000_000 * MIB })[0] ?? '', /ratio/);
});

test('what is wrong stands below, shorter where there is less room', () => {
  assert.deepEqual(
    [100, 80, 50, 40].map((columns) => linesAt(columns, { trouble: TROUBLE })[1]),
    [
      'waiting for the receiver: connection refused, for 3 m 12 s; giving up in 23 h 56 m',
      'waiting for the receiver: connection refused, for 3 m 12 s',
      'waiting for the receiver: connecti…, for 3 m 12 s',
      'waiting for the receiver…, for 3 m 12 s',
    ],
  );
});
