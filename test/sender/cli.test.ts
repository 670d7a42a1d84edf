import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../common/errors.ts';
import { VERSION_TEXT } from '../../common/protocol/version.ts';
import { parseSendArgs, type SendOptions } from '../../sender/cli.ts';

const MIB = 1024 * 1024;
const DEFAULTS: SendOptions = {
  source: '/dev/sdc',
  ticket: undefined,
  ticketFile: undefined,
  connections: 'auto',
  blockSizeBytes: undefined,
  sourceSizeBytes: null,
  retryForMs: 86_400_000,
  firstContactForMs: 120_000,
  memoryBytes: 512 * MIB,
  bwlimit: undefined,
  digest: 'auto',
  compress: 'auto',
  receiptFile: undefined,
  isConfirmed: false,
  isDryRun: false,
  onReadError: 'stop',
  mapfile: undefined,
  progress: 'auto',
};

function parse(...argv: readonly string[]): SendOptions | 'help' {
  return parseSendArgs(argv, (text) => assert.fail(`printed: ${text}`));
}

test('a source is enough: everything else has a default', () => {
  assert.deepEqual(parse('/dev/sdc'), DEFAULTS);
});

test('every option is read, in its own unit, before and after the arguments', () => {
  const all = ['--connections', '64', '--block-size=64KiB', '--retry-for', '15m', '--memory', '16MiB'];
  const expected: SendOptions = {
    source: 'disk.img',
    ticket: 'https://vm:8443/#pin=x&token=y',
    ticketFile: 'ticket.txt',
    connections: 64,
    blockSizeBytes: 65_536,
    sourceSizeBytes: null,
    retryForMs: 900_000,
    firstContactForMs: 900_000,
    memoryBytes: 16 * MIB,
    bwlimit: '08:00,512K 19:00,off',
    digest: 'blake3',
    compress: 7,
    receiptFile: 'receipt.json',
    isConfirmed: true,
    isDryRun: true,
    onReadError: 'zero',
    mapfile: 'disk.map',
    progress: 'json',
  };
  const files = ['--ticket-file', 'ticket.txt', '--receipt', 'receipt.json', '--mapfile', 'disk.map'];
  const rest = [...files, '--yes', '--progress', 'json', '--dry-run', '--on-read-error', 'zero'];
  rest.push('--bwlimit', '08:00,512K 19:00,off', '--compress', 'zstd:7', '--digest', 'blake3');
  assert.deepEqual(parse(...all, ...rest, 'disk.img', expected.ticket ?? ''), expected);
  assert.deepEqual(parse('disk.img', expected.ticket ?? '', ...rest, ...all), expected);
  for (const progress of ['auto', 'tty', 'plain', 'none'] as const) {
    assert.deepEqual(parse('/dev/sdc', '--progress', progress), { ...DEFAULTS, progress });
  }
  assert.deepEqual(parse('--block-size', '16M', '/dev/sdc'), { ...DEFAULTS, blockSizeBytes: 16 * MIB });
  assert.deepEqual(parse('--connections', '2', '--connections', '3', '/dev/sdc'), {
    ...DEFAULTS,
    connections: 3,
  });
  assert.deepEqual(parse('-', '--source-size', '1000'), { ...DEFAULTS, source: '-', sourceSizeBytes: 1000 });
  assert.deepEqual(parse('--', '--odd-name'), { ...DEFAULTS, source: '--odd-name' });
});

test('each mistake has its own sentence', () => {
  const choices = 'Allowed choices are auto, tty, plain, json, none.';
  for (const [argv, message] of [
    [['--bogus', '/dev/sdc'], "unknown option '--bogus'"],
    [['/dev/sdc', '--conections', '9'], "unknown option '--conections'"],
    [['--memory'], "option '--memory <size>' argument missing"],
    [['--progress', 'json'], "missing required argument 'source'"],
    [['a', 'b', 'c'], 'too many arguments. Expected 2 arguments but got 3: a, b, c.'],
    [['a', '--progress', 'loud'], `option '--progress <format>' argument 'loud' is invalid. ${choices}`],
    [['a', '--compress', 'gzip'], "--compress 'gzip' is not auto, none, zstd, or zstd:1 to zstd:19"],
    [['a', '--digest', 'sha256'], '--digest sha256 is not one of auto, sha-256, blake3'],
    [['a', '--compress', 'zstd:20'], "--compress 'zstd:20' is not auto, none, zstd, or zstd:1 to zstd:19"],
    [['a', '--connections', '0'], "--connections '0' is not a whole number from 1 to 64"],
    [['a', '--connections', '65'], "--connections '65' is not a whole number from 1 to 64"],
    [['a', '--connections', 'many'], "--connections 'many' is not a whole number from 1 to 64"],
    [['a', '--block-size', '3MiB'], '--block-size 3MiB is not a power of two from 64 KiB to 16 MiB'],
    [['a', '--block-size', '32K'], '--block-size 32K is not a power of two from 64 KiB to 16 MiB'],
    [['a', '--block-size', '32MiB'], '--block-size 32MiB is not a power of two from 64 KiB to 16 MiB'],
    [['a', '--block-size', 'big'], "'big' is not a size"],
    [['a', '--memory', '16777215'], '--memory 16777215 is less than one block of 16MiB'],
    [['a', '--memory', ''], "'' is not a size"],
    [['a', '--retry-for', '24'], "'24' is not a duration"],
    [['-', '--source-size', 'all'], "'all' is not a size"],
    [['a', '--source-size', '1G'], '--source-size is for standard input: disks and files have a size'],
  ] as const) {
    assert.throws(() => parse(...argv), { name: 'TransferError', code: 'usage', message }, argv.join(' '));
  }
  assert.throws(() => parse('--bogus'), { hint: 'ddt-send --help' });
});

test('without arguments the usage is shown, as a usage error: exit status 2', () => {
  assert.throws(
    () => parse(),
    (error) => {
      assert(error instanceof TransferError);
      assert.equal(error.code, 'usage');
      assert.match(error.message, /^no source given\nUsage: ddt-send \[options\] <source> \[ticket\]\n/);
      assert.match(error.message, /\nExamples:\n {2}ddt-send /);
      return true;
    },
  );
});

test('help goes to standard output, fits one screen and names every option', () => {
  for (const flag of ['--help', '-h']) {
    let text = '';
    assert.equal(
      parseSendArgs(['/dev/sdc', flag], (part) => {
        text += part;
      }),
      'help',
    );
    const lines = text.trimEnd().split('\n');
    assert(lines.length >= 24 && lines.length <= 45, `${lines.length} lines`);
    const wide = lines.filter((line) => /^.{101}/u.test(line));
    assert.deepEqual(wide, []);
    for (const name of [
      'ticket-file',
      'connections',
      'block-size',
      'source-size',
      'retry-for',
      'memory',
      'progress',
      'receipt',
      'on-read-error',
      'mapfile',
      'digest',
    ]) {
      assert.match(text, new RegExp(`^ {2}--${name} <`, 'm'));
    }
    assert.match(
      text,
      /Exit status: 0 all verified, 2 usage, 3 finished but not proven, 4 refused, 5 .*\n.*6 gave up/,
    );
    assert.match(text, /DDT_TICKET/);
  }
});

test('--version says what a report of a bug needs of both ends, on one line', () => {
  const printed: string[] = [];
  assert.equal(
    parseSendArgs(['--version'], (text) => printed.push(text)),
    'help',
  );
  assert.deepEqual(printed, [`${VERSION_TEXT}\n`]);
});

test('the examples of the help are command lines that are understood', () => {
  let text = '';
  parseSendArgs(['--help'], (part) => {
    text += part;
  });
  const examples = [...text.matchAll(/^ {2}(?:DDT_TICKET='[^']*' |zcat \S+ \| )?ddt-send (.*)$/gm)].map(
    ([, line = '']) =>
      // A comment stands behind two blanks.
      (line.split(/ {2,}/)[0] ?? '').split(' ').map((word) => word.replaceAll("'", '')),
  );
  assert.equal(examples.length, 4);
  for (const argv of examples) assert.notEqual(parse(...argv), 'help');
});

test('whatever the arguments are: options, help or a usage error', () => {
  const word = fc.oneof(
    fc.constantFrom(
      '-',
      '--',
      '/dev/sdc',
      '--memory',
      '--progress',
      'json',
      '--connections',
      '4',
      '--',
      '-x',
    ),
    fc.constantFrom('--__proto__', '--constructor', '--no-memory', '--block-size=1K', '', '-hx', '--help=5'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      try {
        const options = parseSendArgs(argv, () => {});
        assert(options === 'help' || options.memoryBytes >= 16 * MIB);
        assert(options === 'help' || options.connections === 'auto' || options.connections >= 1);
      } catch (error) {
        assert(error instanceof TransferError && error.code === 'usage', String(error));
      }
    }),
    { numRuns: 200 },
  );
});
