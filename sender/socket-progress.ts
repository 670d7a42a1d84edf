/**
 * Whether a connection moves: seen from what the peer has acknowledged, not from what the kernel has
 * buffered.
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';

/** How often a connection is looked at. */
const LOOK_INTERVAL_MS = 5000;
/** /proc/net/tcp (proc_net_tcp(5)): local and remote address:port in hex, state, tx_queue:rx_queue. */
const TCP_LINE = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/;

/**
 * Bytes that were written but not acknowledged by the peer. A block of megabytes fits into the kernel's
 * buffers, so that nothing else moves for minutes on a slow line.
 */
export async function unacknowledgedBytes(socket: Socket): Promise<number | undefined> {
  const { localPort, remotePort } = socket;
  for (const path of ['/proc/self/net/tcp', '/proc/self/net/tcp6']) {
    const table = await readFile(path, 'utf8').catch(() => '');
    for (const line of table.split('\n')) {
      const match = TCP_LINE.exec(line);
      if (match === null || parseInt(match[1] ?? '', 16) !== localPort) continue;
      if (parseInt(match[2] ?? '', 16) === remotePort) return parseInt(match[3] ?? '', 16);
    }
  }
  return undefined;
}

/**
 * Calls `onStall` when the connection has not moved for `timeoutMs`. Without a connection the connect timeout
 * rules.
 * @returns to be disposed when the request has ended.
 */
export function watchProgress(
  socketNow: () => Socket | undefined,
  timeoutMs: number,
  onStall: () => void,
): Disposable {
  let seen = '';
  let unchangedMs = 0;
  let isEnded = false;
  const look = async (): Promise<void> => {
    const socket = socketNow();
    const queued = socket === undefined ? undefined : await unacknowledgedBytes(socket);
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
