import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseSendArgs } from '../../sender/cli.ts';

function parse(...argv: readonly string[]): Exclude<ReturnType<typeof parseSendArgs>, 'help'> {
  const options = parseSendArgs(argv, (text) => assert.fail(`printed: ${text}`));
  assert(options !== 'help');
  return options;
}

test('a copy in an object store is a source, and no machine', () => {
  const source = 's3://disks/vm#web1@2026-11-29T14:30:00Z';
  assert.deepEqual(parse(source).sources, [source]);
  const { sources, far } = parse(source, 'root@vm:/dev/vdd');
  assert.deepEqual([sources, far?.destination.login], [[source], 'root@vm']);
});

test('an endpoint is for a source in an object store', () => {
  const endpoint = 'https://objects.example.com';
  assert.equal(parse('--s3-endpoint', endpoint, 's3://disks#web1').s3Endpoint, endpoint);
  assert.equal(parse('s3://disks#web1').s3Endpoint, undefined);
  assert.throws(() => parse('--s3-endpoint', endpoint, '/dev/sdc'), {
    code: 'usage',
    message: '--s3-endpoint is for a source in an object store',
  });
});
