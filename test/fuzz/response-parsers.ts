/** What a receiver, or whoever answers in its place, says to the sender. */
import assert from 'node:assert/strict';
import * as fc from 'fast-check';
import { digestNow } from '../../common/digest/digest.ts';
import { TransferError, isErrorCode, type ErrorCode } from '../../common/errors.ts';
import { blockCountOf, isGeometry } from '../../common/geometry.ts';
import { PROBLEM_TYPE_PREFIX, type Claim, type TransferStatus } from '../../common/protocol/protocol.ts';
import { failureOf } from '../../sender/client/response-fields.ts';
import { parseBlockResult, parseHead, parseSeal, parseZeroResult } from '../../sender/client/responses.ts';
import { parseClaimResponse, parseTransferStatus } from '../../sender/client/status-response.ts';
import { STATUS } from '../support/transfer-status.ts';
import { mutatedJson, mutatedText } from './mutations.ts';
import { assertShowable, parsed, parserProperty, type ParserProperty } from './parser-property.ts';

const DIGEST = digestNow(Buffer.from('block 7'));
const HEX = DIGEST.toString('hex');
const CODES: readonly ErrorCode[] = ['bad-answer', 'transfer-mismatch'];
const BLOCK = { index: 7, lengthBytes: 4_194_304, digest: DIGEST, algorithm: 'sha-256' as const };
const RESULT = {
  transferId: 'a-transfer',
  epoch: 'an-epoch',
  index: 7,
  offset: 29_360_128,
  length: 4_194_304,
  sha256: HEX,
  state: 'written',
  generation: 81,
};
const RANGES = [
  [0, 5],
  [9, 1],
] as const;
const ZEROS = { transferId: 'a', epoch: 'e', ranges: RANGES, state: 'durable', generation: 1 };
const CLAIM: Claim = {
  size: 10_000_001,
  blockSize: 65_536,
  source: { description: 'a stick', path: '/dev/sdc', model: null, serial: null },
};
const SEAL_REQUEST = {
  transferId: 't',
  geometry: { sizeBytes: 10_000_001, blockSizeBytes: 65_536 },
  algorithm: 'sha-256' as const,
  root: DIGEST,
  leftOut: null,
};
const RECEIPT = {
  v: 1,
  transferId: 't',
  size: 10_000_001,
  blockSize: 65_536,
  blockCount: 153,
  digest: 'sha-256',
  root: `sha256:${HEX}`,
  verified: 'read-back',
  verifiedAt: '2026-11-28T22:30:05.000Z',
  unreadable: [[512, 512]],
  leftOut: { bytes: 8192, count: 2, areas: [[4096, 12_288]] },
};
const PROBLEM = {
  type: `${PROBLEM_TYPE_PREFIX}incomplete`,
  title: 'Conflict',
  status: 409,
  code: 'incomplete',
  detail: 'not on the target: block 3; run it again',
  hint: 'run it again',
  missing: [[3, 1]],
};
const statuses = fc.constantFrom<TransferStatus>(
  STATUS,
  { ...STATUS, size: null, blockCount: null, sizeMax: 20_000_000 },
  { ...STATUS, size: null, blockCount: null, sizeMax: 0 },
  { ...STATUS, state: 'sealed', different: [[3, 2]], differentCount: 2, unreadable: [[0, 512]] },
  { ...STATUS, adopting: { done: 5, total: 9 } },
);

function bodyOf(json: string): { body: Buffer } {
  return { body: Buffer.from(json) };
}

/** All that people may be shown of it, and all that is computed with. */
function checkStatus(status: TransferStatus | undefined): void {
  if (status === undefined) return;
  const { size, sizeMax, blockSize, blockCount, blocks, limits, source, target } = status;
  if (status.state !== 'unclaimed') {
    const geometry = { sizeBytes: size ?? Number(sizeMax), blockSizeBytes: Number(blockSize) };
    assert(isGeometry(geometry));
    assert.equal(blockCount, size === null ? null : blockCountOf(geometry));
  }
  for (const count of [...Object.values(blocks), ...Object.values(limits), status.generation]) {
    assert(Number.isSafeInteger(count) && count >= 0, `${count}`);
  }
  const texts = [source, target].flatMap((each) => Object.values(each ?? {})).flat();
  for (const text of texts) if (typeof text === 'string') assertShowable(text);
  const json = JSON.stringify(status);
  assert.equal(JSON.stringify(parseTransferStatus(bodyOf(json))), json);
}

const heads = fc.record(
  {
    etag: mutatedText(fc.constantFrom(`"${HEX}"`, `"blake3:${HEX}"`)),
    state: fc.oneof(fc.constantFrom('durable', 'written', 'absent'), mutatedText(fc.constant('durable'))),
    generation: mutatedText(fc.nat().map(String)),
    epoch: fc.option(fc.constant('an-epoch'), { nil: undefined }),
  },
  { noNullPrototype: true },
);
const problems = fc.record({
  status: fc.integer({ min: 200, max: 599 }),
  body: mutatedJson(fc.constant(PROBLEM)),
  retryAfter: fc.option(mutatedText(fc.nat(200).map(String)), { nil: undefined }),
});

export const RESPONSE_PARSERS: readonly ParserProperty[] = [
  parserProperty('status', 60, mutatedJson(statuses), (json) => {
    checkStatus(parsed(CODES, () => parseTransferStatus(bodyOf(json))));
  }),
  parserProperty('response to a claim', 30, mutatedJson(statuses), (json) => {
    const status = parsed(CODES, () => parseClaimResponse(bodyOf(json), CLAIM));
    checkStatus(status);
    assert(status === undefined || (status.size === CLAIM.size && status.blockSize === CLAIM.blockSize));
  }),
  parserProperty('response to a block', 40, mutatedJson(fc.constant(RESULT)), (json) => {
    const result = parsed(CODES, () => parseBlockResult(bodyOf(json), BLOCK));
    if (result === undefined) return;
    const { index, length, sha256, generation } = result;
    assert.deepEqual([index, length, sha256], [BLOCK.index, BLOCK.lengthBytes, HEX]);
    assert(Number.isSafeInteger(generation) && generation >= 0);
    assert.match(result.state, /^(written|durable|verified)$/);
  }),
  parserProperty('response to zeros', 30, mutatedJson(fc.constant(ZEROS)), (json) => {
    const result = parsed(CODES, () => parseZeroResult(bodyOf(json), RANGES));
    assert(result === undefined || (result.ranges === RANGES && Number.isSafeInteger(result.generation)));
  }),
  parserProperty('head of a block', 20, heads, (head) => {
    const found = parsed(CODES, () => parseHead(head));
    assert(found === undefined || found.digest.equals(DIGEST) || found.digest.length === 32);
    assert(found === undefined || (Number.isSafeInteger(found.generation) && found.generation >= 0));
  }),
  parserProperty(
    'receipt',
    40,
    mutatedJson(fc.constant(RECEIPT)).map((text) => JSON.stringify({ text, signature: 'armored' })),
    (json) => {
      const seal = parsed(CODES, () => parseSeal(bodyOf(json), SEAL_REQUEST));
      if (seal === undefined) return;
      assert.match(seal.verified, /^(none|read-back)$/);
      if (seal.verifiedAt !== null) assertShowable(seal.verifiedAt);
      const { root, size } = JSON.parse(seal.text) as typeof RECEIPT;
      assert.deepEqual([root, size], [RECEIPT.root, RECEIPT.size], 'the last of doubled members counts');
    },
  ),
  parserProperty('problem document', 50, problems, ({ status, body, retryAfter }) => {
    const header = (name: string): string | undefined => (name === 'retry-after' ? retryAfter : undefined);
    const error = failureOf({ status, body: Buffer.from(body), header }, 'GET /transfer');
    assert(error instanceof TransferError && isErrorCode(error.code));
    assertShowable(error.message + (error.hint ?? ''));
    assert(error.message.length <= 'the receiver says: '.length + 500 && (error.hint ?? '').length <= 500);
    assert(error.retryAfterSeconds === undefined || error.retryAfterSeconds > 0);
  }),
];
