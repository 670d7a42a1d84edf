import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../common/errors.ts';
import { VERSION_TEXT } from '../../common/protocol/version.ts';
import { parseSendArgs, type SendOptions } from '../../sender/cli.ts';

const MIB = 1024 * 1024;
const NOT_STARTED_BY_OTHERS = { isPulled: false, isSteered: false, relayPort: undefined };
const WHOLE_DISK = { s3Endpoint: undefined, domainMapfile: undefined, isUsedOnly: false, mapAlso: [] };
const DEFAULTS: SendOptions = {
  sources: ['/dev/sdc'],
  ticket: undefined,
  far: undefined,
  isPulled: false,
  isSteered: false,
  relayPort: undefined,
  ticketFile: undefined,
  identity: undefined,
  connect: undefined,
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
  isProbe: false,
  isCheck: false,
  isKeptOpen: false,
  format: 'auto',
  onReadError: 'stop',
  mapfile: undefined,
  ...WHOLE_DISK,
  progress: 'auto',
  web: undefined,
  hooks: { onDone: undefined, onTrouble: undefined, troubleAfterMs: 300_000, isBell: false },
};

const HOOKS = ['--on-done=mail root', '--on-trouble', 'logger "$DDT_CODE"', '--trouble-after=1m', '--bell'];

function parse(...argv: readonly string[]): SendOptions | 'help' {
  return parseSendArgs(argv, (text) => assert.fail(`printed: ${text}`));
}

test('only the source is required: everything else has a default', () => {
  assert.deepEqual(parse('/dev/sdc'), DEFAULTS);
});

const FAR = {
  destination: { login: 'root@vm', port: undefined, path: '/dev/vdd' },
  paths: ['/dev/vdd'],
  sshCommand: 'ssh',
  remoteProgram: undefined,
  programFile: undefined,
  remoteDir: '/var/lib/dd-transfer',
  isKept: false,
  listen: undefined,
  always: ['--verify', 'read-back'],
  first: [],
};

test('a target on a machine that ssh reaches is told from a ticket', () => {
  assert.deepEqual(parse('/dev/sdc', 'root@vm:/dev/vdd'), { ...DEFAULTS, far: FAR });
  const words = ['--ssh', 'ssh -i key', '--program', 'ddt-linux-arm64', '--remote-dir=/srv/ddt/', '--keep'];
  const more = ['--listen', '127.0.0.1:8443', '--verify', 'none', '--overwrite-target', '--adopt'];
  const again = ['--discard-transfer', '--yes', '--target-format', 'raw', '--format', 'qcow2'];
  assert.deepEqual(parse(...words, ...more, ...again, '/dev/sdc', 'ssh://root@vm:22/dev/vdd'), {
    ...DEFAULTS,
    isConfirmed: true,
    format: 'qcow2',
    far: {
      ...FAR,
      destination: { login: 'root@vm', port: 22, path: '/dev/vdd' },
      sshCommand: 'ssh -i key',
      programFile: 'ddt-linux-arm64',
      remoteDir: '/srv/ddt',
      isKept: true,
      listen: '127.0.0.1:8443',
      always: ['--verify', 'none', '--format', 'raw', '--overwrite-target'],
      first: ['--discard-transfer', '--adopt', '--yes'],
    },
  });
});

test('options of a machine that ssh reaches mean nothing with a ticket, and the other way round', () => {
  for (const [message, ...argv] of [
    ['--keep is only for a target like root@vm:/dev/vdd', '--keep', '/dev/sdc', 'https://vm/#pin=x'],
    ['--target-format is only for a target like root@vm:/dev/vdd', '--target-format=raw', '/dev/sdc'],
    ['--update is only for a target like root@vm:/dev/vdd', '--update', '/dev/sdc'],
    [
      '--ticket-file and a target like root@vm:/dev/vdd exclude each other',
      '--ticket-file',
      'ticket',
      '/dev/sdc',
      'vm:/dev/vdd',
    ],
    ["--remote-dir 'here' is not an absolute path", '--remote-dir', 'here', '/dev/sdc', 'vm:/dev/vdd'],
    ['--program and --remote-program exclude each other', '--program=a', '--remote-program=b', 'a', 'vm:b'],
  ] as const) {
    assert.throws(() => parse(...argv), { name: 'TransferError', code: 'usage', message });
  }
});

test('several sources have as many targets on one machine, or lines in a file', () => {
  const sources = ['/dev/sda', '/dev/sdb'];
  const far = {
    ...FAR,
    destination: { login: 'root@vm', port: undefined, path: '/a,/b' },
    paths: ['/a', '/b'],
  };
  assert.deepEqual(parse(...sources, 'root@vm:/a,/b'), { ...DEFAULTS, sources, far });
  const url = 'ssh://root@vm:22/a,/b';
  const paths = ['/a', '/b'];
  const pathsOf = (...argv: readonly string[]): readonly string[] | undefined => {
    const options = parse(...argv);
    return options === 'help' ? undefined : options.far?.paths;
  };
  assert.deepEqual(pathsOf(...sources, url), paths);
  assert.deepEqual(pathsOf('/dev/sda', 'root@vm:/a,/b'), ['/a,/b'], 'a comma in a name');
  assert.deepEqual(parse(...sources, '--ticket-file', 't'), { ...DEFAULTS, sources, ticketFile: 't' });
  for (const [message, ...argv] of [
    ['2 sources and 1 target: each source needs one', ...sources, 'vm:/a'],
    ['2 sources and 3 targets: each source needs one', ...sources, 'vm:/a,/b,/c'],
    ['2 sources and 2 targets: each source needs one', ...sources, 'vm:/a,'],
    ['--mapfile is for one source, and 2 are given', ...sources, 'vm:/a,/b', '--mapfile', 'm'],
    ['--source-size is for one source, and 2 are given', ...sources, '--ticket-file=t', '--source-size=1'],
    ['standard input cannot be one of several sources', '-', '/dev/sdb', 'vm:/a,/b'],
    [
      '--ticket-file and a target like root@vm:/dev/vdd exclude each other',
      ...sources,
      'vm:/a,/b',
      '--ticket-file=t',
    ],
  ] as const) {
    assert.throws(() => parse(...argv), { name: 'TransferError', code: 'usage', message });
  }
});

test('every option is read in its unit, before and after the arguments', () => {
  const all = ['--connections', '64', '--block-size=64KiB', '--retry-for', '15m', '--memory', '16MiB'];
  const expected: SendOptions = {
    sources: ['disk.img'],
    ticket: 'https://vm:8443/#pin=x&token=y',
    far: undefined,
    ...NOT_STARTED_BY_OTHERS,
    ticketFile: 'ticket.txt',
    identity: 'id_rsa',
    connect: { host: '2001:db8::7', port: 9443 },
    connections: 64,
    blockSizeBytes: 65_536,
    sourceSizeBytes: null,
    retryForMs: 900_000,
    firstContactForMs: 900_000,
    web: undefined,
    memoryBytes: 16 * MIB,
    bwlimit: '08:00,512K 19:00,off',
    digest: 'blake3',
    compress: 7,
    receiptFile: 'receipt.json',
    isConfirmed: true,
    isDryRun: true,
    isProbe: false,
    isCheck: false,
    isKeptOpen: false,
    format: 'qcow2',
    onReadError: 'zero',
    mapfile: 'disk.map',
    ...WHOLE_DISK,
    progress: 'json',
    hooks: { onDone: 'mail root', onTrouble: 'logger "$DDT_CODE"', troubleAfterMs: 60_000, isBell: true },
  };
  const files = [
    '--format=qcow2',
    '--ticket-file',
    'ticket.txt',
    '--identity=id_rsa',
    '--receipt=receipt.json',
    '--mapfile=disk.map',
  ];
  const rest = [...files, '--yes', '--progress', 'json', '--dry-run', '--on-read-error', 'zero'];
  rest.push(
    '--connect',
    '[2001:db8::7]:9443',
    '--bwlimit',
    '08:00,512K 19:00,off',
    '--compress',
    'zstd:7',
    '--digest',
    'blake3',
  );
  rest.push(...HOOKS);
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
  assert.deepEqual(parse('-', '--source-size', '1000'), {
    ...DEFAULTS,
    sources: ['-'],
    sourceSizeBytes: 1000,
  });
  assert.deepEqual(parse('--', '--odd-name'), { ...DEFAULTS, sources: ['--odd-name'] });
});

test('each mistake has its own message', () => {
  for (const [argv, message] of [
    [['--bogus', '/dev/sdc'], "unknown option '--bogus'"],
    [['/dev/sdc', '--conections', '9'], "unknown option '--conections'"],
    [['--memory'], '--memory needs a value: --memory <size>'],
    [['--progress', 'json'], 'no source given'],
    [['a', 'b', 'c'], 'expected a source and a ticket, got 3 arguments'],
    [['a', '--progress', 'loud'], "--progress 'loud' is not one of auto, tty, plain, json, none"],
    [['a', '--compress', 'gzip'], "--compress 'gzip' is not auto, none, zstd, or zstd:1 to zstd:19"],
    [['a', '--digest', 'sha256'], '--digest sha256 is not one of auto, sha-256, blake3'],
    [['a', '--compress', 'zstd:20'], "--compress 'zstd:20' is not auto, none, zstd, or zstd:1 to zstd:19"],
    [['a', '--connections', '0'], "--connections '0' is not a whole number from 1 to 64"],
    [['a', '--connections', '65'], "--connections '65' is not a whole number from 1 to 64"],
    [['a', '--connections', 'many'], "--connections 'many' is not a whole number from 1 to 64"],
    [['a', '--block-size', '3MiB'], '--block-size 3MiB is not a power of two from 64 KiB to 16 MiB'],
    [['a', '--block-size', '32K'], '--block-size 32K is not a power of two from 64 KiB to 16 MiB'],
    [['a', '--block-size', '32MiB'], '--block-size 32MiB is not a power of two from 64 KiB to 16 MiB'],
    [['a', '--block-size', 'big'], "--block-size 'big' is not a size"],
    [['a', '--memory', '16777215'], '--memory 16777215 is less than one block of 16MiB'],
    [['a', '--memory', ''], "--memory '' is not a size"],
    [['a', '--retry-for', '24'], "--retry-for '24' is not a duration"],
    [['-', '--source-size', 'all'], "--source-size 'all' is not a size"],
    [['a', '--connect', 'vm:'], "--connect 'vm:' is not host[:port]"],
    [['a', '--connect', 'https://vm/'], "--connect 'https://vm/' is not host[:port]"],
    [['a', '--connect', 'vm:0'], "--connect port '0' is not a whole number from 1 to 65535"],
  ] as const) {
    assert.throws(() => parse(...argv), { name: 'TransferError', code: 'usage', message }, argv.join(' '));
  }
  assert.throws(() => parse('--bogus'), { hint: 'ddt-send --help' });
});

test('without arguments there is one line and a hint', () => {
  assert.throws(() => parse(), { code: 'usage', message: 'no source given', hint: 'ddt-send --help' });
});

const TOKEN = 'ddt1.eyJ2IjoxLCJhdWQi.U1NIU0lHAAAA';
const TICKET = `https://vm:8443/#pin=sha256//AAAA&token=${TOKEN}`;

test('source and ticket are taken in either order, and a ticket that was split at blanks is joined', () => {
  const [head, tail] = [TICKET.slice(0, 40), TICKET.slice(40)];
  for (const [argv, ticket] of [
    [['/dev/sdc', TICKET], TICKET],
    [[TICKET, '/dev/sdc'], TICKET],
    [['/dev/sdc', 'ticket:', TICKET], `ticket: ${TICKET}`],
    [['ticket:', TICKET, '/dev/sdc'], `ticket: ${TICKET}`],
    [['/dev/sdc', head, tail], `${head} ${tail}`],
    [[`'${head}`, tail, '/dev/sdc'], `'${head} ${tail}`],
    [['/dev/sdc', `ddt-send /dev/sdX '${TICKET}'`], `ddt-send /dev/sdX '${TICKET}'`],
  ] as const) {
    assert.deepEqual(parse(...argv), { ...DEFAULTS, ticket }, argv.join(' '));
  }
});

test('a ticket without a source, and pieces of a token, are refused without showing anything of them', () => {
  const pieces = TICKET.match(/.{1,25}/g) ?? [];
  for (const [argv, message] of [
    [[TICKET], /^no source given: the only argument is a ticket$/],
    [['/dev/sdc', ...pieces.toReversed()], /^expected a source and a ticket, got 4 arguments$/],
    [['/dev/sdc', TICKET, '-IU0lHAA'], /^expected a source and a ticket, got 3 arguments$/],
    [['/dev/sdc', 'ticket:', '--U1NIU0lH'], /^expected a source and a ticket, got 3 arguments$/],
  ] as const) {
    assert.throws(
      () => parse(...argv),
      (error) => {
        assert(error instanceof TransferError && error.code === 'usage', String(error));
        assert.match(error.message, message);
        assert.match(error.hint ?? '', /ddt-send <source> '<ticket>'$/);
        assert.doesNotMatch(error.message + error.hint, /ey|U1NI|U0lH|sha256/);
        return true;
      },
    );
  }
});

test('help goes to standard output, fits 80 columns, breaks no word and names every option', () => {
  for (const flag of ['--help', '-h']) {
    let text = '';
    const print = (part: string): void => void (text += part);
    assert.equal(parseSendArgs(['/dev/sdc', flag], print), 'help');
    const lines = text.trimEnd().split('\n');
    assert(lines.length <= 93, `${lines.length} lines`);
    assert.deepEqual(
      lines.filter((line) => line.length > 80),
      [],
    );
    const words = text.replaceAll(/\s+/g, ' ');
    for (const whole of [
      "2M, or a timetable: '08:00,512K 19:00,off', or @file with either",
      'sends nothing, exits with 3',
      "ddt-send /dev/sdc 'https://203.0.113.7:8443/#pin=…&token=…'",
      'Exit status: 0 verified, 2 usage, 3 finished but not proven, 4 refused, 5 device failure',
    ]) {
      assert(words.includes(whole), whole);
    }
    const options = Object.keys(OPTION_OF_MEMBER);
    for (const name of options) assert.match(text, new RegExp(`^ {2}--${name}( <|$| )`, 'm'));
    assert.match(text, /DDT_TICKET/);
  }
});

/** Every option, and the member of {@link SendOptions} that it sets. */
const OPTION_OF_MEMBER: Readonly<Record<string, keyof SendOptions>> = {
  'ticket-file': 'ticketFile',
  connect: 'connect',
  connections: 'connections',
  'block-size': 'blockSizeBytes',
  'source-size': 'sourceSizeBytes',
  'retry-for': 'retryForMs',
  memory: 'memoryBytes',
  bwlimit: 'bwlimit',
  digest: 'digest',
  compress: 'compress',
  receipt: 'receiptFile',
  web: 'web',
  yes: 'isConfirmed',
  'dry-run': 'isDryRun',
  check: 'isCheck',
  'keep-open': 'isKeptOpen',
  'on-read-error': 'onReadError',
  mapfile: 'mapfile',
  'domain-mapfile': 'domainMapfile',
  'used-only': 'isUsedOnly',
  'map-also': 'mapAlso',
  progress: 'progress',
};

test('--version prints what a bug report needs, on one line', () => {
  const printed: string[] = [];
  assert.equal(
    parseSendArgs(['--version'], (text) => printed.push(text)),
    'help',
  );
  assert.deepEqual(printed, [`${VERSION_TEXT}\n`]);
});

test('the examples of the help parse', () => {
  let text = '';
  parseSendArgs(['--help'], (part) => {
    text += part;
  });
  const examples = [...text.matchAll(/^ {2}(?:DDT_TICKET='[^']*' |zcat \S+ \| )?ddt-send (.*)$/gm)].map(
    ([, line = '']) =>
      // A comment follows two blanks.
      (line.split(/ {2,}/)[0] ?? '')
        .replace('<ticket>', 'https://vm:8443/#pin=…')
        .split(' ')
        .map((word) => word.replaceAll("'", '')),
  );
  assert.equal(examples.length, 8);
  for (const argv of examples) assert.notEqual(parse(...argv), 'help');
});

test('any arguments give options, help or a usage error', () => {
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
