import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../../common/errors.ts';
import {
  formatLimit,
  limitAt,
  parseSchedule,
  type Limit,
} from '../../../common/bandwidth/bandwidth-schedule.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Node reads TZ again whenever it is set. */
function inZone<Result>(zone: string, work: () => Result): Result {
  const before = process.env['TZ'];
  process.env['TZ'] = zone;
  try {
    return work();
  } finally {
    if (before === undefined) delete process.env['TZ'];
    else process.env['TZ'] = before;
  }
}

/** @param when local time of the zone, as `2026-11-22T08:00`; a Sunday. */
function limitOf(text: string, when: string, zone = 'UTC'): Limit {
  return inZone(zone, () => limitAt(parseSchedule(text), new Date(when).getTime()));
}

test('one limit holds always; a number alone counts KiB, and suffixes are powers of 1024', () => {
  for (const [text, bytes] of [
    ['2M', 2 * MIB],
    ['2m', 2 * MIB],
    ['2Mi', 2 * MIB],
    ['2MiB', 2 * MIB],
    ['512', 512 * KIB],
    ['1.5M', 1.5 * MIB],
    ['.5M', 0.5 * MIB],
    ['4096b', 4096],
    ['4096B', 4096],
    ['10K', 10 * KIB],
    ['1G', 1024 * MIB],
    ['2T', 2 * 2 ** 40],
    ['10M:100k', 10 * MIB],
    ['off:100k', undefined],
    ['08:00', 8 * KIB],
    ['off', undefined],
    ['OFF', undefined],
    ['0', undefined],
    [' 2M\n', 2 * MIB],
  ] as const) {
    assert.equal(limitOf(text, '2026-11-22T08:00'), bytes, text);
  }
});

test('anything that is not a limit is refused by name', () => {
  for (const text of [
    '',
    'fast',
    '2X',
    '-2M',
    '2M:fast',
    '1M:2M:3M',
    '24:00,1M',
    '8:00,1M',
    '08:60,1M',
    'Mon-bad,1M',
    'Foo-08:00,1M',
    'Mo-08:00,1M',
    'Mon-Tue-08:00,1M',
    '08:00,1M,2M',
    '08:00,1M 2M',
    '08:00,1M 19:00,bad',
    '2MB/s',
  ]) {
    assert.throws(
      () => parseSchedule(text),
      (error) => error instanceof TransferError && /^'.*' is not a bandwidth limit$/.test(error.message),
      text,
    );
  }
  assert.throws(
    () => parseSchedule('1023B'),
    /the bandwidth limit '1023B' is not between 1K and 8191T a second/,
  );
  assert.throws(() => parseSchedule('9999999P'), /the bandwidth limit '9999999P' is not between/);
});

test('the entry that began last applies; before the first one, the last one of the day before', () => {
  const table = '08:00,512K 12:00,10M 13:00,512K 18:00,30M 23:00,off';
  for (const [time, limit] of [
    ['00:00', undefined],
    ['07:59', undefined],
    ['08:00', 512 * KIB],
    ['11:59', 512 * KIB],
    ['12:00', 10 * MIB],
    ['13:30', 512 * KIB],
    ['18:00', 30 * MIB],
    ['22:59', 30 * MIB],
    ['23:00', undefined],
  ] as const) {
    for (const day of ['2026-11-21', '2026-11-22', '2026-11-23'])
      assert.equal(limitOf(table, `${day}T${time}`), limit, `${day} ${time}`);
    assert.equal(
      limitOf(table.split(' ').toReversed().join(' '), `2026-11-22T${time}`),
      limit,
      'in any order',
    );
    assert.equal(limitOf(table.replaceAll(' ', ';'), `2026-11-22T${time}`), limit, 'with semicolons');
  }
});

test('days may be named, in short or in full, and mixed with daily entries', () => {
  const table = 'Mon-00:00,512K Friday-23:59,10M SAT-10:00,1M sun-20:00,off';
  for (const [when, limit] of [
    ['2026-11-22T19:59', MIB],
    ['2026-11-22T20:00', undefined],
    ['2026-11-22T23:59', undefined],
    ['2026-11-23T00:00', 512 * KIB],
    ['2026-11-27T23:58', 512 * KIB],
    ['2026-11-27T23:59', 10 * MIB],
    ['2026-11-28T09:59', 10 * MIB],
    ['2026-11-28T10:00', MIB],
  ] as const) {
    assert.equal(limitOf(table, when), limit, when);
  }
  const mixed = 'Mon-00:00,512K 12:00,1M';
  assert.equal(limitOf(mixed, '2026-11-23T11:59'), 512 * KIB);
  assert.equal(limitOf(mixed, '2026-11-23T12:00'), MIB);
  assert.equal(limitOf(mixed, '2026-11-24T11:59'), MIB);
  assert.equal(
    limitOf('08:00,1M 08:00,2M', '2026-11-23T12:00'),
    2 * MIB,
    'of two at the same time the later one',
  );
});

test('local time counts, also when clocks are set forward or back', () => {
  // Berlin: 2026-03-29 02:00 becomes 03:00; 2026-10-25 03:00 becomes 02:00. Both are Sundays.
  const table = parseSchedule('02:30,1M 04:00,off');
  const at = (utc: string): Limit => inZone('Europe/Berlin', () => limitAt(table, Date.parse(utc)));
  assert.equal(at('2026-03-29T00:59Z'), undefined, '01:59');
  assert.equal(at('2026-03-29T01:00Z'), MIB, '03:00: 02:30 never was');
  assert.equal(at('2026-03-29T02:00Z'), undefined, '04:00');
  assert.equal(at('2026-10-25T00:30Z'), MIB, '02:30 for the first time');
  assert.equal(at('2026-10-25T01:00Z'), undefined, '02:00 again');
  assert.equal(at('2026-10-25T01:30Z'), MIB, '02:30 again');
  assert.equal(at('2026-10-25T03:00Z'), undefined, '04:00');
  assert.equal(limitOf('08:00,1M 19:00,off', '2026-07-01T08:00', 'Asia/Kolkata'), MIB);
});

test('any text is a schedule or is refused as one; each limit can be formatted', () => {
  const piece = fc.constantFrom('08:00', 'Mon-', ',', ' ', ';', '2M', 'off', ':', '512', '.', '-', 'K', '\n');
  fc.assert(
    fc.property(
      fc.array(piece).map((pieces) => pieces.join('')),
      fc.date({ noInvalidDate: true }),
      (text, when) => {
        try {
          assert.match(
            formatLimit(limitAt(parseSchedule(text), when.getTime())),
            /^(off|.* .iB\/s \(.* .bit\/s\))$/,
          );
        } catch (error) {
          if (!(error instanceof TransferError) || error.code !== 'usage') throw error;
        }
      },
    ),
  );
});
