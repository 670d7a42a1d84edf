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

/** A connection whose other end reads nothing until it is told to. */
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
  test(`over ${host} what the other end has not taken does not count as arrived`, async () => {
    await using ends = await pair(host);
    const { near, far } = ends;
    const arrived = new AcknowledgedBytes(new UnackedBytes());
    arrived.adopt(near);
    const all = Buffer.alloc(64 * MIB, 1);
    inChunks(all).pipe(near, { end: false });
    let before = -1;
    await eventually('the buffers to be full', async () => {
      await arrived.look();
      const isSame = near.bytesWritten > 0 && arrived.bytes === before;
      before = arrived.bytes;
      return isSame && near.writableNeedDrain;
    });
    assert(arrived.bytes < near.bytesWritten, `${arrived.bytes} of ${near.bytesWritten}`);
    assert(near.bytesWritten < all.length);
    far.resume();
    await eventually('all to arrive', async () => {
      await arrived.look();
      return arrived.bytes === all.length;
    });
  });
}

test('a new connection takes nothing back that has arrived, and one that is gone brings none', async () => {
  const queues = new UnackedBytes();
  const arrived = new AcknowledgedBytes(queues);
  await arrived.look();
  assert.equal(arrived.bytes, 0);
  {
    await using first = await pair('127.0.0.1');
    arrived.adopt(first.near);
    first.far.resume();
    first.near.write(Buffer.alloc(1000));
    await eventually('it to arrive', async () => {
      await arrived.look();
      return arrived.bytes === 1000;
    });
  }
  await arrived.look();
  assert.equal(arrived.bytes, 1000);
  await using second = await pair('127.0.0.1');
  arrived.adopt(second.near);
  second.far.resume();
  second.near.write(Buffer.alloc(500));
  await eventually('that to arrive too', async () => {
    await arrived.look();
    return arrived.bytes === 1500;
  });
  assert.equal(await queues.unacknowledgedBytes(second.far), 0);
});

test('pieces are views, in order, and all of it; larger where taken soon, smaller where late', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 8 * MIB }), fc.boolean(), async (length, isSlow) => {
      const bytes = Buffer.alloc(length);
      const clock = new FakeClock();
      const lengths: number[] = [];
      let at = 0;
      for await (const piece of inChunks(bytes, clock) as AsyncIterable<Buffer>) {
        assert.equal(piece.buffer, bytes.buffer);
        assert.equal(piece.byteOffset, bytes.byteOffset + at);
        at += piece.length;
        lengths.push(piece.length);
        if (isSlow) await clock.advance(100);
      }
      assert.equal(at, length);
      const whole = lengths.slice(4, -1);
      const usual = isSlow ? BODY_CHUNK_BYTES_MIN : BODY_CHUNK_BYTES_MAX;
      assert(
        whole.every((bytesOfPiece) => bytesOfPiece === usual),
        lengths.join(' '),
      );
    }),
    { numRuns: 20 },
  );
});
