import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inChunks } from '../../../../sender/client/connection/body-chunks.ts';
import { prng } from '../../../support/prng.ts';

const KIB = 1024;

test('the end of a body comes with its last chunk, although the socket is full', async () => {
  const bytes = prng(1).bytes(200 * KIB);
  const body = inChunks(bytes);
  const taken: Buffer[] = [];
  let hasEnded = false;
  // As undici does when the socket's buffer is full.
  body.on('data', (chunk: Buffer) => {
    taken.push(chunk);
    body.pause();
  });
  body.on('end', () => (hasEnded = true));
  while (taken.reduce((sum, chunk) => sum + chunk.length, 0) < bytes.length) {
    await nextTurn();
    assert.equal(hasEnded, false);
    body.resume();
    await once(body, 'data');
  }
  await new Promise((resolve) => process.nextTick(resolve));
  assert.equal(hasEnded, true);
  assert(taken.length > 1);
  assert.deepEqual(Buffer.concat(taken), bytes);
});

test('a body of one chunk and an empty one end too', async () => {
  for (const size of [0, 1, 64 * KIB]) {
    const body = inChunks(Buffer.alloc(size, 1));
    let total = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) total += chunk.length;
    assert.equal(total, size);
  }
});
