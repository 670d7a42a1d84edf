import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../common/errors.ts';
import {
  formatDuration,
  formatRate,
  formatSize,
  parseDuration,
  parseSize,
  parseWhole,
} from '../../common/units.ts';

/** Any UTF-16, halves of characters too. */
const anyCharacters = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff)), { maxLength: 40 })
  .map((codes) => String.fromCharCode(...codes));
const anyText = fc.oneof(
  anyCharacters,
  fc.stringMatching(/^-?[0-9]{0,20}\.?[0-9]{0,9} ?[A-Za-z]{0,4}$/),
  fc.constantFrom('__proto__', 'constructor', '1toString', '1__proto__', '9'.repeat(5000)),
);

/** Total: a value that `isGood`, or a usage error that shows what was written. */
function assertTotal(parse: (text: string) => number, isGood: (value: number) => boolean): void {
  fc.assert(
    fc.property(anyText, (text) => {
      try {
        assert(isGood(parse(text)), text);
      } catch (error) {
        assert(error instanceof TransferError && error.code === 'usage', `${text}: ${String(error)}`);
        assert(error.message.includes(`'${text}'`));
      }
    }),
  );
}

test('sizes are read as people write them', () => {
  for (const [text, bytes] of [
    ['0', 0],
    ['1', 1],
    ['511', 511],
    ['512B', 512],
    ['0064', 64],
    ['1K', 1024],
    ['1KiB', 1024],
    ['1KB', 1000],
    ['4M', 4_194_304],
    ['4MiB', 4_194_304],
    ['4MB', 4_000_000],
    ['1.5G', 1_610_612_736],
    ['1.5GB', 1_500_000_000],
    ['4GiB', 2 ** 32],
    ['1TB', 1e12],
    ['9007199254740991', 2 ** 53 - 1],
    ['8191TiB', 8191 * 2 ** 40],
    ['8191.999T', Math.round(8191.999 * 2 ** 40)],
  ] as const) {
    assert.equal(parseSize(text), bytes, text);
  }
});

test('what is not a size below 8 PiB is refused, with the option it was given for', () => {
  const wrong = ['', ' ', '4 MiB', ' 4', '4\n', '-1', '+1', '1e3', '0x10', '4mib', '4Mib', '4m', 'KiB', '.5'];
  wrong.push(
    '1.',
    '1..5',
    '1,5',
    '8192TiB',
    '9007199254740992',
    '1PiB',
    '1.1234567M',
    'NaN',
    'Infinity',
    '１',
  );
  for (const text of wrong) {
    const message = `'${text}' is not a size`;
    assert.throws(() => parseSize(text), { code: 'usage', message, hint: /4MiB, 512K/ }, text);
    assert.throws(() => parseSize(text, '--memory'), { message: `--memory ${message}` }, text);
  }
});

test('the parsers of sizes, durations and whole numbers are total', () => {
  assertTotal(parseSize, (bytes) => Number.isSafeInteger(bytes) && bytes >= 0);
  assertTotal(parseDuration, (ms) => Number.isInteger(ms) && ms >= 0);
  assertTotal(
    (text) => parseWhole(text, '--n', 3, 4096),
    (value) => Number.isInteger(value) && value >= 3 && value <= 4096,
  );
});

test('a whole number with any unit is that many of the unit', () => {
  const units = { '': 0, K: 10, KiB: 10, M: 20, MiB: 20, G: 30, GiB: 30, T: 40, TiB: 40 } as const;
  const powers = { KB: 3, MB: 6, GB: 9, TB: 12 } as const;
  const factors = [
    ...Object.entries(units).map(([unit, bits]) => [unit, 2n ** BigInt(bits)] as const),
    ...Object.entries(powers).map(([unit, digits]) => [unit, 10n ** BigInt(digits)] as const),
  ];
  fc.assert(
    fc.property(fc.nat(8000), fc.constantFrom(...factors), (count, [unit, factor]) => {
      assert.equal(BigInt(parseSize(`${count}${unit}`)), BigInt(count) * factor);
    }),
  );
});

test('durations need a unit', () => {
  for (const [text, ms] of [
    ['0s', 0],
    ['250ms', 250],
    ['90s', 90_000],
    ['1.5s', 1500],
    ['15m', 900_000],
    ['24h', 86_400_000],
    ['7d', 604_800_000],
  ] as const) {
    assert.equal(parseDuration(text), ms, text);
  }
  for (const text of [
    '',
    '90',
    '90 s',
    '-1s',
    '1w',
    '1H',
    '1e3s',
    's',
    '1.s',
    '9999999999s',
    '110001000d',
    '1h30m',
  ]) {
    const message = `'${text}' is not a duration`;
    assert.throws(() => parseDuration(text), { code: 'usage', message, hint: /90s, 15m or 24h/ }, text);
  }
});

test('whole numbers are bounded, both bounds included', () => {
  assert.equal(parseWhole('1', '--connections', 1, 64), 1);
  assert.equal(parseWhole('64', '--connections', 1, 64), 64);
  for (const text of ['0', '65', '', '1.5', '-1', '1e1', '0x1', ' 1', '1'.repeat(16)]) {
    const message = `--connections '${text}' is not a whole number from 1 to 64`;
    assert.throws(() => parseWhole(text, '--connections', 1, 64), { code: 'usage', message }, text);
  }
});

test('sizes are shown with one decimal, and exactly below 1 KiB', () => {
  for (const [bytes, text] of [
    [0, '0 bytes'],
    [1, '1 byte'],
    [1023, '1023 bytes'],
    [1024, '1 KiB'],
    [1536, '1.5 KiB'],
    [4_194_304, '4 MiB'],
    [2 ** 32, '4 GiB'],
    [1_000_204_886_016, '931.5 GiB'],
    [2 ** 53, '8 PiB'],
    [2 ** 63, '8192 PiB'],
  ] as const) {
    assert.equal(formatSize(bytes), text);
  }
});

test('a size that rounds up to the next unit is shown in that unit', () => {
  assert.equal(formatSize(2 ** 20 - 1), '1.0 MiB');
  assert.equal(formatSize(2 ** 40 - 1), '1.0 TiB');
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 50 - 2 ** 46 }), (bytes) => {
      const text = formatSize(bytes);
      assert.match(text, /^([0-9]{1,3}|10[0-9]{2})(\.[0-9])? (bytes?|[KMGT]iB)$/);
      assert(!text.startsWith('1024'), text);
      const read = parseSize(text.replace(/ (bytes?)?/, ''));
      const unit = read / Number.parseFloat(text) || 1;
      assert(Math.abs(read - bytes) <= unit * 0.05 + 1, `${bytes} as ${text}`);
    }),
    { examples: [[1_048_524], [1_048_525], [2 ** 30 - 1], [2 ** 40 - 1]] },
  );
});

test('durations are shown by their two largest units', () => {
  for (const [ms, text] of [
    [0, '0 s'],
    [499, '0 s'],
    [500, '1 s'],
    [8000, '8 s'],
    [59_600, '1 m'],
    [125_000, '2 m 5 s'],
    [3_600_000, '1 h'],
    [3_605_000, '1 h'],
    [49_200_000, '13 h 40 m'],
    [86_400_000 + 300_000, '1 d'],
    [90_000_000, '1 d 1 h'],
    [-5000, '0 s'],
  ] as const) {
    assert.equal(formatDuration(ms), text, `${ms}`);
  }
});

test('a shown duration is less than its second largest unit away from the true one', () => {
  const seconds: Readonly<Record<string, number>> = { d: 86_400, h: 3600, m: 60, s: 1 };
  const next: Readonly<Record<string, number>> = { d: 3600, h: 60, m: 1, s: 1 };
  fc.assert(
    fc.property(fc.nat(400 * 86_400), (total) => {
      const parts = [...formatDuration(total * 1000).matchAll(/(\d+) ([dhms])/g)];
      const shown = parts.reduce(
        (sum, [, count, unit = '']) => sum + Number(count) * (seconds[unit] ?? NaN),
        0,
      );
      const precision = next[parts[0]?.[2] ?? ''] ?? NaN;
      assert(shown <= total && total - shown < precision, `${total} as ${formatDuration(total * 1000)}`);
    }),
  );
});

test('rates are shown in bits', () => {
  for (const [bytesPerSecond, text] of [
    [0, '0 kbit/s'],
    [8000, '64 kbit/s'],
    [125_000, '1.0 Mbit/s'],
    [11_550_000, '92.4 Mbit/s'],
    [125_000_000, '1.00 Gbit/s'],
    [1_250_000_000, '10.00 Gbit/s'],
    [124_999, '1.0 Mbit/s'],
    [124_999_999, '1.00 Gbit/s'],
  ] as const) {
    assert.equal(formatRate(bytesPerSecond), text);
  }
});
