/**
 * One sender at a time. Two that send different disks would overwrite each other's blocks; neither could
 * seal, but days would be lost. The lease goes with the sender's connections: it is free when they are
 * closed, or when no byte came over any of them for a minute (a machine that lost its power closes nothing).
 * Requests without a sender's name, curl's, are not counted.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { formatDuration } from '../../common/units.ts';

/** No byte in a minute: the line is down, or its other end. */
const SILENT_MS = 60_000;
const RETRY_AFTER_SECONDS = 5;

interface Holder {
  readonly id: string;
  readonly sockets: Set<Socket>;
  readonly address: string;
  lastMs: number;
  /** Bytes received over its connections, when last looked at. */
  lastBytes: number;
}

export class SenderLease {
  readonly #clock: Clock;
  #holder: Holder | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @throws TransferError `in-use` while another sender is at work. */
  check(id: string, socket: Socket): void {
    const now = this.#clock.monotonicMs();
    const holder = this.#holder;
    if (holder !== undefined && holder.id !== id) {
      const silentMs = silenceOf(holder, now);
      if (holder.sockets.size > 0 && silentMs < SILENT_MS) {
        throw new TransferError(
          'in-use',
          `another ddt-send at ${holder.address} is sending to this target ` +
            `(last heard ${formatDuration(silentMs)} ago)`,
          { retryAfterSeconds: RETRY_AFTER_SECONDS },
        );
      }
      // What is left of them would only come to a sender that has given up.
      for (const other of holder.sockets) other.destroy();
    }
    const mine: Holder =
      holder?.id === id
        ? holder
        : {
            id,
            sockets: new Set(),
            address: socket.remoteAddress ?? 'an unknown address',
            lastMs: now,
            lastBytes: 0,
          };
    mine.lastMs = now;
    this.#holder = mine;
    if (mine.sockets.has(socket)) return;
    mine.sockets.add(socket);
    socket.once('close', () => mine.sockets.delete(socket));
  }
}

/** A slow line may need hours for a block: what counts is whether bytes come. */
function silenceOf(holder: Holder, now: number): number {
  const bytes = [...holder.sockets].reduce((sum, socket) => sum + socket.bytesRead, 0);
  if (bytes !== holder.lastBytes) {
    holder.lastBytes = bytes;
    holder.lastMs = now;
  }
  return now - holder.lastMs;
}
