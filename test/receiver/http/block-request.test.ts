import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { DIGESTS, SHA256, digestNow } from '../../../common/digest/digest.ts';
import { TransferError, type ErrorCode } from '../../../common/errors.ts';
import {
  checkPrecondition,
  parseBlockRequest,
  type BlockRequest,
} from '../../../receiver/http/block-request.ts';

const LENGTH = 65_536;
const DIGEST = digestNow(Buffer.from('the block'));
const OTHER = digestNow(Buffer.from('another'));
const HEX = DIGEST.toString('hex');

/** As RFC 9530 writes it. */
function field(digest: Buffer, name = 'sha-256'): string {
  return `${name}=:${digest.toString('base64')}:`;
}

type Parts = Readonly<Record<string, string>>;

function parse(headers: Parts, query: Parts = {}): BlockRequest {
  const head = {
    header: (name: string) => (Object.hasOwn(headers, name) ? headers[name] : undefined),
    query: (name: string) => (Object.hasOwn(query, name) ? query[name] : undefined),
  };
  return parseBlockRequest(head, { lengthBytes: LENGTH, index: 812, digests: DIGESTS });
}

test('every spelling of the digest means the same', () => {
  const plain = {
    digests: [{ by: SHA256, expected: DIGEST }],
    encodedDigests: [],
    encoding: 'identity',
    bodyBytesMax: LENGTH,
    isFlushed: true,
  };
  assert.deepEqual(parse({ 'content-digest': field(DIGEST) }), plain);
  assert.deepEqual(parse({ 'unencoded-digest': field(DIGEST) }), plain);
  assert.deepEqual(parse({}, { digest: `sha256:${HEX}` }), plain);
  assert.deepEqual(parse({}, { digest: `sha256:${HEX.toUpperCase()}` }), plain);
  const all = {
    'content-digest': field(DIGEST),
    'unencoded-digest': field(DIGEST),
    'content-length': `${LENGTH}`,
  };
  assert.deepEqual(parse(all, { digest: `sha256:${HEX}`, flush: 'y' }), plain);
  assert.equal(parse(all, { flush: 'n' }).isFlushed, false);
});

test('with an encoded body Content-Digest is that of the body as it travels, not of the block', () => {
  const headers = {
    'content-encoding': 'zstd',
    'content-digest': field(OTHER),
    'unencoded-digest': field(DIGEST),
  };
  assert.deepEqual(parse(headers), {
    digests: [{ by: SHA256, expected: DIGEST }],
    encodedDigests: [{ by: SHA256, expected: OTHER }],
    encoding: 'zstd',
    bodyBytesMax: LENGTH + 1024,
    isFlushed: true,
  });
  assert.throws(() => parse({ 'content-encoding': 'zstd', 'content-digest': field(DIGEST) }), {
    code: 'digest-required',
  });
});

test('codings are known by name in any case; all others are refused with those there are', () => {
  const digest = { digest: `sha256:${HEX}` };
  for (const [name, encoding] of [
    ['zstd', 'zstd'],
    ['ZSTD', 'zstd'],
    [' gzip ', 'gzip'],
    ['x-gzip', 'gzip'],
    ['identity', 'identity'],
  ] as const) {
    assert.equal(parse({ 'content-encoding': name }, digest).encoding, encoding);
  }
  for (const name of ['br', 'deflate', 'zstd, gzip', '', 'zstd;q=1', '__proto__']) {
    assert.throws(() => parse({ 'content-encoding': name }, digest), { code: 'unsupported-encoding' }, name);
  }
});

test('the length of the body, at the edges', () => {
  const cases: readonly (readonly [string, string, ErrorCode | 'fine'])[] = [
    ['identity', '65536', 'fine'],
    ['identity', '65535', 'length-mismatch'],
    ['identity', '65537', 'too-large'],
    ['identity', '0', 'length-mismatch'],
    ['identity', '4294967296', 'too-large'],
    ['identity', '9'.repeat(16), 'length-mismatch'],
    ['identity', '65536, 65536', 'length-mismatch'],
    ['zstd', '0', 'fine'],
    ['zstd', '1', 'fine'],
    ['zstd', '66560', 'fine'],
    ['zstd', '66561', 'too-large'],
  ];
  for (const [encoding, length, expected] of cases) {
    const run = (): BlockRequest =>
      parse({ 'content-encoding': encoding, 'content-length': length }, { digest: `sha256:${HEX}` });
    if (expected === 'fine') assert.equal(run().bodyBytesMax, encoding === 'zstd' ? LENGTH + 1024 : LENGTH);
    else assert.throws(run, { code: expected }, `${encoding} ${length}`);
  }
  assert.throws(() => parse({ 'content-length': '5' }), {
    message: 'this block has 65536 bytes, the body has 5',
    details: { expected: 65_536, got: 5 },
  });
});

test('a block without a digest is answered with the command line that makes one', () => {
  assert.throws(() => parse({}), {
    code: 'digest-required',
    message: 'block 812 came without a digest of its plain bytes',
    hint: 'curl -T b "$U/blocks/812?digest=sha256:$(sha256sum <b | cut -c1-64)"',
  });
});

test('part of a block, and a flush that is neither yes nor no, are bad requests', () => {
  const digest = { digest: `sha256:${HEX}` };
  assert.throws(() => parse({ 'content-range': 'bytes 0-511/65536' }, digest), { code: 'bad-request' });
  for (const flush of ['', 'yes', '1', 'Y', 'true']) {
    assert.throws(() => parse({}, { ...digest, flush }), { code: 'bad-request' }, flush);
  }
});

test('whatever the head of a request says: it is understood, or fails with a code', () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom(field(DIGEST), `sha256:${HEX}`, '65536', 'zstd', 'n', '__proto__'),
  );
  const names = ['content-digest', 'unencoded-digest', 'content-encoding', 'content-length', 'content-range'];
  const parts = (keys: readonly string[]): fc.Arbitrary<Parts> =>
    fc.dictionary(fc.constantFrom(...keys), text);
  fc.assert(
    fc.property(parts(names), parts(['digest', 'flush']), (headers, query) => {
      try {
        const request = parse(headers, query);
        assert(request.digests.length > 0 && request.digests.every(({ expected }) => expected.length === 32));
        assert(request.bodyBytesMax <= LENGTH + 1024);
      } catch (error) {
        assert(error instanceof TransferError && error.status < 500, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('a block that is there already is not taken again from who says so', () => {
  for (const [value, present, isThere] of [
    [undefined, HEX, false],
    ['*', undefined, false],
    ['*', HEX, true],
    [`"${HEX}"`, HEX, true],
    [`W/"${HEX}"`, HEX, true],
    [`"a", "${HEX}" ,"b"`, HEX, true],
    [`"${OTHER.toString('hex')}"`, HEX, false],
    [HEX, HEX, false],
    [`"${HEX}`, HEX, false],
    ['', HEX, false],
    [`"${HEX}"`, undefined, false],
  ] as const) {
    const there = present === undefined ? undefined : { text: present, member: { sha256: present } };
    if (!isThere) checkPrecondition(value, there);
    else {
      assert.throws(() => checkPrecondition(value, there), {
        code: 'precondition',
        details: { sha256: HEX },
      });
    }
  }
  const other = { text: `blake3:${HEX}`, member: { blake3: HEX } };
  checkPrecondition(`"${HEX}"`, other);
  assert.throws(() => checkPrecondition(`"blake3:${HEX}"`, other), { details: { blake3: HEX } });
});
