import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseWatchAddress } from '../../../common/watch/watch-address.ts';
import { parseReceiveArgs } from '../../../receiver/cli.ts';
import { parseSendArgs } from '../../../sender/cli.ts';

/** As both commands read it, which take the same disk. */
function webOf(argv: readonly string[]): readonly unknown[] {
  const sending = parseSendArgs(argv, assert.fail);
  const receiving = parseReceiveArgs(argv, assert.fail);
  assert(sending !== 'help' && receiving.kind === 'receive');
  assert.deepEqual(sending.web, receiving.options.web);
  assert.deepEqual(sending.sources, receiving.options.targets);
  const [disk] = sending.sources;
  return [disk, sending.web?.host, sending.web?.port];
}

test('--web takes an address where one follows, and never a disk', () => {
  for (const [argv, host, port] of [
    [['--web', '9000', '/dev/sdc'], '127.0.0.1', 9000],
    [['--web', '192.0.2.7:9000', '/dev/sdc'], '192.0.2.7', 9000],
    [['--web', ':9000', '/dev/sdc'], '127.0.0.1', 9000],
    [['--web=[::1]:0', '/dev/sdc'], '::1', 0],
    [['--web', '/dev/sdc'], '127.0.0.1', 0],
    [['/dev/sdc', '--web'], '127.0.0.1', 0],
    [['--web', '--yes', '/dev/sdc'], '127.0.0.1', 0],
    [['--web', '--', '/dev/sdc'], '127.0.0.1', 0],
    [['/dev/sdc'], undefined, undefined],
  ] as const) {
    assert.deepEqual(webOf(argv), ['/dev/sdc', host, port], argv.join(' '));
  }
  assert.deepEqual(webOf(['--', '--web']), ['--web', undefined, undefined]);
});

test('what is not an address is named', () => {
  for (const text of ['here', 'vm:', '1:2:3', '[::1]', '65536', 'http://localhost:9000']) {
    assert.throws(() => parseWatchAddress(text), { code: 'usage', message: /--web / }, text);
  }
});
