import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../common/errors.ts';
import { VERSION_TEXT } from '../../common/protocol/version.ts';
import { parseReceiveArgs, wantsJsonLog, type ReceiveOptions } from '../../receiver/cli.ts';
import type { PullOptions } from '../../receiver/pull/pull.ts';

const MIB = 1024 * 1024;
const DEFAULTS: ReceiveOptions = {
  targets: ['/dev/vdd'],
  listenHost: undefined,
  listenPort: 8443,
  advertise: undefined,
  stateDir: undefined,
  ticketFile: undefined,
  readTicketFile: undefined,
  allowSigners: undefined,
  format: 'auto',
  s3Endpoint: undefined,
  overwriteTarget: false,
  discardTransfer: false,
  isConfirmed: false,
  isUpdate: false,
  isAdoption: false,
  once: false,
  senderWithinMs: undefined,
  isReadBack: true,
  maxConnections: 256,
  memoryBytes: 256 * MIB,
  log: 'text',
  tlsCert: undefined,
  tlsKey: undefined,
  curlHelp: false,
  web: undefined,
  hooks: { onDone: undefined, onTrouble: undefined, troubleAfterMs: 300_000, isBell: false },
};

function parse(...argv: readonly string[]): ReceiveOptions {
  const command = parseReceiveArgs(argv, (text) => assert.fail(`printed: ${text}`));
  assert(command.kind === 'receive');
  return command.options;
}

function parsePull(...argv: readonly string[]): PullOptions {
  const command = parseReceiveArgs(argv, (text) => assert.fail(`printed: ${text}`));
  assert(command.kind === 'pull');
  return command.options;
}

test('a second argument is a source on another machine', () => {
  assert.deepEqual(parsePull('/dev/vdd', 'root@old:/dev/sda'), {
    source: { login: 'root@old', port: undefined, path: '/dev/sda' },
    sshCommand: 'ssh',
    remoteProgram: undefined,
    programFile: undefined,
    base: '/var/lib/dd-transfer',
    isKept: false,
    advertise: undefined,
    receiver: { target: '/dev/vdd', always: [], first: [], listen: undefined },
    sendWords: [],
    retryForMs: 86_400_000,
    hooks: DEFAULTS.hooks,
  });
});

test('options beside a source go where they belong, as they were given', () => {
  const far = [
    '--ssh',
    'ssh -i key',
    '--remote-program',
    '/opt/ddt send',
    '--remote-dir',
    '/opt/d/',
    '--keep',
  ];
  const here = ['--listen', ':9000', '--advertise', 'vm', '--overwrite-target', '--memory', '64MiB'];
  const first = ['--discard-transfer', '--yes'];
  const formats = ['--format', 'raw', '--source-format=qcow2'];
  const send = ['--bwlimit', '2M', '--connections=4', '--on-read-error', 'zero', '--retry-for', '1h'];
  const all = [...far, ...here, ...first, ...send, ...formats, '--progress', 'json'];
  assert.deepEqual(parsePull(...all, 'disk.img', 'ssh://old:2222/dev/sda'), {
    source: { login: 'old', port: 2222, path: '/dev/sda' },
    sshCommand: 'ssh -i key',
    remoteProgram: '/opt/ddt send',
    programFile: undefined,
    base: '/opt/d',
    isKept: true,
    advertise: 'vm',
    receiver: {
      target: 'disk.img',
      always: ['--advertise', 'vm', '--format', 'raw', '--overwrite-target', '--memory', '64MiB'],
      first,
      listen: ':9000',
    },
    sendWords: [
      '--bwlimit',
      '2M',
      '--connections',
      '4',
      '--on-read-error',
      'zero',
      '--retry-for',
      '1h',
      '--progress',
      'json',
      '--format',
      'qcow2',
    ],
    retryForMs: 3_600_000,
    hooks: DEFAULTS.hooks,
  });
});

test('what is no source, and what means nothing beside one or without one, is a usage error', () => {
  for (const [argv, message] of [
    [['a', 'b', 'old:/dev/sda'], /^too many arguments beside a source: expected <target> /],
    [['old:/dev/sda', '/dev/vdd'], /^the target comes first: expected/],
    [['a', 'old:'], /^cannot read the source 'old:': the disk is missing after the host$/],
    [['a', 'old:-'], /^a pipe cannot be copied from another machine$/],
    [['a', 'old:b', '--once'], /^--once cannot be combined with a source like root@old:\/dev\/sda$/],
    [['a', 'old:b', '--ticket-file', 't'], /^--ticket-file cannot be combined with a source/],
    [['a', 'old:b', '--log', 'json'], /^--log cannot be combined with a source/],
    [['a', 'old:b', '--update', '--adopt'], /^--update cannot be combined with '--adopt'$/],
    [['a', 'old:b', '--program', 'p', '--remote-program', 'q'], /exclude each other$/],
    [['a', 'old:b', '--remote-dir', 'x'], /^--remote-dir 'x' is not an absolute path$/],
    [['a', '--keep'], /^--keep is only for a source like root@old:\/dev\/sda$/],
    [['a', '--bwlimit', '2M'], /^--bwlimit is only for a source/],
    [['a', 'old:b', 'c'], /^too many arguments/],
  ] as const) {
    assert.throws(() => parsePull(...argv), { name: 'TransferError', code: 'usage', message });
  }
});

test('only the target is required', () => {
  assert.deepEqual(parse('/dev/vdd'), DEFAULTS);
});

test('several targets need memory for all of them', () => {
  assert.deepEqual(parse('/dev/vdb', '--once', '/dev/vdc'), {
    ...DEFAULTS,
    targets: ['/dev/vdb', '/dev/vdc'],
    once: true,
  });
  const three = ['a', 'b', 'c', '--memory'];
  assert.equal(parse(...three, '96MiB').memoryBytes, 96 * MIB);
  const message = '--memory 95MiB is too little for 3 targets: at least 96 MiB';
  assert.throws(() => parse(...three, '95MiB'), { code: 'usage', message });
});

test('every option is accepted before and after the target', () => {
  const files = ['--state-dir', 'state', '--ticket-file=t.txt', '--tls-cert', 'c.pem', '--tls-key', 'k.pem'];
  const numbers = ['--listen', '[::1]:0', '--max-connections', '4096', '--memory', '64MiB', '--log', 'json'];
  const flags = [
    '--format=raw',
    '--verify',
    'none',
    '--overwrite-target',
    '--discard-transfer',
    '--once',
    '--curl-help',
    '--yes',
    '--adopt',
    '--bell',
  ];
  numbers.push('--on-done', 'true', '--trouble-after', '2s');
  const advertise = [
    '--web',
    '[::1]:9000',
    '--advertise',
    'vm.example.net:443',
    '--allow-signers',
    'allowed_signers',
  ];
  const expected: ReceiveOptions = {
    targets: ['disk.img'],
    listenHost: '::1',
    listenPort: 0,
    advertise: { host: 'vm.example.net', port: 443 },
    stateDir: 'state',
    ticketFile: 't.txt',
    readTicketFile: undefined,
    allowSigners: 'allowed_signers',
    format: 'raw',
    s3Endpoint: undefined,
    overwriteTarget: true,
    discardTransfer: true,
    isConfirmed: true,
    isUpdate: false,
    isAdoption: true,
    once: true,
    senderWithinMs: undefined,
    isReadBack: false,
    maxConnections: 4096,
    memoryBytes: 64 * MIB,
    log: 'json',
    tlsCert: 'c.pem',
    tlsKey: 'k.pem',
    curlHelp: true,
    web: { host: '::1', port: 9000 },
    hooks: { onDone: 'true', onTrouble: undefined, troubleAfterMs: 2000, isBell: true },
  };
  assert.deepEqual(parse(...files, ...numbers, ...flags, ...advertise, 'disk.img'), expected);
  assert.deepEqual(parse('disk.img', ...advertise, ...flags, ...numbers, ...files), expected);
  for (const [flag, name] of [
    ['--overwrite-target', 'overwriteTarget'],
    ['--discard-transfer', 'discardTransfer'],
    ['--once', 'once'],
    ['--curl-help', 'curlHelp'],
  ] as const) {
    assert.deepEqual(parse('/dev/vdd', flag), { ...DEFAULTS, [name]: true }, 'only that one');
  }
});

test('an address to listen on is a port with or without a host; without one it is every address', () => {
  for (const [text, listenHost, listenPort] of [
    ['9000', undefined, 9000],
    [':9000', undefined, 9000],
    ['0', undefined, 0],
    ['65535', undefined, 65_535],
    ['0.0.0.0:8443', '0.0.0.0', 8443],
    ['127.0.0.1:1', '127.0.0.1', 1],
    ['localhost:8443', 'localhost', 8443],
    ['[::]:8443', '::', 8443],
    ['[fe80::1%lo]:8443', 'fe80::1%lo', 8443],
  ] as const) {
    assert.deepEqual(parse('--listen', text, '/dev/vdd'), { ...DEFAULTS, listenHost, listenPort }, text);
  }
});

test('an address to advertise is a host, with or without a port', () => {
  for (const [text, host, port] of [
    ['vm', 'vm', undefined],
    ['203.0.113.7', '203.0.113.7', undefined],
    ['203.0.113.7:443', '203.0.113.7', 443],
    ['[2001:db8::7]', '2001:db8::7', undefined],
    ['[2001:db8::7]:9000', '2001:db8::7', 9000],
    ['::1', '::1', undefined],
  ] as const) {
    assert.deepEqual(
      parse('--advertise', text, '/dev/vdd'),
      { ...DEFAULTS, advertise: { host, port } },
      text,
    );
  }
});

test('each mistake has its own message', () => {
  for (const [argv, message] of [
    [['--bogus'], "unknown option '--bogus'"],
    [['a', '--discard-transfers'], "unknown option '--discard-transfers'"],
    [['--once'], 'no target given'],
    [[], 'no target given'],
    [[''], 'no target given'],
    [['--list', '/dev/vdd'], "--list cannot be combined with '/dev/vdd'"],
    [['--list', '--memory', '1GiB'], "--list cannot be combined with '--memory'"],
    [['--once', '--list'], "--list cannot be combined with '--once'"],
    [['a', ''], 'no target given'],
    [['a', 'root@old'], "'root@old' names a machine, but no disk of it"],
    [['--check-receipt', 'r.json', 'a', 'b'], "--check-receipt cannot be combined with 'b'"],
    [['--check-receipt', 'r.json'], 'no disk given'],
    [['--check-receipt', 'r.json', '--once', 'a'], "--check-receipt cannot be combined with '--once'"],
    [['--update', '--adopt', 'a'], "--update cannot be combined with '--adopt'"],
    [['--update', '--discard-transfer', 'a'], "--discard-transfer cannot be combined with '--update'"],
    [['a', '--listen'], '--listen needs a value: --listen <[host:]port>'],
    [['a', '--listen', 'everywhere'], "--listen 'everywhere' is not [host:]port"],
    [['a', '--listen', ':'], "--listen ':' is not [host:]port"],
    [['a', '--listen', '::1:8443'], "--listen '::1:8443' is not [host:]port"],
    [['a', '--listen', '[::1]'], "--listen '[::1]' is not [host:]port"],
    [['a', '--listen', ''], "--listen '' is not [host:]port"],
    [['a', '--listen', '65536'], "port '65536' is not a whole number from 0 to 65535"],
    [['a', '--advertise', 'https://vm'], "--advertise 'https://vm' is not host[:port]"],
    [['a', '--advertise', 'vm:'], "--advertise 'vm:' is not host[:port]"],
    [['a', '--advertise', ''], "--advertise '' is not host[:port]"],
    [['a', '--advertise', 'vm:0'], "--advertise port '0' is not a whole number from 1 to 65535"],
    [['a', '--max-connections', '0'], "--max-connections '0' is not a whole number from 1 to 4096"],
    [['a', '--max-connections', '4097'], "--max-connections '4097' is not a whole number from 1 to 4096"],
    [['a', '--memory', '67108863'], '--memory 67108863 is too little: at least 64 MiB'],
    [['a', '--memory', 'lots'], "'lots' is not a size"],
    [['a', '--log', 'xml'], "--log 'xml' is not one of text, json"],
  ] as const) {
    assert.throws(() => parse(...argv), { name: 'TransferError', code: 'usage', message }, argv.join(' '));
  }
  assert.throws(() => parse('--bogus'), { hint: 'ddt-receive --help' });
  assert.throws(() => parse(), { hint: 'ddt-receive --help' });
  assert.throws(() => parse('a', '--listen', 'x'), { hint: 'for example --listen :9000' });
});

function help(flag = '--help'): string {
  const parts: string[] = [];
  assert.deepEqual(
    parseReceiveArgs([flag], (part) => parts.push(part)),
    { kind: 'help' },
  );
  return parts.join('');
}

test('help goes to standard output, fits 80 columns, splits no word and names every option', () => {
  assert.equal(help('-h'), help());
  const lines = help().trimEnd().split('\n');
  assert(lines.length >= 24 && lines.length <= 115, `${lines.length} lines`);
  assert.deepEqual(
    lines.filter((line) => line.length > 80),
    [],
  );
  const names = ['listen', 'advertise', 'state-dir', 'list', 'ticket-file', 'overwrite-target', 'once'];
  names.push('yes', 'update', 'adopt', 'check-receipt', 'ssh', 'program', 'remote-program', 'remote-dir');
  names.push('keep', 'bwlimit', 'compress', 'connections', 'block-size', 'on-read-error', 'digest');
  names.push('retry-for', 'progress', 'check', 'forget', 's3-endpoint');
  names.push('discard-transfer', 'max-connections', 'memory', 'log', 'tls-cert', 'tls-key', 'curl-help');
  for (const name of names) assert.match(help(), new RegExp(`^ {2}--${name}\\b`, 'm'));
  const words = help().replaceAll(/\s+/g, ' ');
  for (const text of [
    'without a host all addresses, IPv4 and IPv6; port 0 picks a free one (default: ":8443")',
    '(default: /var/lib/dd-transfer as root, $XDG_STATE_HOME/dd-transfer otherwise)',
    'Exit status: 0 sealed, listed or equal to the receipt, 2 usage, 3 not equal to the receipt, 4 refused',
  ]) {
    assert(words.includes(text), text);
  }
});

test('--list takes a state folder and a format, and no target', () => {
  const list = (...argv: readonly string[]): unknown => parseReceiveArgs(argv, () => assert.fail());
  assert.deepEqual(list('--list'), { kind: 'list', options: { stateDir: undefined, log: 'text' } });
  assert.deepEqual(list('--state-dir', 's', '--log', 'json', '--list'), {
    kind: 'list',
    options: { stateDir: 's', log: 'json' },
  });
});

test('a relay takes a port, of this machine if no other, and nothing else', () => {
  const options = (...argv: readonly string[]): unknown => parseReceiveArgs(argv, () => assert.fail());
  assert.deepEqual(options('--relay', '8443'), { kind: 'relay', options: { host: '127.0.0.1', port: 8443 } });
  assert.deepEqual(options('--relay', '[::1]:9'), { kind: 'relay', options: { host: '::1', port: 9 } });
  assert.throws(() => options('--relay', 'x:'), {
    code: 'usage',
    message: "--relay 'x:' is not [host:]port",
  });
  for (const other of ['/dev/vdd', '--once']) {
    assert.throws(() => options('--relay', '8443', other), { code: 'usage' });
  }
});

test('how long a sender is waited for is a duration', () => {
  const command = parseReceiveArgs(['--sender-within', '45s', '/dev/vdd'], () => assert.fail());
  assert.equal(command.kind === 'receive' && command.options.senderWithinMs, 45_000);
});

test('the format of messages is known even where the arguments are wrong', () => {
  for (const argv of [
    ['--log', 'json'],
    ['--bogus', '--log=json', 'x'],
  ]) {
    assert.equal(wantsJsonLog(argv), true, argv.join(' '));
  }
  for (const argv of [[], ['json'], ['--log'], ['--log', 'text', 'json'], ['--log=jso']]) {
    assert.equal(wantsJsonLog(argv), false, argv.join(' '));
  }
});

test('--version prints on one line what a bug report needs', () => {
  const printed: string[] = [];
  assert.deepEqual(
    parseReceiveArgs(['--version'], (text) => printed.push(text)),
    { kind: 'help' },
  );
  assert.deepEqual(printed, [`${VERSION_TEXT}\n`]);
});

test('the examples of the help are valid command lines', () => {
  const examples = [...help().matchAll(/^ {2}ddt-receive (.*)$/gm)].map(([, line = '']) => line.split(' '));
  assert.equal(examples.length, 8);
  for (const argv of examples) parseReceiveArgs(argv, () => assert.fail());
});

test('any arguments give options, help or a usage error', () => {
  const word = fc.oneof(
    fc.constantFrom('-', '--', '/dev/vdd', '--memory', '--log', 'json', '--listen', '9', '--once', '-x', ''),
    fc.constantFrom('--__proto__', '--constructor', '--no-once', '--listen=['),
    fc.constantFrom('--advertise', '[::1]:5', '--help=5'),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      try {
        const command = parseReceiveArgs(argv, () => {});
        const port = command.kind === 'receive' ? command.options.listenPort : 0;
        assert(port >= 0 && port <= 65_535);
      } catch (error) {
        assert(error instanceof TransferError && error.code === 'usage', String(error));
      }
    }),
    { numRuns: 200 },
  );
});
