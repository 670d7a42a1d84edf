import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../common/errors.ts';
import { VERSION_TEXT } from '../../common/protocol/version.ts';
import { parseReceiveArgs, type ReceiveOptions } from '../../receiver/cli.ts';

const MIB = 1024 * 1024;
const DEFAULTS: ReceiveOptions = {
  target: '/dev/vdd',
  listenHost: '0.0.0.0',
  listenPort: 8443,
  advertise: undefined,
  stateDir: undefined,
  ticketFile: undefined,
  overwriteTarget: false,
  discardTransfer: false,
  once: false,
  isReadBack: true,
  maxConnections: 256,
  memoryBytes: 256 * MIB,
  log: 'text',
  tlsCert: undefined,
  tlsKey: undefined,
  curlHelp: false,
};

function parse(...argv: readonly string[]): ReceiveOptions | 'help' {
  return parseReceiveArgs(argv, (text) => assert.fail(`printed: ${text}`));
}

test('a target is enough: everything else has a default', () => {
  assert.deepEqual(parse('/dev/vdd'), DEFAULTS);
});

test('every option is read, before and after the target', () => {
  const files = ['--state-dir', 'state', '--ticket-file=t.txt', '--tls-cert', 'c.pem', '--tls-key', 'k.pem'];
  const numbers = ['--listen', '[::1]:0', '--max-connections', '4096', '--memory', '64MiB', '--log', 'json'];
  const flags = ['--verify', 'none', '--overwrite-target', '--discard-transfer', '--once', '--curl-help'];
  const advertise = ['--advertise', 'vm.example.net:443'];
  const expected: ReceiveOptions = {
    target: 'disk.img',
    listenHost: '::1',
    listenPort: 0,
    advertise: { host: 'vm.example.net', port: 443 },
    stateDir: 'state',
    ticketFile: 't.txt',
    overwriteTarget: true,
    discardTransfer: true,
    once: true,
    isReadBack: false,
    maxConnections: 4096,
    memoryBytes: 64 * MIB,
    log: 'json',
    tlsCert: 'c.pem',
    tlsKey: 'k.pem',
    curlHelp: true,
  };
  assert.deepEqual(parse(...files, ...numbers, ...flags, ...advertise, 'disk.img'), expected);
  assert.deepEqual(parse('disk.img', ...advertise, ...flags, ...numbers, ...files), expected);
  for (const [flag, name] of [
    ['--overwrite-target', 'overwriteTarget'],
    ['--discard-transfer', 'discardTransfer'],
    ['--once', 'once'],
    ['--curl-help', 'curlHelp'],
  ] as const) {
    assert.deepEqual(parse('/dev/vdd', flag), { ...DEFAULTS, [name]: true }, 'that one and no other');
  }
});

test('an address to listen on is a port, or a host and a port', () => {
  for (const [text, listenHost, listenPort] of [
    ['9000', '0.0.0.0', 9000],
    ['0', '0.0.0.0', 0],
    ['65535', '0.0.0.0', 65_535],
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
    ['[2001:db8::7]', '[2001:db8::7]', undefined],
    ['[2001:db8::7]:9000', '[2001:db8::7]', 9000],
  ] as const) {
    assert.deepEqual(
      parse('--advertise', text, '/dev/vdd'),
      { ...DEFAULTS, advertise: { host, port } },
      text,
    );
  }
});

test('each mistake has its own sentence', () => {
  for (const [argv, message] of [
    [['--bogus'], "unknown option '--bogus'"],
    [['a', '--discard-transfers'], "unknown option '--discard-transfers'"],
    [['--once'], 'no target given'],
    [['a', 'b'], 'too many arguments. Expected 1 argument but got 2: a, b.'],
    [['a', '--listen'], '--listen needs a value: --listen <[host:]port>'],
    [['a', '--listen', 'everywhere'], "--listen 'everywhere' is not [host:]port"],
    [['a', '--listen', ':8443'], "--listen ':8443' is not [host:]port"],
    [['a', '--listen', '::1:8443'], "--listen '::1:8443' is not [host:]port"],
    [['a', '--listen', '[::1]'], "--listen '[::1]' is not [host:]port"],
    [['a', '--listen', ''], "--listen '' is not [host:]port"],
    [['a', '--listen', '65536'], "port '65536' is not a whole number from 0 to 65535"],
    [['a', '--advertise', 'https://vm'], "--advertise 'https://vm' is not host[:port]"],
    [['a', '--advertise', '::1'], "--advertise '::1' is not host[:port]"],
    [['a', '--advertise', 'vm:'], "--advertise 'vm:' is not host[:port]"],
    [['a', '--advertise', ''], "--advertise '' is not host[:port]"],
    [['a', '--advertise', 'vm:0'], "port '0' is not a whole number from 1 to 65535"],
    [['a', '--max-connections', '0'], "--max-connections '0' is not a whole number from 1 to 4096"],
    [['a', '--max-connections', '4097'], "--max-connections '4097' is not a whole number from 1 to 4096"],
    [['a', '--memory', '67108863'], '--memory 67108863 is too little: at least 64 MiB'],
    [['a', '--memory', 'lots'], "'lots' is not a size"],
    [['a', '--log', 'xml'], "--log 'xml' is not one of text, json"],
  ] as const) {
    assert.throws(() => parse(...argv), { name: 'TransferError', code: 'usage', message }, argv.join(' '));
  }
  assert.throws(() => parse('--bogus'), { hint: 'ddt-receive --help' });
  assert.throws(() => parse('a', '--listen', 'x'), { hint: 'for example --listen 0.0.0.0:8443' });
});

test('without arguments the usage is shown, as a usage error: exit status 2', () => {
  assert.throws(
    () => parse(),
    (error) => {
      assert(error instanceof TransferError);
      assert.equal(error.code, 'usage');
      assert.match(error.message, /^no target given\nUsage: ddt-receive \[options\] <target>\n/);
      assert.match(error.message, /\nExamples:\n {2}ddt-receive /);
      return true;
    },
  );
});

function help(flag = '--help'): string {
  let text = '';
  assert.equal(
    parseReceiveArgs([flag], (part) => {
      text += part;
    }),
    'help',
  );
  return text;
}

test('help goes to standard output, fits one screen and names every option', () => {
  assert.equal(help('-h'), help());
  const lines = help().trimEnd().split('\n');
  assert(lines.length >= 24 && lines.length <= 45, `${lines.length} lines`);
  const wide = lines.filter((line) => /^.{101}/u.test(line));
  assert.deepEqual(wide, []);
  const names = ['listen', 'advertise', 'state-dir', 'ticket-file', 'overwrite-target', 'discard-transfer'];
  names.push('once', 'max-connections', 'memory', 'log', 'tls-cert', 'tls-key', 'curl-help');
  for (const name of names) assert.match(help(), new RegExp(`^ {2}--${name}\\b`, 'm'));
  assert.match(help(), /Exit status: 0 sealed, 2 usage, 4 refused, 5 device failure, 130\/143 interrupted/);
});

test('--version says what a report of a bug needs of both ends, on one line', () => {
  const printed: string[] = [];
  assert.equal(
    parseReceiveArgs(['--version'], (text) => printed.push(text)),
    'help',
  );
  assert.deepEqual(printed, [`${VERSION_TEXT}\n`]);
});

test('the examples of the help are command lines that are understood', () => {
  const examples = [...help().matchAll(/^ {2}ddt-receive (.*?) {2,}/gm)].map(([, line = '']) =>
    line.split(' '),
  );
  assert.equal(examples.length, 3);
  for (const argv of examples) assert.notEqual(parse(...argv), 'help');
});

test('whatever the arguments are: options, help or a usage error', () => {
  const word = fc.oneof(
    fc.constantFrom('-', '--', '/dev/vdd', '--memory', '--log', 'json', '--listen', '9', '--once', '-x', ''),
    fc.constantFrom(
      '--__proto__',
      '--constructor',
      '--no-once',
      '--listen=[',
      '--advertise',
      '[::1]:5',
      '--help=5',
    ),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      try {
        const options = parseReceiveArgs(argv, () => {});
        assert(options === 'help' || (options.listenPort >= 0 && options.listenPort <= 65_535));
      } catch (error) {
        assert(error instanceof TransferError && error.code === 'usage', String(error));
      }
    }),
    { numRuns: 200 },
  );
});
