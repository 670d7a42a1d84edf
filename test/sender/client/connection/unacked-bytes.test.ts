import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import {
  BODY_CHUNK_BYTES_MAX,
  BODY_CHUNK_BYTES_MIN,
  inChunks,
} from '../../../../sender/client/connection/body-chunks.ts';
import { AcknowledgedBytes, UnackedBytes } from '../../../../sender/client/connection/unacked-bytes.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { eventually } from '../../../support/eventually.ts';

const MIB = 1024 * 1024;

/** A connection whose other end reads nothing until it is resumed. */
async function pair(host: string): Promise<AsyncDisposable & { near: Socket; far: Socket }> {
  const server = createServer({ pauseOnConnect: true }).listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  assert(address !== null && typeof address === 'object');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const near = connect(address.port, host);
  const [[far]] = await Promise.all([accepted, once(near, 'connect')]);
  return {
    near,
    far,
    [Symbol.asyncDispose]: async () => {
      near.destroy();
      far.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

for (const host of ['127.0.0.1', '::1']) {
  test(`over ${host}, bytes that the other end has not taken do not count as acknowledged`, async () => {
    await using ends = await pair(host);
    const { near, far } = ends;
    const acknowledged = new AcknowledgedBytes(new UnackedBytes());
    acknowledged.adopt(near);
    const all = Buffer.alloc(64 * MIB, 1);
    inChunks(all).pipe(near, { end: false });
    let before = -1;
    await eventually('the buffers to be full', async () => {
      await acknowledged.refresh();
      const isSame = near.bytesWritten > 0 && acknowledged.bytes === before;
      before = acknowledged.bytes;
      return isSame && near.writableNeedDrain;
    });
    assert(acknowledged.bytes < near.bytesWritten, `${acknowledged.bytes} of ${near.bytesWritten}`);
    assert(near.bytesWritten < all.length);
    far.resume();
    await eventually('all to arrive', async () => {
      await acknowledged.refresh();
      return acknowledged.bytes === all.length;
    });
  });
}

test('a new connection takes nothing back, and a closed one adds nothing', async () => {
  const unacked = new UnackedBytes();
  const acknowledged = new AcknowledgedBytes(unacked);
  await acknowledged.refresh();
  assert.equal(acknowledged.bytes, 0);
  {
    await using first = await pair('127.0.0.1');
    acknowledged.adopt(first.near);
    first.far.resume();
    first.near.write(Buffer.alloc(1000));
    await eventually('it to arrive', async () => {
      await acknowledged.refresh();
      return acknowledged.bytes === 1000;
    });
  }
  await acknowledged.refresh();
  assert.equal(acknowledged.bytes, 1000);
  await using second = await pair('127.0.0.1');
  acknowledged.adopt(second.near);
  second.far.resume();
  second.near.write(Buffer.alloc(500));
  await eventually('that to arrive too', async () => {
    await acknowledged.refresh();
    return acknowledged.bytes === 1500;
  });
  assert.equal(await unacked.of(second.far), 0);
});

test('chunks are views of all bytes in order, larger when taken quickly, smaller when slowly', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 8 * MIB }), fc.boolean(), async (length, isSlow) => {
      const bytes = Buffer.alloc(length);
      const clock = new FakeClock();
      const lengths: number[] = [];
      let at = 0;
      for await (const chunk of inChunks(bytes, clock) as AsyncIterable<Buffer>) {
        assert.equal(chunk.buffer, bytes.buffer);
        assert.equal(chunk.byteOffset, bytes.byteOffset + at);
        at += chunk.length;
        lengths.push(chunk.length);
        if (isSlow) await clock.advance(100);
      }
      assert.equal(at, length);
      const whole = lengths.slice(4, -1);
      const usual = isSlow ? BODY_CHUNK_BYTES_MIN : BODY_CHUNK_BYTES_MAX;
      assert(
        whole.every((chunkBytes) => chunkBytes === usual),
        lengths.join(' '),
      );
    }),
    { numRuns: 20 },
  );
});
