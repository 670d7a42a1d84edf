/** What senders say to the receiver: heads, queries, ranges, areas, encoded bodies. */
import assert from 'node:assert/strict';
import { promisify } from 'node:util';
import { gzip, gzipSync, zstdCompress, zstdCompressSync } from 'node:zlib';
import * as fc from 'fast-check';
import { formatAreas, joinAreas, parseAreas, parseSourceErrors, type Area } from '../../common/areas.ts';
import { DIGESTS, digestNow } from '../../common/digest/digest.ts';
import { digestField } from '../../common/digest/digest-names.ts';
import type { ErrorCode } from '../../common/errors.ts';
import { blockIndexOf } from '../../common/geometry.ts';
import { parseRanges } from '../../common/ranges.ts';
import { parseBlockHead, type RequestHead } from '../../receiver/http/block-head.ts';
import { parseDigestHeader } from '../../receiver/http/digest-headers.ts';
import { decodeInPlace } from '../../receiver/http/read-body.ts';
import { mutatedBytes, mutatedText, mutatedValue } from './mutations.ts';
import {
  asyncParserProperty,
  parsedLater,
  parserProperty,
  quotingParsed,
  type ParserProperty,
} from './parser-property.ts';

const BLOCK_BYTES = 65_536;
const BLOCK_COUNT = 1000;
const GEOMETRY = { sizeBytes: BLOCK_COUNT * BLOCK_BYTES - 700, blockSizeBytes: BLOCK_BYTES };
const DIGEST = digestNow(Buffer.from('a block'));
const HEX = DIGEST.toString('hex');
/** Of the last block, which is shorter: the end of the source is in no whole sector. */
const BLOCK = {
  index: blockIndexOf(BLOCK_COUNT - 1, GEOMETRY),
  offset: (BLOCK_COUNT - 1) * BLOCK_BYTES,
  lengthBytes: BLOCK_BYTES - 700,
  sizeBytes: GEOMETRY.sizeBytes,
  digests: DIGESTS,
  present: { text: HEX, member: { sha256: HEX } },
};
const HEAD_CODES: readonly ErrorCode[] = [
  'bad-request',
  'unsupported-encoding',
  'too-large',
  'length-mismatch',
  'digest-required',
  'digest-unsupported',
  'digest-conflict',
  'precondition',
];

/** Of the block, in whole sectors, ascending. */
const areas = fc
  .uniqueArray(fc.nat(126), { minLength: 1, maxLength: 12 })
  .map((sectors) => joinAreas(sectors.map((at): Area => [BLOCK.offset + at * 512, 512])));
const fields = fc.constantFrom(
  ...DIGESTS.map(({ algorithm }) => digestField(algorithm, DIGEST)),
  `sha-512=:AAAA:, ${digestField('sha-256', DIGEST)}`,
);
const headers = fc.record(
  {
    'content-digest': mutatedText(fields),
    'unencoded-digest': mutatedText(fields),
    'content-encoding': mutatedText(fc.constantFrom('zstd', 'gzip', 'identity', 'x-gzip')),
    'content-length': mutatedText(fc.constantFrom(`${BLOCK.lengthBytes}`, '0', '65536')),
    'content-range': fc.constant('bytes 0-511/65536'),
    'if-none-match': mutatedText(fc.constantFrom('*', `"${DIGEST.toString('base64')}"`, `W/"${HEX}"`)),
    'ddt-source-errors': mutatedText(areas.map((list) => formatAreas(list))),
  },
  { requiredKeys: [] },
);
const queries = fc.record(
  {
    digest: mutatedText(fc.constantFrom(`sha256:${HEX}`, `blake3:${HEX}`)),
    flush: fc.oneof(fc.constantFrom('y', 'n'), mutatedText(fc.constant('y'))),
  },
  { requiredKeys: [] },
);

function lookUp(values: Readonly<Record<string, string | undefined>>): (name: string) => string | undefined {
  return (name) => (Object.hasOwn(values, name) ? values[name] : undefined);
}

function checkBlockHead(head: RequestHead): void {
  const found = quotingParsed(HEAD_CODES, () => parseBlockHead(head, BLOCK));
  if (found === undefined) return;
  const { digests, encodedDigests, encoding, bodyBytesMax, unreadable } = found;
  assert(digests.length > 0 && digests.length <= DIGESTS.length, 'a digest of the plain block');
  const all = [...digests, ...encodedDigests];
  assert(all.every(({ expected }) => expected.equals(DIGEST) || expected.length === 32));
  assert.equal(new Set(digests.map(({ by }) => by.algorithm)).size, digests.length, 'one of a kind');
  assert(encoding === 'identity' ? bodyBytesMax === BLOCK.lengthBytes : bodyBytesMax < 2 * BLOCK_BYTES);
  checkAreas(unreadable);
}

function checkAreas(found: readonly Area[]): void {
  let end = -1;
  for (const [offset, length] of found) {
    assert(offset > end && length > 0 && offset >= BLOCK.offset, 'ascending, with gaps');
    end = offset + length;
  }
  assert(end <= BLOCK.offset + BLOCK.lengthBytes, 'within the block');
  if (found.length > 0) assert.deepEqual(parseSourceErrors(formatAreas(found), BLOCK), found);
}

const pairs = fc.array(fc.tuple(fc.nat(BLOCK_COUNT - 1), fc.constant(1)), { maxLength: 8 });

function checkRanges(value: unknown): void {
  const ranges = parseRanges(value, BLOCK_COUNT, 8);
  if (ranges === undefined) return;
  assert(ranges.length <= 8);
  for (const [first, count] of ranges) {
    assert(Number.isSafeInteger(first) && Number.isSafeInteger(count), `${first}, ${count}`);
    assert(first >= 0 && count > 0 && first + count <= BLOCK_COUNT, `${first}, ${count}`);
  }
  const json = JSON.stringify(ranges);
  assert.equal(JSON.stringify(parseRanges(JSON.parse(json), BLOCK_COUNT, 8)), json);
}

const STALE = 0xaa;
const PLAIN = Buffer.concat([Buffer.alloc(40_000), Buffer.from(`${HEX}\n`.repeat(300))]).subarray(0, 50_000);
/** Decoded they are shorter than the block. */
const SHORT = PLAIN.subarray(0, 40_000);
/** Decoded they are far longer than any block. */
const BOMBS = [zstdCompressSync(Buffer.alloc(40_000_000)), gzipSync(Buffer.alloc(1_000_000))];
const bodies = fc.oneof(
  { arbitrary: fc.constantFrom(zstdCompressSync(PLAIN), gzipSync(PLAIN)), weight: 8 },
  { arbitrary: fc.constantFrom(zstdCompressSync(SHORT), gzipSync(SHORT)), weight: 2 },
  { arbitrary: fc.constantFrom(...BOMBS), weight: 1 },
);

async function checkBody({ body, encoding }: { body: Buffer; encoding: 'zstd' | 'gzip' }): Promise<void> {
  const into = Buffer.alloc(PLAIN.length + 1024, STALE);
  const bodyBytes = body.copy(into);
  const block = await parsedLater(['decode-failed', 'length-mismatch'], async () => {
    return await decodeInPlace(into, bodyBytes, encoding, PLAIN.length);
  });
  assert(block === undefined || block.length === PLAIN.length);
  // A block that ends in what was in the slab before is a short one.
  assert(block === undefined || block.subarray(-16).some((byte) => byte !== STALE));
}

const roundTrips = fc.record({
  bytes: fc.uint8Array({ minLength: 1, maxLength: 5000 }),
  encode: fc.constantFrom(['zstd', promisify(zstdCompress)] as const, ['gzip', promisify(gzip)] as const),
});

export const REQUEST_PARSERS: readonly ParserProperty[] = [
  parserProperty('block head', 150, fc.tuple(headers, queries), ([header, query]) =>
    checkBlockHead({ header: lookUp(header), query: lookUp(query) }),
  ),
  parserProperty('digest field', 40, mutatedText(fields), (value) => {
    const given = quotingParsed(['digest-unsupported', 'digest-conflict'], () =>
      parseDigestHeader('Content-Digest', value, DIGESTS),
    );
    for (const one of given ?? []) {
      const field = digestField(one.by.algorithm, one.expected);
      assert.deepEqual(parseDigestHeader('Content-Digest', field, DIGESTS), [one]);
    }
  }),
  parserProperty('unreadable areas', 60, mutatedText(areas.map((list) => formatAreas(list))), (value) => {
    checkAreas(quotingParsed(['bad-request'], () => parseSourceErrors(value, BLOCK)) ?? []);
  }),
  parserProperty('ranges', 60, mutatedValue(pairs), checkRanges),
  parserProperty('areas in JSON', 40, mutatedValue(areas), (value) => {
    const found = parseAreas(value, GEOMETRY.sizeBytes, 12);
    let end = -1;
    for (const [offset, length] of found ?? []) {
      assert(offset > end && length > 0, 'ascending, with gaps');
      end = offset + length;
    }
    assert(end <= GEOMETRY.sizeBytes);
  }),
  asyncParserProperty(
    'encoded body',
    6,
    fc.record({ body: mutatedBytes(bodies), encoding: fc.constantFrom('zstd', 'gzip') }),
    checkBody,
  ),
  asyncParserProperty('encoded body, whole', 2, roundTrips, async ({ bytes, encode }) => {
    const [encoding, compress] = encode;
    const into = Buffer.alloc(bytes.length + 1024);
    const body = await compress(bytes);
    const block = await decodeInPlace(into, body.copy(into), encoding, bytes.length);
    assert(block.equals(bytes));
  }),
];
