import assert from 'node:assert/strict';
import type { OutgoingHttpHeaders } from 'node:http';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { digestNow } from '../../../common/digest/digest.ts';
import { BLOCK_BYTES, LAST_BYTES } from '../../support/open-transfer.ts';
import { BODY, BODY_BASE64, BODY_HEX, GOOD_QUERY, startUntouched } from '../../support/untouched.ts';

const OTHER = digestNow(Buffer.alloc(1));
const OTHER_BASE64 = OTHER.toString('base64');

test('the digest has three spellings, and several may agree', async () => {
  await using at = await startUntouched();
  const spellings: [string, OutgoingHttpHeaders][] = [
    [GOOD_QUERY, {}],
    [`?digest=sha256:${BODY_HEX.toUpperCase()}`, {}],
    ['', { 'content-digest': `sha-256=:${BODY_BASE64}:` }],
    ['', { 'unencoded-digest': `sha-256=:${BODY_BASE64}:` }],
    ['', { 'content-digest': `sha-512=:AAAA:, sha-256=:${BODY_BASE64}:` }],
    ['', { 'content-digest': [`sha-512=:AAAA:`, `sha-256=:${BODY_BASE64}:`] }],
    [
      GOOD_QUERY,
      { 'content-digest': `sha-256=:${BODY_BASE64}:`, 'unencoded-digest': ` sha-256=:${BODY_BASE64}:` },
    ],
  ];
  for (const [query, headers] of spellings) {
    const answer = await at.put(query, headers);
    assert.deepEqual(
      [answer.status, answer.json()['sha256']],
      [200, BODY_HEX],
      JSON.stringify([query, headers]),
    );
  }
});

test('a PUT without a digest is refused with the command that computes one', async () => {
  await using at = await startUntouched();
  const answer = await at.refuses(400, 'digest-required', '');
  assert.match(
    String(answer.json()['detail']),
    /curl -T b "\$U\/blocks\/2\?digest=sha256:\$\(sha256sum <b \| cut -c1-64\)"/,
  );
});

test('digests that differ are a conflict, even if one of them matches', async () => {
  await using at = await startUntouched();
  const conflict = [400, 'digest-conflict'] as const;
  await at.refuses(...conflict, GOOD_QUERY, { 'content-digest': `sha-256=:${OTHER_BASE64}:` });
  await at.refuses(...conflict, `?digest=sha256:${OTHER.toString('hex')}`, {
    'unencoded-digest': `sha-256=:${BODY_BASE64}:`,
  });
  const both = `sha-256=:${OTHER_BASE64}:, sha-256=:${BODY_BASE64}:`;
  await at.refuses(...conflict, '', { 'content-digest': both });
  await at.refuses(...conflict, GOOD_QUERY, {
    'unencoded-digest': [`sha-256=:${BODY_BASE64}:`, `sha-256=:${OTHER_BASE64}:`],
  });
});

test('a query parameter that is given twice is refused', async () => {
  await using at = await startUntouched();
  const digest = `digest=sha256:${BODY_HEX}`;
  await at.refuses(400, 'bad-request', `?${digest}&digest=sha256:${OTHER.toString('hex')}`);
  await at.refuses(400, 'bad-request', `?${digest}&flush=n&flush=y`);
});

test('other algorithms and spellings of a digest are refused', async () => {
  await using at = await startUntouched();
  const unsupported = [400, 'digest-unsupported'] as const;
  for (const query of [
    `?digest=${BODY_HEX}`,
    '?digest=md5:00',
    `?digest=sha256:${BODY_HEX}0`,
    '?digest=',
    `?digest=sha256:${BODY_BASE64}`,
  ]) {
    await at.refuses(...unsupported, query);
  }
  const values = [
    '',
    'sha-512=:AAAA:',
    `sha-256=${BODY_BASE64}`,
    `sha-256=:${BODY_HEX}:`,
    `SHA-256=:${BODY_BASE64}:`,
    'sha-256=:AA==:',
  ];
  for (const value of [...values, `sha-256=:${BODY_BASE64.slice(0, -1)}:`, `sha-256=:${BODY_BASE64}:;q=1`]) {
    await at.refuses(...unsupported, GOOD_QUERY, { 'content-digest': value });
    await at.refuses(...unsupported, GOOD_QUERY, { 'unencoded-digest': value });
  }
});

test('a body with another digest changes nothing, and the response does not reveal its digest', async () => {
  await using at = await startUntouched();
  const answer = await at.refuses(400, 'digest-mismatch', `?digest=sha256:${OTHER.toString('hex')}`);
  assert(!answer.body.toString().includes(BODY_HEX));
  const flipped = Buffer.from(BODY);
  flipped.writeUInt8((BODY[9] ?? 0) ^ 1, 9);
  await at.refuses(400, 'digest-mismatch', GOOD_QUERY, {}, flipped);
  await at.refuses(400, 'digest-mismatch', GOOD_QUERY, {}, zstdCompressSync(BODY).subarray(0, BLOCK_BYTES));
});

test('a body with another length than the block is refused, declared or chunked', async () => {
  await using at = await startUntouched();
  const chunked = { 'transfer-encoding': 'chunked' };
  const tooShort = BODY.subarray(1);
  const tooLong = Buffer.concat([BODY, Buffer.alloc(1)]);
  for (const headers of [{}, chunked]) {
    const short = await at.refuses(422, 'length-mismatch', GOOD_QUERY, headers, tooShort);
    assert.deepEqual([short.json()['expected'], short.json()['got']], [BLOCK_BYTES, BLOCK_BYTES - 1]);
    await at.refuses(413, 'too-large', GOOD_QUERY, headers, tooLong);
    await at.refuses(422, 'length-mismatch', GOOD_QUERY, headers, Buffer.alloc(0));
    await at.refuses(413, 'too-large', GOOD_QUERY, headers, BODY, 7);
    await at.refuses(422, 'length-mismatch', GOOD_QUERY, headers, BODY.subarray(0, LAST_BYTES - 1), 7);
  }
  assert.equal((await at.put(GOOD_QUERY, chunked)).status, 200);
});

test('Content-Range is refused: there is no partial PUT', async () => {
  await using at = await startUntouched();
  await at.refuses(400, 'bad-request', GOOD_QUERY, { 'content-range': 'bytes 0-99/65536' });
});
