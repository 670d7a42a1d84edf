/** The protocol without a sender: single requests, in the order that a test wants. */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import type { HttpResponse } from './ticket-client.ts';
import { BLOCK_BYTES } from './copied.ts';

export interface Requests {
  request(method: string, path: string, body?: Buffer): Promise<HttpResponse>;
}

/** As ddt-send claims for a file at `path`, which may then go on. */
export async function claimByHand(receiver: Requests, sizeBytes: number, path: string): Promise<void> {
  const source = { description: 'regular file', path, model: null, serial: null };
  const claim = { size: sizeBytes, blockSize: BLOCK_BYTES, source };
  const { status, body } = await receiver.request('PUT', '/transfer', Buffer.from(JSON.stringify(claim)));
  assert.equal(status, 201, body.toString('utf8'));
}

/** @returns the HTTP status. */
export async function putByHand(
  receiver: Requests,
  index: number,
  bytes: Buffer,
  flush: 'y' | 'n' = 'y',
): Promise<number> {
  const path = `/blocks/${index}?flush=${flush}&digest=sha256:${hash('sha256', bytes)}`;
  return (await receiver.request('PUT', path, bytes)).status;
}

/** The block with this number of the bytes of a whole source. */
export function blockOf(source: Buffer, index: number): Buffer {
  return source.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES);
}
