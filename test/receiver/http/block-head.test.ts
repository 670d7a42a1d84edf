import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BLAKE3, DIGESTS, SHA256, digestNow } from '../../../common/digest/digest.ts';
import { TransferError, type ErrorCode } from '../../../common/errors.ts';
import { blockIndexOf } from '../../../common/geometry.ts';
import { parseBlockHead, type BlockHead, type WantedBlock } from '../../../receiver/http/block-head.ts';

const LENGTH = 65_536;
const DIGEST = digestNow(Buffer.from('the block'));
const OTHER = digestNow(Buffer.from('another'));
const HEX = DIGEST.toString('hex');

/** As RFC 9530 writes it. */
function field(digest: Buffer, name = 'sha-256'): string {
  return `${name}=:${digest.toString('base64')}:`;
}

type Parts = Readonly<Record<string, string>>;

const GEOMETRY = { sizeBytes: 1000 * LENGTH, blockSizeBytes: LENGTH };
const WANTED: WantedBlock = {
  index: blockIndexOf(812, GEOMETRY),
  offset: 812 * LENGTH,
  lengthBytes: LENGTH,
  sizeBytes: GEOMETRY.sizeBytes,
  digests: DIGESTS,
  present: undefined,
};

function parse(headers: Parts, query: Parts = {}, wanted: Partial<WantedBlock> = {}): BlockHead {
  const head = {
    header: (name: string) => (Object.hasOwn(headers, name) ? headers[name] : undefined),
    query: (name: string) => (Object.hasOwn(query, name) ? query[name] : undefined),
  };
  return parseBlockHead(head, { ...WANTED, ...wanted });
}

test('every spelling of the digest means the same', () => {
  const plain = {
    index: 812,
    lengthBytes: LENGTH,
    digests: [{ by: SHA256, expected: DIGEST }],
    encodedDigests: [],
    encoding: 'identity',
    bodyBytesMax: LENGTH,
    unreadable: [],
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

test('Content-Digest of an encoded body covers the body as it travels, not the block', () => {
  const headers = {
    'content-encoding': 'zstd',
    'content-digest': field(OTHER),
    'unencoded-digest': field(DIGEST),
  };
  const { digests, encodedDigests, encoding, bodyBytesMax } = parse(headers);
  assert.deepEqual(digests, [{ by: SHA256, expected: DIGEST }]);
  assert.deepEqual(encodedDigests, [{ by: SHA256, expected: OTHER }]);
  assert.deepEqual([encoding, bodyBytesMax], ['zstd', LENGTH + 1024]);
  assert.throws(() => parse({ 'content-encoding': 'zstd', 'content-digest': field(DIGEST) }), {
    code: 'digest-required',
  });
});

test('two digests of one kind must be equal, digests of two kinds are both kept', () => {
  const read = (headers: Parts, digest?: string): number =>
    parse(headers, digest === undefined ? {} : { digest }).digests.length;
  for (const kind of ['sha-256', 'blake3']) {
    const [one, two] = [field(DIGEST, kind), field(OTHER, kind)];
    const query = `${kind.replace('-', '')}:${HEX}`;
    for (const [headers, digest] of [
      [{ 'content-digest': one, 'unencoded-digest': two }],
      [{ 'content-digest': two }, query],
      [{ 'unencoded-digest': two }, query],
      [{ 'content-digest': `${one}, ${two}` }],
      [{ 'content-encoding': 'gzip', 'unencoded-digest': two }, query],
    ] as const) {
      assert.throws(() => read(headers, digest), { code: 'digest-conflict' }, JSON.stringify(headers));
    }
  }
  assert.ok(BLAKE3 !== undefined);
  assert.equal(read({ 'content-digest': `${field(DIGEST)}, ${field(OTHER, 'blake3')}` }), 2);
  assert.equal(read({ 'unencoded-digest': field(OTHER, 'blake3') }, `sha256:${HEX}`), 2);
  assert.equal(read({ 'unencoded-digest': field(DIGEST) }, `sha256:${HEX}`), 1);
});

test('the name of a coding may be in any case; unknown codings are refused', () => {
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

test('the length of the body is checked to the byte', () => {
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
    const run = (): BlockHead =>
      parse({ 'content-encoding': encoding, 'content-length': length }, { digest: `sha256:${HEX}` });
    if (expected === 'fine') assert.equal(run().bodyBytesMax, encoding === 'zstd' ? LENGTH + 1024 : LENGTH);
    else assert.throws(run, { code: expected }, `${encoding} ${length}`);
  }
  assert.throws(() => parse({ 'content-length': '5' }), {
    message: 'this block has 65536 bytes, the body has 5',
    details: { expected: 65_536, got: 5 },
  });
});

test('a block without a digest is refused with the command that computes one', () => {
  assert.throws(() => parse({}), {
    code: 'digest-required',
    message: 'block 812 came without a digest of its plain bytes',
    hint: 'curl -T b "$U/blocks/812?digest=sha256:$(sha256sum <b | cut -c1-64)"',
  });
});

test('a part of a block, and a flush that is neither y nor n, are bad requests', () => {
  const digest = { digest: `sha256:${HEX}` };
  assert.throws(() => parse({ 'content-range': 'bytes 0-511/65536' }, digest), { code: 'bad-request' });
  for (const flush of ['', 'yes', '1', 'Y', 'true']) {
    assert.throws(() => parse({}, { ...digest, flush }), { code: 'bad-request' }, flush);
  }
});

test('any head of a request is either understood or refused with a code', () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom(field(DIGEST), `sha256:${HEX}`, '65536', 'zstd', 'n', '__proto__'),
  );
  const digestNames = ['content-digest', 'unencoded-digest'];
  const names = [...digestNames, 'content-encoding', 'content-length', 'content-range', 'ddt-source-errors'];
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

test('If-None-Match refuses a block that is already there', () => {
  const attempt = (value: string | undefined, present: WantedBlock['present']): BlockHead =>
    parse(value === undefined ? {} : { 'if-none-match': value }, { digest: `sha256:${HEX}` }, { present });
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
    const run = (): BlockHead => attempt(value, there);
    if (isThere) assert.throws(run, { code: 'precondition', details: { sha256: HEX } });
    else assert.equal(run().index, 812);
  }
  const other = { text: `blake3:${HEX}`, member: { blake3: HEX } };
  attempt(`"${HEX}"`, other);
  assert.throws(() => attempt(`"blake3:${HEX}"`, other), { details: { blake3: HEX } });
});

test('unreadable areas are those of this block, and whole sectors', () => {
  const digest = { digest: `sha256:${HEX}` };
  const areas = `${812 * LENGTH}+512, ${812 * LENGTH + 1024}+512`;
  assert.deepEqual(parse({ 'ddt-source-errors': areas }, digest).unreadable, [
    [812 * LENGTH, 512],
    [812 * LENGTH + 1024, 512],
  ]);
  for (const value of ['', '0+512', `${813 * LENGTH}+512`, `${812 * LENGTH}+511`, `${812 * LENGTH}+`]) {
    assert.throws(() => parse({ 'ddt-source-errors': value }, digest), { code: 'bad-request' }, value);
  }
});
