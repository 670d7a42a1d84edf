import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { digestNow } from '../../../common/digest/digest.ts';
import { BLOCK_BYTES, listedIn } from '../../support/open-transfer.ts';
import { BODY, BODY_BASE64, BODY_HEX, GOOD_QUERY, startUntouched } from '../../support/untouched.ts';

test('a body may be zstd or gzip, with the digest of the plain bytes', async () => {
  await using at = await startUntouched();
  const [zstd, gzip] = [zstdCompressSync(BODY), gzipSync(BODY)];
  const codings: [string, Buffer][] = [
    ['zstd', zstd],
    [' ZSTD ', zstd],
    ['gzip', gzip],
    ['x-gzip', gzip],
    ['identity', BODY],
    ['zstd', Buffer.concat([zstdCompressSync(BODY.subarray(0, 5)), zstdCompressSync(BODY.subarray(5))])],
  ];
  for (const [coding, body] of codings) {
    const answer = await at.put(GOOD_QUERY, { 'content-encoding': coding }, body);
    assert.deepEqual([answer.status, answer.json()['sha256']], [200, BODY_HEX], coding);
  }
  const encodedDigest = { 'content-digest': `sha-256=:${digestNow(zstd).toString('base64')}:` };
  assert.equal(
    (await at.put(GOOD_QUERY, { 'content-encoding': 'zstd', ...encodedDigest }, zstd)).status,
    200,
  );
});

test('Content-Digest of an encoded body does not replace the digest of the block', async () => {
  await using at = await startUntouched();
  const zstd = zstdCompressSync(BODY);
  const headers = {
    'content-encoding': 'zstd',
    'content-digest': `sha-256=:${digestNow(zstd).toString('base64')}:`,
  };
  await at.refuses(400, 'digest-required', '', headers, zstd);
  const wrong = { 'content-encoding': 'zstd', 'content-digest': `sha-256=:${BODY_BASE64}:` };
  await at.refuses(400, 'digest-mismatch', GOOD_QUERY, wrong, zstd);
});

test('other codings are refused with the list of those supported', async () => {
  await using at = await startUntouched();
  for (const coding of [
    'br',
    'deflate',
    'zstd, zstd',
    'zstd, identity',
    'gzip, zstd',
    '',
    'aws-chunked',
    'xz',
  ]) {
    const answer = await at.refuses(415, 'unsupported-encoding', GOOD_QUERY, { 'content-encoding': coding });
    assert.equal(answer.headers['accept-encoding'], 'zstd, gzip, identity');
  }
});

test('an encoded body that is truncated, corrupt, too long or too short changes nothing', async () => {
  await using at = await startUntouched();
  const zstd = zstdCompressSync(BODY);
  const flipped = Buffer.from(zstd);
  flipped.writeUInt8((flipped[30_000] ?? 0) ^ 1, 30_000);
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  const bodies: [Buffer, [number, string], string?][] = [
    [zstdCompressSync(Buffer.alloc(2 ** 27)), [422, 'length-mismatch']],
    [zstdCompressSync(BODY.subarray(1)), [422, 'length-mismatch']],
    [
      Buffer.concat([zstdCompressSync(BODY.subarray(1)), zstdCompressSync(BODY.subarray(1))]),
      [413, 'too-large'],
    ],
    [skippable, [422, 'length-mismatch']],
    [zstd.subarray(0, -1), [422, 'decode-failed']],
    [zstd.subarray(0, 1000), [422, 'decode-failed']],
    [Buffer.alloc(0), [422, 'decode-failed']],
    [gzipSync(BODY), [422, 'decode-failed']],
    [BODY, [422, 'decode-failed']],
    [gzipSync(BODY).subarray(0, -1), [422, 'decode-failed'], 'gzip'],
    [gzipSync(Buffer.alloc(2 ** 27)), [413, 'too-large'], 'gzip'],
    [Buffer.alloc(BLOCK_BYTES + 1025), [413, 'too-large']],
    [flipped, [400, 'digest-mismatch']],
  ];
  for (const [body, expected, coding = 'zstd'] of bodies) {
    await at.refuses(...expected, GOOD_QUERY, { 'content-encoding': coding }, body);
  }
});

test('junk after a zstd frame, or a skippable frame, never changes what is written', async () => {
  await using at = await startUntouched();
  const zstd = zstdCompressSync(BODY);
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  for (const body of [Buffer.concat([zstd, Buffer.from('junk')]), Buffer.concat([skippable, zstd])]) {
    const answer = await at.put(GOOD_QUERY, { 'content-encoding': 'zstd' }, body);
    // Versions of Node may accept or refuse it, but not write anything else.
    if (answer.status !== 200) assert.deepEqual([answer.status, answer.code], [422, 'decode-failed']);
    else assert.equal(listedIn(at.app.transfer.journal).get(2), BODY_HEX);
  }
});
