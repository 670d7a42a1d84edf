import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import {
  decodeHead,
  decodeManifest,
  encodeManifest,
  HEAD_BYTES_MAX,
} from '../../../common/store/manifest.ts';
import { signedReceipt } from '../../support/signed-copy.ts';

const digests = Buffer.concat(['a', 'b', 'c'].map((text) => hash('sha256', text, 'buffer')));
const signed = signedReceipt({ size: 3 * 65_536, blockSize: 65_536, digests });
const bytes = encodeManifest({ name: 'web1', ...signed }, digests);

test('a manifest brings back what was put into it, and programs of the system can take it apart', () => {
  const { head, receipt, digests: found, digest } = decodeManifest(bytes);
  assert.equal(head.name, 'web1');
  assert.equal(head.receipt, signed.receipt);
  assert.equal(receipt.blockCount, 3);
  assert.deepEqual(found, digests);
  assert.equal(digest.algorithm, 'sha-256');
  const [line = ''] = bytes.toString('latin1').split('\n');
  assert.equal(line.length + 1 + digests.length, bytes.length, 'one line, then the digests');
  assert.deepEqual(decodeHead(bytes.subarray(0, line.length + 1)).receipt, receipt);
});

test('whatever was changed in a manifest is found and said', () => {
  const line = bytes.subarray(0, bytes.length - digests.length);
  const other = (change: (head: Record<string, unknown>) => void, rest = digests): Buffer => {
    const head = JSON.parse(line.toString()) as Record<string, unknown>;
    change(head);
    return Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), rest]);
  };
  const flipped = Buffer.from(digests);
  flipped[40] = (flipped[40] ?? 0) ^ 1;
  for (const [changed, message] of [
    [Buffer.alloc(0), /first line has no end/],
    [Buffer.alloc(2 * HEAD_BYTES_MAX, ' '), /first line has no end/],
    [Buffer.from('{"format":\n'), /not JSON/],
    [Buffer.from('null\n'), /not a copy of dd-transfer/],
    [other((head) => (head['format'] = 'x')), /not a copy of dd-transfer/],
    [other((head) => (head['version'] = 2)), /has version 2; this program reads 1/],
    [other((head) => (head['signature'] = 1)), /no name, receipt or signature/],
    [other((head) => (head['receipt'] = '{}')), /its receipt is not one/],
    [other((head) => (head['receipt'] = `${String(head['receipt'])} `)), /signature is not valid/],
    [other((head) => (head['signature'] = 'none')), /signature is not valid/],
    [other(() => {}, flipped), /not the root in the receipt/],
    [bytes.subarray(0, -1), /not the root in the receipt/],
    [Buffer.concat([bytes, digests.subarray(0, 32)]), /not the root in the receipt/],
  ] as const) {
    assert.throws(() => decodeManifest(changed), message);
  }
});
