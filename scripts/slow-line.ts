/** A line of limited rate on loopback: bytes to the receiver wait their turn, answers do not. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { Failure } from './both-sides.ts';

/** Timers are no finer; shorter waits are saved up. */
const WAIT_MS_MIN = 5;

/** All connections share the rate, as on a real line. @returns the port to connect to; `stack` closes it. */
export async function startSlowLine(
  receiverPort: number,
  bytesPerSecond: number,
  stack: AsyncDisposableStack,
): Promise<number> {
  let freeAtMs = 0;
  async function* inTurn(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      const nowMs = performance.now();
      freeAtMs = Math.max(freeAtMs, nowMs) + (piece.length / bytesPerSecond) * 1000;
      if (freeAtMs - nowMs > WAIT_MS_MIN) await delay(freeAtMs - nowMs);
      yield piece;
    }
  }
  const open = new Set<Socket>();
  async function join(near: Socket, far: Socket): Promise<void> {
    open.add(near).add(far);
    // A connection that dies, as when the sender is killed, concerns its two ends only.
    await Promise.allSettled([pipeline(near, inTurn, far), pipeline(far, near)]);
    open.delete(near);
    open.delete(far);
  }
  const server = createServer((near) => void join(near, connect(receiverPort, '127.0.0.1')));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  stack.defer(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Failure('the slow line has no port');
  return address.port;
}
