/** Another program: dd(1) writes random bytes to the target while a transfer runs, and between its runs. */
import { systemClock } from '../../common/clock.ts';
import type { Prng } from '../../test/support/prng.ts';
import { runOk } from '../../test/support/run.ts';

const DIRECT_BYTES = 4096;
const DIRECT_COUNT_MAX = 4;
const CACHED_BYTES_MAX = 3000;
/** The receiver dates its receipt in milliseconds, just after the comparison that proves it. */
const DATE_MARGIN_MS = 50;

interface ForeignWrite {
  readonly fromByte: number;
  readonly endByte: number;
  /** When dd had ended; undefined while it runs. */
  endedMs: number | undefined;
}

export class ForeignWriter {
  readonly #target: string;
  readonly #sizeBytes: number;
  readonly #random: Prng;
  readonly #writes: ForeignWrite[] = [];

  constructor(options: { target: string; sizeBytes: number; random: Prng }) {
    ({ target: this.#target, sizeBytes: this.#sizeBytes, random: this.#random } = options);
  }

  get count(): number {
    return this.#writes.length;
  }

  /** A few pages past the page cache, or some bytes through it. */
  async write(): Promise<void> {
    const random = this.#random;
    if (random.below(2) === 0) {
      const count = 1 + random.below(DIRECT_COUNT_MAX);
      const seek = random.below(Math.floor(this.#sizeBytes / DIRECT_BYTES) - count);
      await this.#dd(DIRECT_BYTES, { seek, count, flags: ['oflag=direct'] });
    } else {
      const count = 1 + random.below(CACHED_BYTES_MAX);
      await this.#dd(1, { seek: random.below(this.#sizeBytes - count), count, flags: [] });
    }
  }

  async #dd(
    unitBytes: number,
    { seek, count, flags }: { seek: number; count: number; flags: readonly string[] },
  ): Promise<void> {
    const write: ForeignWrite = {
      fromByte: seek * unitBytes,
      endByte: (seek + count) * unitBytes,
      endedMs: undefined,
    };
    this.#writes.push(write);
    const place = [`bs=${unitBytes}`, `seek=${seek}`, `count=${count}`];
    const files = ['if=/dev/urandom', `of=${this.#target}`, 'conv=notrunc', 'status=none'];
    await runOk('dd', [...files, ...place, ...flags]);
    write.endedMs = systemClock.wallMs();
  }

  /** Whether any of these bytes was overwritten; with a date: by a write that may have ended after it. */
  hasTouched(fromByte: number, endByte: number, sinceMs = -Infinity): boolean {
    return this.#writes.some(
      (write) =>
        write.fromByte < endByte &&
        fromByte < write.endByte &&
        (write.endedMs ?? Infinity) > sinceMs - DATE_MARGIN_MS,
    );
  }
}
