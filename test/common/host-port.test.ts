import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../common/errors.ts';
import { formatHostPort, parseHostPort } from '../../common/host-port.ts';

test('hosts are names, IPv4 and IPv6 addresses, with or without a port', () => {
  for (const [text, host, port] of [
    ['vm', 'vm', undefined],
    ['vm.example.org:8443', 'vm.example.org', 8443],
    ['203.0.113.7:1', '203.0.113.7', 1],
    ['2001:db8::7', '2001:db8::7', undefined],
    ['::1', '::1', undefined],
    ['[::1]', '::1', undefined],
    ['[::ffff:203.0.113.7]:65535', '::ffff:203.0.113.7', 65_535],
  ] as const) {
    assert.deepEqual(parseHostPort(text, '--x'), { host, port }, text);
    if (port !== undefined) assert.equal(formatHostPort(host, port), text);
  }
});

test('anything else is refused, naming the option', () => {
  for (const text of ['', ':8443', 'vm:', '[vm]:1', 'a b', 'https://vm', 'vm/x', 'root@vm', '[::1', '::1]:1'])
    assert.throws(() => parseHostPort(text, '--x'), {
      code: 'usage',
      message: `--x '${text}' is not host[:port]`,
    });
  for (const port of ['0', '65536', '99999'])
    assert.throws(() => parseHostPort(`vm:${port}`, '--x'), {
      message: `--x port '${port}' is not a whole number from 1 to 65535`,
    });
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (text) => {
      try {
        const { host, port } = parseHostPort(text, '--x');
        assert(URL.canParse(`https://${formatHostPort(host, port ?? 1)}/`) || /[.:]/.test(host), text);
      } catch (error) {
        assert(error instanceof TransferError && error.code === 'usage');
      }
    }),
  );
});
