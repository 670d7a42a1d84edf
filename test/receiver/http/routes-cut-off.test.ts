/** A block that is on its way while the size of a pipe is fixed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { eventually } from '../../support/eventually.ts';
import { BLOCK_BYTES } from '../../support/open-transfer.ts';
import { connectRaw } from '../../support/raw-exchange.ts';
import { startReceiverApp } from '../../support/receiver-app.ts';

const CLAIM = { blockSize: BLOCK_BYTES, stream: true, source: { description: 'a pipe' } };

test('a block that the end of a pipe has made shorter, or cut off, is refused by name', async () => {
  for (const [size, status, code] of [
    [BLOCK_BYTES + 100, 422, 'length-mismatch'],
    [BLOCK_BYTES, 404, 'block-out-of-range'],
  ] as const) {
    await using app = await startReceiverApp({ blockCount: null });
    const claim = async (bytes: number | null): Promise<number> =>
      (await app.request('PUT', '/transfer', { body: JSON.stringify({ ...CLAIM, size: bytes }) })).status;
    assert.equal(await claim(null), 201);
    const body = Buffer.alloc(BLOCK_BYTES, 1);
    const { slabs } = app.transfer.claimed();
    const socket = await connectRaw(app.port);
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.write(
      `PUT /blocks/1?digest=sha256:${digestNow(body).toString('hex')} HTTP/1.1\r\nhost: x\r\n` +
        `authorization: Bearer ${app.token}\r\ncontent-length: ${body.length}\r\n\r\n`,
    );
    await eventually('its body is awaited', () => slabs.freeCount < slabs.slabCount);
    assert.equal(await claim(size), 200);
    socket.write(body);
    await eventually('an answer', () => text.includes('\r\n\r\n') && text.endsWith('\n'));
    assert.match(text, new RegExp(`^HTTP/1.1 ${status} `));
    assert.match(text, new RegExp(`"code":"${code}"`));
    socket.destroy();
  }
});
