import assert from 'node:assert/strict';
import { test } from 'node:test';
import { READ_BACK_METHODS } from '../../../common/protocol/read-back.ts';
import { parseSeal } from '../../../sender/client/responses.ts';

function responseOf(value: unknown): { body: Buffer } {
  return { body: Buffer.from(JSON.stringify(value)) };
}

const REQUEST = {
  transferId: 't',
  geometry: { sizeBytes: 65_537, blockSizeBytes: 65_536 },
  algorithm: 'sha-256' as const,
  root: Buffer.alloc(32),
  leftOut: null,
};
const GOOD = {
  transferId: 't',
  size: 65_537,
  blockSize: 65_536,
  blockCount: 2,
  digest: 'sha-256',
  root: `sha256:${'00'.repeat(32)}`,
  verified: 'none',
  verifiedAt: null,
  unreadable: [[512, 1024]],
  leftOut: { bytes: 8192, count: 2, areas: [[4096, 12_288]] },
};

test('a receipt has to be of this copy and say how it was verified', () => {
  const sealOf = (receipt: object): { body: Buffer } =>
    responseOf({ text: JSON.stringify(receipt), signature: 's' });
  const text = JSON.stringify(GOOD);
  const unreadable = [[512, 1024]];
  assert.deepEqual(parseSeal(sealOf(GOOD), REQUEST), {
    verified: 'none',
    readBack: null,
    verifiedAt: null,
    unreadable,
    leftOut: { bytes: 8192, count: 2, areas: [[4096, 12_288]] },
    text,
    signature: 's',
    changedCount: 0,
  });
  const before = { ...GOOD, digest: undefined, leftOut: undefined };
  assert.equal(parseSeal(sealOf(before), REQUEST).leftOut, null, 'from before anything could be left out');
  assert.equal(parseSeal(sealOf(before), REQUEST).verified, 'none', 'from before BLAKE3 was supported');
  const other = { ...REQUEST, algorithm: 'blake3' as const };
  assert.equal(parseSeal(sealOf({ ...GOOD, digest: 'blake3' }), other).verified, 'none');
  assert.throws(() => parseSeal(sealOf(before), other), { code: 'bad-answer' });
  for (const readBack of READ_BACK_METHODS) {
    assert.equal(parseSeal(sealOf({ ...GOOD, verified: 'read-back', readBack }), REQUEST).readBack, readBack);
  }
  const unsaid = { ...GOOD, verified: 'read-back' };
  assert.equal(parseSeal(sealOf(unsaid), REQUEST).readBack, null, 'from before it was said');
  for (const wrong of [
    { transferId: 'u' },
    { size: 65_536 },
    { blockSize: 131_072 },
    { blockCount: 1 },
    { digest: 'blake3' },
    { digest: null },
    { digest: 'sha256' },
    { root: `sha256:${'00'.repeat(31)}01` },
    { verified: 'yes' },
    { verified: 'read-back', readBack: 'yes' },
    { verified: 'read-back', readBack: ['direct'] },
    { verified: true },
    { verified: ['none'] },
    { leftOut: [] },
    { leftOut: {} },
    { leftOut: { bytes: 0, count: 0, areas: [] } },
    { leftOut: { bytes: 8192, count: 1, areas: [[4096, 4096]] } },
    { leftOut: { bytes: 4096, count: 2, areas: [[4096, 4096]] } },
    { leftOut: { bytes: 4096, count: 1, areas: [[65_536, 4096]] } },
    { unreadable: undefined },
    { unreadable: [[0, 0]] },
    { unreadable: [[65_536, 2]] },
    {
      unreadable: [
        [512, 512],
        [0, 512],
      ],
    },
  ]) {
    const receipt = { ...GOOD, ...wrong };
    assert.throws(() => parseSeal(sealOf(receipt), REQUEST), { code: 'bad-answer' }, JSON.stringify(wrong));
  }
  for (const wrong of [
    { text },
    { text, signature: null },
    { text: null, signature: 's' },
    { text: '{', signature: 's' },
  ]) {
    assert.throws(() => parseSeal(responseOf(wrong), REQUEST), { code: 'bad-answer' }, JSON.stringify(wrong));
  }
});
