/**
 * Whether a connection moves: seen from what the peer has acknowledged, not from what the kernel has
 * buffered.
 */
import type { Socket } from 'node:net';
import { TransferError } from '../../../common/errors.ts';
import type { UnackedBytes } from './unacked-bytes.ts';

/** How often a connection is looked at. */
const LOOK_INTERVAL_MS = 5000;
/** A line of 64 kbit/s moves half a megabyte in a minute; no byte at all in that time is no line. */
export const STALL_MS = 60_000;
/**
 * A cut leaves the kernel's next attempt as far away as the cut was long. From here on it is tried whether a
 * new connection gets through.
 */
const HANG_MS = 10_000;

export interface StallWatchOptions {
  readonly queues: Pick<UnackedBytes, 'unacknowledgedBytes'>;
  readonly socketNow: () => Socket | undefined;
  /** How long the receiver may take for its answer when it has the whole request. */
  readonly answerMs: number;
  /** Whether a new connection gets through now. */
  readonly isReachable: () => Promise<boolean>;
  readonly onStall: (error: TransferError) => void;
}

/** @returns the shortest of those that are defined: who moves is not kept waiting. */
export function standstillOf(
  all: Iterable<{ readonly standstillMs: number | undefined }>,
): number | undefined {
  const known = Array.from(all, ({ standstillMs }) => standstillMs).filter((ms) => ms !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
}

/**
 * One request under way. Time is counted in looks, so that a process that was stopped has not missed
 * anything. Without a connection the connect timeout rules.
 */
export class StallWatch implements Disposable {
  readonly #watched: StallWatchOptions;
  readonly #timer: NodeJS.Timeout;
  #seen: string | undefined;
  /** From its begin to the last movement. */
  #movedForMs = 0;
  #standstillMs: number | undefined;
  #isEnded = false;

  constructor(watched: StallWatchOptions) {
    this.#watched = watched;
    this.#timer = setInterval(() => void this.#look(), LOOK_INTERVAL_MS);
    this.#timer.unref();
  }

  /**
   * Milliseconds in which nothing has moved, or in which it has not come to a connection; undefined until
   * that is known.
   */
  get standstillMs(): number | undefined {
    return this.#standstillMs;
  }

  [Symbol.dispose](): void {
    this.#isEnded = true;
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const { queues, socketNow, onStall, answerMs } = this.#watched;
    const socket = socketNow();
    const queued = socket === undefined ? undefined : await queues.unacknowledgedBytes(socket);
    if (this.#isEnded) return;
    const seen =
      socket === undefined ? '' : `${socket.localPort} ${socket.bytesWritten} ${socket.bytesRead} ${queued}`;
    const [before, stillMs] = [this.#seen, (this.#standstillMs ?? 0) + LOOK_INTERVAL_MS];
    this.#seen = seen;
    if (seen !== before) {
      this.#movedForMs += stillMs;
      this.#standstillMs = before === undefined ? undefined : 0;
      return;
    }
    this.#standstillMs = stillMs;
    if (socket === undefined) return;
    const isUnderWay = queued !== undefined && queued > 0;
    const isLost = stillMs >= (isUnderWay ? STALL_MS : answerMs);
    if (!isLost && !(isUnderWay && (await this.#hangs(stillMs)))) return;
    if (this.#isEnded) return;
    const seconds = stillMs / 1000;
    onStall(new TransferError('connection-failed', `the connection did not move for ${seconds} s`));
  }

  /** A new connection gets through, and this one still does not move. */
  async #hangs(stillMs: number): Promise<boolean> {
    // Not sooner than it has moved: what has come across is lost then, and on a slow line that is dear.
    if (stillMs < Math.max(HANG_MS, this.#movedForMs)) return false;
    return (await this.#watched.isReachable()) && (this.#standstillMs ?? 0) > 0;
  }
}
