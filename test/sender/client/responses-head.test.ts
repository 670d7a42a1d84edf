/** Responses to HEAD. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { parseHead } from '../../../sender/client/responses.ts';

const DIGEST = digestNow(Buffer.from('block 7'));
const HEAD = { etag: `"${DIGEST.toString('hex')}"`, state: 'durable', generation: '81', epoch: 'an-epoch' };

/** Any UTF-16, lone surrogates included. */
const anyCharacters = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff)), { maxLength: 2000 })
  .map((codes) => String.fromCharCode(...codes));

test('a HEAD needs digest, generation, epoch, and a state other than absent', () => {
  const hex = DIGEST.toString('hex');
  const there = { digest: DIGEST, algorithm: 'sha-256', state: 'durable', generation: 81, epoch: 'an-epoch' };
  assert.deepEqual(parseHead(HEAD), { ...there, sourceErrors: '' });
  const damaged = { ...HEAD, sourceErrors: '512+1024' };
  assert.deepEqual(parseHead(damaged), { ...there, sourceErrors: '512+1024' });
  const other = { ...HEAD, etag: `"blake3:${hex}"` };
  assert.deepEqual(parseHead(other), { ...there, algorithm: 'blake3', sourceErrors: '' });
  const wrong: readonly Record<string, string | undefined>[] = [
    { etag: undefined },
    { etag: hex },
    { etag: `W/"${hex}"` },
    { etag: `"${hex.toUpperCase()}"` },
    { etag: `"${hex}", "${hex}"` },
    { etag: `"${hex.slice(2)}"` },
    { etag: `"sha256:${hex}"` },
    { etag: `"blake3:"` },
    { state: undefined },
    { state: 'absent' },
    { state: 'constructor' },
    { generation: undefined },
    { generation: '' },
    { generation: ' ' },
    { generation: '-1' },
    { generation: '0x10' },
    { generation: '1e3' },
    { generation: '1.5' },
    { generation: '9'.repeat(17) },
    { generation: 'NaN' },
    { epoch: undefined },
  ];
  for (const change of wrong) {
    assert.throws(() => parseHead({ ...HEAD, ...change }), { code: 'bad-answer' }, JSON.stringify(change));
  }
  const text = fc.option(anyCharacters, { nil: undefined });
  fc.assert(
    fc.property(fc.record({ etag: text, state: text, generation: text, epoch: text }), (headers) => {
      try {
        assert.equal(parseHead({ ...HEAD, ...headers }).digest.length, 32);
      } catch (error) {
        assert(error instanceof TransferError && error.code === 'bad-answer', String(error));
      }
    }),
  );
});
