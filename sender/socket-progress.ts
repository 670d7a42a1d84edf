/**
 * Whether a connection moves: seen from what the peer has acknowledged, not from what the kernel has
 * buffered.
 */
import type { Socket } from 'node:net';
import type { SendQueues } from './send-queues.ts';

/** How often a connection is looked at. */
const LOOK_INTERVAL_MS = 5000;
/**
 * Calls `onStall` when the connection has not moved for `timeoutMs`. Without a connection the connect timeout
 * rules.
 * @returns to be disposed when the request has ended.
 */
export function watchProgress(
  queues: SendQueues,
  socketNow: () => Socket | undefined,
  timeoutMs: number,
  onStall: () => void,
): Disposable {
  let seen = '';
  let unchangedMs = 0;
  let isEnded = false;
  const look = async (): Promise<void> => {
    const socket = socketNow();
    const queued = socket === undefined ? undefined : await queues.unacknowledgedBytes(socket);
    if (isEnded) return;
    const now =
      socket === undefined ? '' : `${socket.localPort} ${socket.bytesWritten} ${socket.bytesRead} ${queued}`;
    unchangedMs = now === seen && now !== '' ? unchangedMs + LOOK_INTERVAL_MS : 0;
    seen = now;
    if (unchangedMs >= timeoutMs) onStall();
  };
  const timer = setInterval(() => void look(), LOOK_INTERVAL_MS);
  timer.unref();
  return {
    [Symbol.dispose]: () => {
      isEnded = true;
      clearInterval(timer);
    },
  };
}
