import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import type { BlockResult, Claim, ZeroResult } from '../../../common/protocol/protocol.ts';
import { rangesOf } from '../../../common/ranges.ts';
import { shortened } from '../../../sender/client/response-fields.ts';
import { parseBlockResult, parseSeal, parseZeroResult } from '../../../sender/client/responses.ts';
import { parseClaimResponse, parseTransferStatus } from '../../../sender/client/status-response.ts';
import { STATUS } from '../../support/transfer-status.ts';

const DIGEST = digestNow(Buffer.from('block 7'));
const REQUEST = { index: 7, lengthBytes: 4_194_304, digest: DIGEST, algorithm: 'sha-256' as const };
const RESULT: BlockResult = {
  transferId: 'a-transfer',
  epoch: 'an-epoch',
  index: 7,
  offset: 29_360_128,
  length: 4_194_304,
  sha256: DIGEST.toString('hex'),
  state: 'written',
  generation: 81,
};
const RANGES = rangesOf([0, 1, 2, 3, 4, 9]);
const ZEROS: ZeroResult = {
  transferId: 'a-transfer',
  epoch: 'an-epoch',
  ranges: RANGES,
  state: 'written',
  generation: 1,
};
const CLAIM: Claim = {
  size: 10_000_001,
  blockSize: 65_536,
  source: { description: 'a stick', path: '/dev/sdc', model: null, serial: null },
};
const SEAL_REQUEST = {
  transferId: 't',
  geometry: { sizeBytes: 10_000_001, blockSizeBytes: 65_536 },
  algorithm: 'sha-256' as const,
  root: Buffer.alloc(32, 7),
  leftOut: null,
};
const SEAL = {
  text: JSON.stringify({
    v: 1,
    transferId: 't',
    size: 10_000_001,
    blockSize: 65_536,
    blockCount: 153,
    root: `sha256:${'07'.repeat(32)}`,
    verified: 'read-back',
    unreadable: [],
  }),
  signature: 'armored',
};

function responseOf(value: unknown): { body: Buffer } {
  return { body: Buffer.from(JSON.stringify(value)) };
}

const PARSERS: Readonly<Record<string, (answer: { body: Buffer }) => unknown>> = {
  status: parseTransferStatus,
  claim: (answer) => parseClaimResponse(answer, CLAIM),
  block: (answer) => parseBlockResult(answer, REQUEST),
  zeros: (answer) => parseZeroResult(answer, RANGES),
  seal: (answer) => parseSeal(answer, SEAL_REQUEST),
};
const GOOD: Readonly<Record<string, object>> = {
  status: STATUS,
  claim: STATUS,
  block: RESULT,
  zeros: ZEROS,
  seal: SEAL,
};

/** @throws unless `parse` succeeds or reports a bad response. */
function assertTotal(parse: () => unknown, what: string): void {
  try {
    parse();
  } catch (error) {
    assert(error instanceof TransferError, `${what}: ${String(error)}`);
    assert(['bad-answer', 'transfer-mismatch'].includes(error.code));
    assert.equal(error.message, shortened(error.message), 'no control characters');
    assert(error.message.length < 200);
  }
}

test('valid responses are read as they are', () => {
  assert.deepEqual(parseTransferStatus(responseOf(STATUS)), STATUS);
  assert.deepEqual(parseClaimResponse(responseOf(STATUS), CLAIM), STATUS);
  assert.deepEqual(parseBlockResult(responseOf(RESULT), REQUEST), RESULT);
  assert.deepEqual(parseZeroResult(responseOf(ZEROS), RANGES), ZEROS);
  assert.deepEqual(parseSeal(responseOf(SEAL), SEAL_REQUEST), {
    verified: 'read-back',
    readBack: null,
    verifiedAt: null,
    unreadable: [],
    leftOut: null,
    changedCount: 0,
    ...SEAL,
  });
  assert.equal(parseSeal(responseOf({ ...SEAL, changedCount: 3 }), SEAL_REQUEST).changedCount, 3);
  assert.throws(() => parseSeal(responseOf({ ...SEAL, changedCount: '3' }), SEAL_REQUEST), /no count/);
  const unclaimed = {
    ...STATUS,
    state: 'unclaimed',
    size: null,
    blockSize: null,
    blockCount: null,
    digest: null,
    source: null,
  };
  assert.deepEqual(parseTransferStatus(responseOf(unclaimed)), unclaimed);
  const file = { ...STATUS, target: { ...STATUS.target, size: null } };
  assert.deepEqual(parseTransferStatus(responseOf(file)), file);
});

test('for any bytes or values a parser fails with `bad-answer` and nothing else', () => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((text) => Buffer.from(text)),
    fc
      .constantFrom('{"__proto__":{"state":"written"}}', '"', '', '[]', 'null')
      .map((text) => Buffer.from(text)),
  );
  for (const [name, parse] of Object.entries(PARSERS)) {
    fc.assert(fc.property(anyBytes, (body) => assertTotal(() => parse({ body }), name)));
    const deep = Buffer.from(`{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`);
    assertTotal(() => parse({ body: deep }), name);
  }
});

test('any member of a response may have any value: it is refused, or harmless', () => {
  const deep: unknown = JSON.parse(`${'['.repeat(50_000)}${']'.repeat(50_000)}`);
  const value = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom<unknown>(
      -1,
      0.5,
      1e300,
      -0,
      2 ** 53,
      null,
      '',
      '81',
      [],
      {},
      '__proto__',
      'x'.repeat(9999),
    ),
    fc.constantFrom<unknown>({ toString: null, valueOf: null }, { length: 1 }, '\u001b[2J', deep),
  );
  for (const [name, parse] of Object.entries(PARSERS)) {
    const members = Object.keys(GOOD[name] ?? {});
    fc.assert(
      fc.property(fc.constantFrom(...members), value, (member, replaced) => {
        const text = Object.entries({ ...GOOD[name], [member]: '@' })
          .map(([key, each]) => `"${key}":${key === member ? textOf(replaced) : JSON.stringify(each)}`)
          .join();
        assertTotal(() => parse({ body: Buffer.from(`{${text}}`) }), `${name}.${member}`);
      }),
      { numRuns: 150 },
    );
  }
  function textOf(replaced: unknown): string {
    return replaced === deep ? `${'['.repeat(50_000)}${']'.repeat(50_000)}` : JSON.stringify(replaced);
  }
});

test('a result for another block or other bytes, or with invalid members, is refused', () => {
  const wrong: readonly Record<string, unknown>[] = [
    { index: 8 },
    { index: '7' },
    { index: 7.5 },
    { index: null },
    { length: 4_194_303 },
    { length: '4194304' },
    { sha256: digestNow(Buffer.from('another')).toString('hex') },
    { sha256: DIGEST.toString('hex').toUpperCase() },
    { sha256: DIGEST.toString('hex').slice(1) },
    { sha256: undefined },
    { state: 'absent' },
    { state: 'done' },
    { state: '__proto__' },
    { generation: -1 },
    { generation: 1e300 },
    { generation: 2 ** 53 },
    { generation: NaN },
    { generation: '81' },
    { generation: 0.5 },
    { offset: -4096 },
    { offset: 'far' },
    { epoch: undefined },
    { epoch: 5 },
    { transferId: null },
  ];
  for (const change of wrong) {
    const answer = responseOf({ ...RESULT, ...change });
    assert.throws(() => parseBlockResult(answer, REQUEST), { code: 'bad-answer' }, JSON.stringify(change));
  }
  const { sha256: hex, ...rest } = RESULT;
  const other = { ...REQUEST, algorithm: 'blake3' as const };
  assert.deepEqual(parseBlockResult(responseOf({ ...rest, blake3: hex }), other), { ...rest, blake3: hex });
  for (const [answer, request] of [
    [RESULT, other],
    [{ ...rest, blake3: hex }, REQUEST],
  ] as const) {
    assert.throws(
      () => parseBlockResult(responseOf(answer), request),
      { code: 'bad-answer' },
      'another algorithm',
    );
  }
  assert.throws(() => parseBlockResult(responseOf({ ...RESULT, index: 8 }), REQUEST), {
    message: 'the response of the receiver is invalid: not for block 7 as it was sent',
  });
});

test('a result for other zeros, or with invalid members, is refused', () => {
  const wrong: readonly Record<string, unknown>[] = [
    { ranges: [[0, 5]] },
    { ranges: [...RANGES, [20, 1]] },
    { ranges: RANGES.toReversed() },
    {
      ranges: [
        [0, 5],
        [9, 1, 1],
      ],
    },
    {
      ranges: [
        [0, 5],
        ['9', 1],
      ],
    },
    { ranges: '[[0,5],[9,1]]' },
    { ranges: undefined },
    { state: 'absent' },
    { state: 'gone' },
    { generation: -1 },
    { generation: null },
    { epoch: undefined },
    { transferId: {} },
  ];
  for (const change of wrong) {
    const answer = responseOf({ ...ZEROS, ...change });
    assert.throws(() => parseZeroResult(answer, RANGES), { code: 'bad-answer' }, JSON.stringify(change));
  }
});
