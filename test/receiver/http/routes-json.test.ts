import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '../../support/https-client.ts';
import { claimOf } from '../../support/open-transfer.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';

function outcomeOf(answer: Answer): [number, string | undefined] {
  return [answer.status, answer.code];
}

test('JSON over 256 KiB is refused by its length, or at the first byte too many', async () => {
  await using app = await startReceiverApp({ blockCount: null });
  const body = `{"x":"${'x'.repeat(256 * 1024)}"}`;
  const known = await app.request('PUT', '/transfer', { body });
  assert.deepEqual([...outcomeOf(known), known.headers.connection], [413, 'too-large', 'close']);
  const unknown = await app.request('PUT', '/transfer', {
    body,
    headers: { 'transfer-encoding': 'chunked' },
  });
  assert.deepEqual(outcomeOf(unknown), [413, 'too-large']);
  const asked = await app.request('PUT', '/transfer', {
    body: JSON.stringify(claimOf(1)),
    headers: { expect: '100-continue', 'content-length': JSON.stringify(claimOf(1)).length },
  });
  assert.deepEqual([asked.status, asked.isContinued], [201, true]);
});
