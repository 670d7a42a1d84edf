/** Anyone who may write to a bucket can put a manifest there, signed with a key of their own. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { decodeHead, decodeManifest, encodeManifest } from '../../../common/store/manifest.ts';
import { storeLines } from '../../../receiver/store/store-text.ts';
import { signedReceipt } from '../../support/signed-copy.ts';

const DIGESTS = randomBytes(32);
const FACTS = { size: 65_536, blockSize: 65_536, digests: DIGESTS };

function manifestWith(more: Readonly<Record<string, unknown>>): Buffer {
  const signed = signedReceipt({ ...FACTS, more });
  return encodeManifest({ name: 'web1', ...signed }, DIGESTS);
}

test('what is shown of its source is text on one line, whatever it was', () => {
  for (const [source, shown] of [
    [null, 'unknown source'],
    [17, 'unknown source'],
    [{}, 'unknown source'],
    [{ description: ['disk'], path: 5 }, 'unknown source'],
    [{ description: 'a\u001B[2Jb', path: '/dev/sda\n\rx', serial: {} }, '/dev/sda x: a [2Jb'],
  ] as const) {
    const { receipt } = decodeManifest(manifestWith({ source }));
    const copies = [{ name: 'web1', when: receipt.sealedAt, receipt }];
    const [, line] = storeLines({ copies, running: [], nowMs: 0 });
    assert.equal(line, `web1  2026-11-29T14:30:00.000Z  64 KiB  ${shown}`);
  }
});

test('a receipt whose areas or id are none is not one', () => {
  for (const more of [{ unreadable: 'all' }, { unreadable: [[0, 1e9]] }, { transferId: 7 }]) {
    assert.throws(() => decodeHead(manifestWith(more)), /its receipt is not one/);
    assert.throws(() => decodeManifest(manifestWith(more)), /its receipt is not one/);
  }
});
