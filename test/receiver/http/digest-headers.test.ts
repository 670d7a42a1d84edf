import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DIGESTS, SHA256, digestNow, type BlockDigest } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { parseDigestHeader, parseDigestQuery } from '../../../receiver/http/digest-headers.ts';

const DIGEST = digestNow(Buffer.from('the block'));
const OTHER = digestNow(Buffer.from('another'));
const HEX = DIGEST.toString('hex');
const ALONE = [SHA256];

/** As RFC 9530 writes it. */
function field(digest: Buffer, name = 'sha-256'): string {
  return `${name}=:${digest.toString('base64')}:`;
}

/** The algorithms and digests in a header. */
function given(value: string | undefined, digests: readonly BlockDigest[] = DIGESTS): string[] {
  const found = parseDigestHeader('Content-Digest', value, digests);
  return found.map(({ by, expected }) => `${by.algorithm} ${expected.toString('hex')}`);
}

test('a digest field has exactly one form, and unknown algorithms in it are ignored', () => {
  const base64 = DIGEST.toString('base64');
  for (const value of [
    field(DIGEST),
    ` ${field(DIGEST)} `,
    `${field(Buffer.alloc(64), 'sha-512')}, ${field(DIGEST)}`,
    `${field(DIGEST)},unixsum=:AAA=:`,
    `${field(DIGEST)},${field(DIGEST)}`,
  ]) {
    assert.deepEqual(given(value), [`sha-256 ${HEX}`], value);
    assert.deepEqual(given(value.replaceAll('sha-256', 'blake3')), [`blake3 ${HEX}`], value);
  }
  for (const value of [
    '',
    ',',
    base64,
    `sha-256=${base64}`,
    `sha-256=:${base64}`,
    `SHA-256=:${base64}:`,
    `sha-256=:${base64.replace('=', '')}:`,
    `sha-256=:${HEX}:`,
    `sha-256=:${base64}: x`,
    `sha-256=:${base64};q=1:`,
    `sha-256=:${Buffer.alloc(31).toString('base64')}:`,
    `sha-256=:${Buffer.alloc(33).toString('base64')}:`,
    'sha-256=::',
    field(Buffer.alloc(64), 'sha-512'),
    `${field(DIGEST)},`,
    `sha-256=:${'A'.repeat(100_000)}:`,
  ]) {
    assert.throws(() => given(value), { code: 'digest-unsupported' }, value.slice(0, 99));
    const other = value.replaceAll('sha-256', 'blake3');
    assert.throws(() => given(other), { code: 'digest-unsupported' }, other.slice(0, 99));
  }
  // Left-over bits: another text that decodes to the same bytes.
  const sloppy = base64.replace(/.=$/, (end) => `${String.fromCharCode(end.charCodeAt(0) + 1)}=`);
  assert.throws(() => given(`sha-256=:${sloppy}:`), { code: 'digest-unsupported' });
  assert.deepEqual(given(undefined), []);
});

test('?digest= takes a name and 64 hexadecimal digits', () => {
  const read = (value: string | undefined): string[] =>
    parseDigestQuery(value, DIGESTS).map(({ by, expected }) => `${by.algorithm} ${expected.toString('hex')}`);
  assert.deepEqual(read(undefined), []);
  assert.deepEqual(read(`sha256:${HEX.toUpperCase()}`), [`sha-256 ${HEX}`]);
  assert.deepEqual(read(`blake3:${HEX}`), [`blake3 ${HEX}`]);
  for (const value of [
    HEX,
    `SHA256:${HEX}`,
    `BLAKE3:${HEX}`,
    `sha-256:${HEX}`,
    `sha256:${HEX}0`,
    `blake3:${HEX}0`,
    `sha256:${HEX.slice(1)}`,
    '',
    `sha256:${HEX}\n`,
  ]) {
    assert.throws(() => read(value), { code: 'digest-unsupported' }, value);
  }
});

test('a receiver without BLAKE3 uses the SHA-256 beside it, and names what it can compute', () => {
  const both = `${field(OTHER, 'blake3')}, ${field(DIGEST)}`;
  assert.deepEqual(given(both, ALONE), [`sha-256 ${HEX}`]);
  assert.throws(() => given(field(DIGEST, 'blake3'), ALONE), {
    code: 'digest-unsupported',
    message: 'Content-Digest has no sha-256 member',
  });
  assert.throws(() => parseDigestQuery(`blake3:${HEX}`, ALONE), {
    code: 'digest-unsupported',
    message: 'this receiver can compute sha-256 digests, not blake3',
    hint: 'use sha256sum and ?digest=sha256:',
  });
});

test('any digest field is either understood or refused with a code', () => {
  const pieces = [',', ' ', 'sha-256', 'blake3', '=', ':', '*', 'A', '===', field(DIGEST)] as const;
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...pieces)), (parts) => {
      try {
        given(parts.join(''));
      } catch (error) {
        assert(error instanceof TransferError && error.status === 400, String(error));
      }
    }),
  );
});
