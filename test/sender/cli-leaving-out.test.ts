/** Arguments that say what of a source is not copied. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSendArgs, type SendOptions } from '../../sender/cli.ts';

function parse(...argv: readonly string[]): SendOptions | 'help' {
  return parseSendArgs(argv, (text) => assert.fail(`printed: ${text}`));
}

test('a map of what is copied is read as it was given', () => {
  const { domainMapfile, isUsedOnly } = parse('--domain-mapfile', 'used.map', '/dev/sdc') as SendOptions;
  assert.deepEqual([domainMapfile, isUsedOnly], ['used.map', false]);
});

test('--used-only takes the file systems whose maps have been wrong only by name', () => {
  const { isUsedOnly, mapAlso } = parse('--used-only', '/dev/sdc') as SendOptions;
  assert.deepEqual([isUsedOnly, mapAlso], [true, []]);
  const both = parse('--used-only', '--map-also', 'ntfs,btrfs', '/dev/sdc') as SendOptions;
  assert.deepEqual(both.mapAlso, ['ntfs', 'btrfs']);
  for (const [argv, message] of [
    [['--map-also', 'ntfs', '/dev/sdc'], /^--map-also is only for --used-only$/],
    [['--used-only', '--map-also', 'xfs', '/dev/sdc'], /^--map-also takes ntfs, btrfs, not 'xfs'$/],
    [['--used-only', '--domain-mapfile', 'm', '/dev/sdc'], /^--domain-mapfile and --used-only exclude /],
    [['--used-only', '--probe', '/dev/sdc'], /^--probe and --used-only exclude each other$/],
    [['--domain-mapfile', 'm', 'a', 'b', 'vm:/c,/d'], /^--domain-mapfile is for one source/],
  ] as const) {
    assert.throws(() => parse(...argv), { name: 'TransferError', code: 'usage', message });
  }
});
