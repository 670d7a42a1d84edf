/**
 * Whether a connection moves, judged by what the peer has acknowledged and not by what the kernel has
 * buffered, and by responses that arrive at more than a trickle.
 */
import type { Socket } from 'node:net';
import { TransferError } from '../../../common/errors.ts';
import type { UnackedBytes } from './unacked-bytes.ts';

const LOOK_INTERVAL_MS = 5000;
/** Of a response, while it arrives: slower is not a line, but a receiver that wants to be waited for. */
const RESPONSE_BYTES_PER_SECOND_MIN = 1024;
/** A line of 64 kbit/s moves half a megabyte in a minute; without a single byte in that time it is dead. */
export const STALL_MS = 60_000;
/**
 * After an outage the kernel's next retransmission may be as far away as the outage was long. From here on a
 * new connection is tried, to see whether it gets through.
 */
const HANG_MS = 10_000;

export interface StallWatchOptions {
  readonly unacked: Pick<UnackedBytes, 'of'>;
  readonly socketNow: () => Socket | undefined;
  /** How long the receiver may take to respond once it has the whole request. */
  readonly responseMsMax: number;
  /** Whether a new connection gets through now. */
  readonly isReachable: () => Promise<boolean>;
  readonly onStall: (error: TransferError) => void;
  /** What all of the response may take on the line, with heads and framing. */
  readonly responseBytesMax: number;
  /** Default {@link LOOK_INTERVAL_MS}; tests cannot wait for minutes. */
  readonly lookIntervalMs?: number | undefined;
}

/** @returns the shortest standstill; undefined if none is known. */
export function standstillOf(
  all: Iterable<{ readonly standstillMs: number | undefined }>,
): number | undefined {
  const known = Array.from(all, ({ standstillMs }) => standstillMs).filter((ms) => ms !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/**
 * Watches one request. Time is counted in looks, so that a process that was stopped has not missed anything.
 * Until there is a connection only the connect timeout applies.
 */
export class StallWatch implements Disposable {
  readonly #options: StallWatchOptions;
  readonly #timer: NodeJS.Timeout;
  readonly #lookMs: number;
  #seen: string | undefined;
  #seenBytesRead = 0;
  #bytesReadBefore: number | undefined;
  /** From the start of the request to the last movement. */
  #movedForMs = 0;
  #standstillMs: number | undefined;
  #isEnded = false;

  constructor(options: StallWatchOptions) {
    this.#options = options;
    this.#lookMs = options.lookIntervalMs ?? LOOK_INTERVAL_MS;
    this.#timer = setInterval(() => void this.#look(), this.#lookMs);
    this.#timer.unref();
  }

  /** For how long nothing has moved, or no connection has come about; undefined until that is known. */
  get standstillMs(): number | undefined {
    return this.#standstillMs;
  }

  [Symbol.dispose](): void {
    this.#isEnded = true;
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const { unacked, socketNow, onStall, responseMsMax } = this.#options;
    const socket = socketNow();
    const unackedBytes = socket === undefined ? undefined : await unacked.of(socket);
    if (this.#isEnded) return;
    if (socket !== undefined && this.#isTooMuch(socket)) return;
    const seen = socket === undefined ? '' : `${socket.localPort} ${socket.bytesWritten} ${unackedBytes}`;
    const [before, stillMs] = [this.#seen, (this.#standstillMs ?? 0) + this.#lookMs];
    this.#seen = seen;
    if (seen !== before || this.#isArriving(socket)) {
      this.#movedForMs += stillMs;
      this.#standstillMs = before === undefined ? undefined : 0;
      return;
    }
    this.#standstillMs = stillMs;
    if (socket === undefined) return;
    const isSending = unackedBytes !== undefined && unackedBytes > 0;
    const isDead = stillMs >= (isSending ? STALL_MS : responseMsMax);
    if (!isDead && !(isSending && (await this.#hangs(stillMs)))) return;
    if (this.#isEnded) return;
    onStall(new TransferError('connection-failed', `no data on the connection for ${stillMs / 1000} s`));
  }

  #isArriving(socket: Socket | undefined): boolean {
    const bytesRead = socket?.bytesRead ?? 0;
    const bytes = bytesRead - this.#seenBytesRead;
    this.#seenBytesRead = bytesRead;
    return bytes >= (RESPONSE_BYTES_PER_SECOND_MIN * this.#lookMs) / 1000;
  }

  /** Interim responses and framing are not part of a body, which is bounded on its own. */
  #isTooMuch({ bytesRead }: Socket): boolean {
    // A new connection counts from its own beginning.
    const before = Math.min(this.#bytesReadBefore ?? bytesRead, bytesRead);
    this.#bytesReadBefore = before;
    if (bytesRead - before <= this.#options.responseBytesMax) return false;
    this.#options.onStall(new TransferError('bad-answer', 'the response of the receiver does not end'));
    return true;
  }

  /** A new connection gets through, and this one still does not move. */
  async #hangs(stillMs: number): Promise<boolean> {
    // Giving up loses what has come across already: not before it has stood still for as long as it has
    // moved.
    if (stillMs < Math.max(HANG_MS, this.#movedForMs)) return false;
    return (await this.#options.isReachable()) && (this.#standstillMs ?? 0) > 0;
  }
}
