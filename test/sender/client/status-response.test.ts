/** The status of a transfer, and the texts in it that are shown to people. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { TransferError } from '../../../common/errors.ts';
import type { TransferStatus } from '../../../common/protocol/protocol.ts';
import { shortened } from '../../../sender/client/response-fields.ts';
import { parseClaimResponse, parseTransferStatus } from '../../../sender/client/status-response.ts';

const STATUS: TransferStatus = {
  protocol: 1,
  transferId: 'a-transfer',
  epoch: 'an-epoch',
  state: 'open',
  size: 10_000_001,
  blockSize: 65_536,
  blockCount: 153,
  sizeMax: null,
  digest: 'sha-256',
  digests: ['sha-256'],
  source: null,
  target: {
    description: 'virtio disk',
    path: '/dev/vdd',
    model: null,
    serial: null,
    byId: null,
    size: 20_000_000,
    sectorBytes: 4096,
    content: ['ext4 file system "photos"', 'swap space'],
  },
  targetMarks: { itself: ['a1'], within: [] },
  blocks: { absent: 100, written: 50, durable: 2, verified: 1 },
  different: [],
  differentCount: 0,
  adopting: null,
  generation: 1,
  resizable: false,
  unreadable: [],
  unreadableCount: 0,
  hasLeftOut: false,
  readBack: 'direct',
  limits: { connections: 256, zeroRanges: 4096, listing: 65_536 },
  encodings: ['zstd'],
  holdsDigests: true,
};
const CLAIM = {
  size: 10_000_001,
  blockSize: 65_536,
  source: { description: 'a stick', path: '/dev/sdc', model: null, serial: null },
};

/** Any UTF-16, lone surrogates included. */
const anyCharacters = fc
  .array(fc.oneof(fc.nat(0x7f), fc.nat(0xffff)), { maxLength: 2000 })
  .map((codes) => String.fromCharCode(...codes));

function responseOf(value: unknown): { body: Buffer } {
  return { body: Buffer.from(JSON.stringify(value)) };
}

test('a status without what the sender needs, or with an impossible geometry, is invalid', () => {
  const wrong: readonly Record<string, unknown>[] = [
    { transferId: undefined },
    { transferId: 7 },
    { epoch: undefined },
    { state: 'ready' },
    { state: undefined },
    { size: null },
    { size: null, sizeMax: 5, blockSize: { toString: null, valueOf: null } },
    { size: { toString: null, valueOf: null } },
    { size: -1 },
    { size: 0.5 },
    { size: '10000001' },
    { size: 2 ** 53 },
    { blockSize: null },
    { blockSize: 0 },
    { blockSize: 65_537 },
    { blockSize: 2 ** 25 },
    { size: 2 ** 52, blockSize: 65_536 },
    { target: null },
    { target: 'disk' },
    { target: [] },
    { target: { description: 'a disk' } },
    { target: { description: 5, path: '/dev/vdd' } },
    { limits: null },
    { limits: { connections: '256' } },
    { digest: 5 },
    { digest: null },
    { digest: ['blake3'] },
    { blocks: undefined },
    { blocks: {} },
    { blocks: { ...STATUS.blocks, durable: -1 } },
    { blocks: { ...STATUS.blocks, verified: '3' } },
  ];
  for (const change of wrong) {
    const answer = responseOf({ ...STATUS, ...change });
    assert.throws(() => parseTransferStatus(answer), { code: 'bad-answer' }, JSON.stringify(change));
  }
  for (const value of [null, [], 'text', 5, true]) {
    assert.throws(() => parseTransferStatus(responseOf(value)), {
      code: 'bad-answer',
      message: /: not an object$/,
    });
  }
});

test('a transfer has the digest that its status names, or SHA-256', () => {
  const digests = ['sha-256', 'blake3'];
  const chosen = { ...STATUS, digest: 'blake3', digests };
  assert.deepEqual(parseTransferStatus(responseOf(chosen)), chosen);
  const before = parseTransferStatus(responseOf({ ...STATUS, digest: undefined, digests: undefined }));
  assert.deepEqual([before.digest, before.digests], ['sha-256', ['sha-256']]);
  const unclaimed = { ...STATUS, state: 'unclaimed', digest: 'blake3', digests };
  assert.equal(parseTransferStatus(responseOf(unclaimed)).digest, null);
  for (const digest of ['md5', 'sha256', '\u001b[2J', '']) {
    assert.throws(() => parseTransferStatus(responseOf({ ...STATUS, digest })), {
      code: 'transfer-mismatch',
      message: 'this transfer uses an unknown digest algorithm',
    });
  }
  const claim = { ...CLAIM, digest: 'blake3' as const };
  assert.equal(parseClaimResponse(responseOf(chosen), claim).digest, 'blake3');
  assert.throws(() => parseClaimResponse(responseOf(STATUS), claim), { code: 'bad-answer' });
  assert.throws(() => parseClaimResponse(responseOf(chosen), CLAIM), { code: 'bad-answer' });
});

test('another version of the protocol is refused, and shown only if it is a number', () => {
  for (const [protocol, shown] of [
    [2, 'version 2'],
    [-1, 'version -1'],
    [1.25e300, 'version 1.25e+300'],
    ['1', 'an unknown version'],
    ['\u001b[2J', 'an unknown version'],
    [{ toString: null, valueOf: null }, 'an unknown version'],
    [undefined, 'an unknown version'],
  ] as const) {
    assert.throws(() => parseTransferStatus(responseOf({ ...STATUS, protocol })), {
      code: 'transfer-mismatch',
      message: `the receiver speaks ${shown} of the protocol, not 1`,
      hint: 'install the same version of dd-transfer on both machines',
    });
  }
});

test('the block count is computed from the geometry, whatever the status says', () => {
  assert.equal(parseTransferStatus(responseOf({ ...STATUS, blockCount: '\u001b[2J' })).blockCount, 153);
  assert.equal(parseTransferStatus(responseOf({ ...STATUS, blockCount: 5 })).blockCount, 153);
});

test('before the claim there is no geometry, whatever the status says', () => {
  const status = parseTransferStatus(
    responseOf({ ...STATUS, state: 'unclaimed', blockSize: 'huge', size: -5 }),
  );
  assert.deepEqual([status.size, status.blockSize, status.blockCount], [null, null, null]);
});

test('an unknown size comes with its maximum', () => {
  const unknown = { ...STATUS, size: null, blockCount: null, sizeMax: 20_000_000 };
  assert.deepEqual(parseTransferStatus(responseOf(unknown)), unknown);
  for (const change of [
    { sizeMax: null },
    { sizeMax: -1 },
    { sizeMax: 1.5 },
    { sizeMax: '9' },
    { sizeMax: 2 ** 53 },
    { blockSize: 1000 },
    { blockSize: null },
    { size: undefined },
  ]) {
    const answer = responseOf({ ...unknown, ...change });
    assert.throws(() => parseTransferStatus(answer), { code: 'bad-answer' }, JSON.stringify(change));
  }
  const claim = { ...CLAIM, size: null };
  assert.equal(parseClaimResponse(responseOf(unknown), claim).size, null);
  assert.equal(parseClaimResponse(responseOf(STATUS), claim).size, STATUS.size, 'fixed by an earlier claim');
  assert.throws(() => parseClaimResponse(responseOf(unknown), CLAIM), { code: 'bad-answer' });
});

test('the response to a claim has to repeat the claim', () => {
  for (const change of [
    { state: 'unclaimed' },
    { size: 10_000_000 },
    { blockSize: 131_072 },
    { blockSize: 65_537 },
  ]) {
    const answer = responseOf({ ...STATUS, ...change });
    assert.throws(() => parseClaimResponse(answer, CLAIM), { code: 'bad-answer' }, JSON.stringify(change));
  }
  assert.equal(parseClaimResponse(responseOf({ ...STATUS, state: 'sealed' }), CLAIM).state, 'sealed');
});

test('texts from the receiver are made harmless before they are shown', () => {
  const evil = 'a\u001b[2Jb\u0007\r\nc\u0000\u009b\u202ed';
  const status = parseTransferStatus(
    responseOf({
      ...STATUS,
      source: { description: evil, path: evil, model: evil, serial: 5 },
      target: {
        description: evil,
        path: 'x'.repeat(5000),
        model: evil,
        serial: {},
        byId: evil,
        size: '5',
        sectorBytes: '512',
        content: [evil, 5, 'x'.repeat(5000)],
      },
      targetMarks: { itself: 'all', within: [evil, null] },
      encodings: [evil, 5],
    }),
  );
  const harmless = 'a?[2Jb???c???d';
  const { source, target, encodings } = status;
  assert.deepEqual(source, { description: harmless, path: harmless, model: harmless, serial: null });
  assert.deepEqual(target, {
    description: harmless,
    path: 'x'.repeat(500),
    model: harmless,
    serial: null,
    byId: harmless,
    size: null,
    sectorBytes: null,
    content: [harmless, 'x'.repeat(500)],
  });
  assert.deepEqual(status.targetMarks, { itself: [], within: [harmless] });
  assert.deepEqual(encodings, [harmless]);
});

test('printable text stays as it is; everything else is replaced', () => {
  for (const text of ['', '/dev/vdd', 'Größe: 4 GiB – 日本語 😀', '~!@#$%^&*()\'"']) {
    assert.equal(shortened(text), text);
  }
  for (const [text, shown] of [
    ['\u001b]0;title\u0007', '?]0;title?'],
    ['\t\n\r', '???'],
    ['\u007f\u0080\u009f', '???'],
    ['\u2028\u2029', '??'],
    ['\u202e\u2066\u200b\ufeff', '????'],
    ['\ud800 \udfff', '? ?'],
    ['\ue000', '?'],
  ] as const) {
    assert.equal(shortened(text), shown);
  }
  fc.assert(
    fc.property(anyCharacters, (text) => {
      const shown = shortened(text);
      assert(shown.length <= 500);
      assert(shown.isWellFormed());
      assert(!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(shown));
      assert.equal(shortened(shown), shown);
    }),
  );
});

test('a body that is not JSON is refused, with the cause', () => {
  for (const body of ['', '<html>', '{', '{"a":1}x', '\ufeff{}', 'NaN']) {
    assert.throws(
      () => parseTransferStatus({ body: Buffer.from(body) }),
      (error) =>
        error instanceof TransferError && error.code === 'bad-answer' && error.cause instanceof Error,
    );
  }
});
