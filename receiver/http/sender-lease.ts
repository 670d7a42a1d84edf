/**
 * One sender at a time. Two that send different disks would overwrite each other's blocks: neither could
 * seal, and days would be lost. The lease lasts as long as the sender's connections: it is free once they are
 * closed, or once none of them has delivered a byte for a minute (a machine that lost its power closes
 * nothing). Requests without a sender's name, as curl's, need no lease.
 */
import type { Socket } from 'node:net';
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { formatDuration } from '../../common/units.ts';

/** No byte in a minute: the line is down, or the sender's machine. */
const SILENT_MS = 60_000;
const RETRY_AFTER_SECONDS = 5;

export interface LeaseEvents {
  senderConnected(address: string): void;
  /** Its last connection was closed. */
  senderGone(address: string): void;
  /** The same sender, after it was gone. */
  senderBack(address: string): void;
}

interface Holder {
  readonly id: string;
  readonly sockets: Set<Socket>;
  address: string;
  lastMs: number;
  /** Received over its open connections when it was last looked at. */
  lastBytes: number;
}

export class SenderLease {
  readonly #clock: Clock;
  readonly #events: LeaseEvents;
  #holder: Holder | undefined;
  #closedBytes = 0;

  constructor(clock: Clock, events: LeaseEvents) {
    this.#clock = clock;
    this.#events = events;
  }

  /** From all senders so far, as it travelled. */
  get receivedBytes(): number {
    return this.#closedBytes + (this.#holder === undefined ? 0 : bytesOver(this.#holder.sockets));
  }

  /** @throws TransferError `in-use` while another sender has the lease. */
  check(id: string, socket: Socket): void {
    const now = this.#clock.monotonicMs();
    const holder = this.#holder?.id === id ? this.#holder : this.#replaceHolder(id, now);
    holder.lastMs = now;
    if (holder.sockets.has(socket)) return;
    this.#add(holder, socket);
  }

  /** @throws TransferError `in-use`. */
  #replaceHolder(id: string, now: number): Holder {
    const holder = this.#holder;
    if (holder !== undefined) {
      const silentMs = silenceOf(holder, now);
      if (holder.sockets.size > 0 && silentMs < SILENT_MS) {
        throw new TransferError(
          'in-use',
          `another ddt-send at ${holder.address} is sending to this target ` +
            `(last data ${formatDuration(silentMs)} ago)`,
          { retryAfterSeconds: RETRY_AFTER_SECONDS },
        );
      }
      // Any reply over these would reach a sender that has given up.
      for (const socket of holder.sockets) socket.destroy();
    }
    return { id, sockets: new Set(), address: '', lastMs: now, lastBytes: 0 };
  }

  #add(holder: Holder, socket: Socket): void {
    const isNew = holder !== this.#holder;
    const isBack = !isNew && holder.sockets.size === 0;
    this.#holder = holder;
    holder.address = peerAddress(socket);
    holder.sockets.add(socket);
    socket.once('close', () => this.#remove(holder, socket));
    if (isNew) this.#events.senderConnected(holder.address);
    else if (isBack) this.#events.senderBack(holder.address);
  }

  #remove(holder: Holder, socket: Socket): void {
    this.#closedBytes += socket.bytesRead;
    holder.sockets.delete(socket);
    if (holder === this.#holder && holder.sockets.size === 0) this.#events.senderGone(holder.address);
  }
}

/** `203.0.113.7`, also where a socket for IPv6 took the connection. */
export function peerAddress({ remoteAddress }: Socket): string {
  return remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '') ?? 'an unknown address';
}

function bytesOver(sockets: Iterable<Socket>): number {
  let bytes = 0;
  for (const { bytesRead } of sockets) bytes += bytesRead;
  return bytes;
}

/** A slow line may take hours for a block: what counts is whether bytes arrive. */
function silenceOf(holder: Holder, now: number): number {
  const bytes = bytesOver(holder.sockets);
  if (bytes !== holder.lastBytes) {
    holder.lastBytes = bytes;
    holder.lastMs = now;
  }
  return now - holder.lastMs;
}
