/** What ddt-receive takes for copies in an object store. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseReceiveArgs, type ReceiveOptions } from '../../receiver/cli.ts';

function parse(...argv: readonly string[]): ReceiveOptions {
  const command = parseReceiveArgs(argv, () => assert.fail());
  assert(command.kind === 'receive');
  return command.options;
}

test('what means nothing for a copy in an object store is a usage error', () => {
  const [one, two] = ['s3://disks/x#web1', 's3://disks/x#web2'];
  assert.deepEqual(parse(one, two).targets, [one, two]);
  assert.equal(parse('--s3-endpoint', 'http://x', one).s3Endpoint, 'http://x');
  for (const [argv, message] of [
    [[one, 'disk.img'], /^only copies in s3:\/\/disks\/x can be served beside s3:\/\/disks\/x#web1$/],
    [['disk.img', one], /^only copies in s3:\/\/disks\/x can be served/],
    [[one, 's3://disks/y#web1'], /^only copies in/],
    [['s3://disks/x#web1@2026-11-29T14:30:00Z'], /^cannot write to s3:\S+Z: that copy is sealed$/],
    [['--update', one], /^--update cannot be combined with s3:\/\/disks\/x#web1$/],
    [['--adopt', one], /^--adopt cannot be combined with s3:/],
    [['--format', 'raw', one], /^--format raw cannot be combined with s3:/],
    [['--s3-endpoint', 'http://x', 'disk.img'], /^--s3-endpoint is only for a target like s3:/],
    [['s3://D/x#web1'], /^cannot read 's3:\/\/D\/x#web1': 'D' is not the name of a bucket$/],
  ] as const) {
    assert.throws(() => parse(...argv), { code: 'usage', message });
  }
});
