/**
 * Reads runs of blocks of zeros in a thread of its own, past the page cache. Where nothing was ever written,
 * reading costs less than handing each block to libuv's threads and back, and comparing it on another core
 * than the one that has it in its cache. Every byte is read; what is not zeros, and what can't be read, is
 * left to the caller.
 */
import type { FileHandle } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';

/** Declared as in buffers.ts. */
declare const WebAssembly: {
  Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};

/** Holes of this much take 3 ms; asking for more at once saves nothing. */
export const ZERO_RUN_BYTES_MAX = 64 * 1024 * 1024;
/** A disk that takes longer for that is better read by several threads, in larger parts. */
const RUN_MS_MAX = 20;
/** After a run that took too long, so many calls read nothing; twice as many after the next one. */
const PAUSE_CALLS_MIN = 8;
const PAUSE_CALLS_MAX = 4096;

interface Request {
  readonly fd: number;
  readonly offset: number;
  readonly blockBytes: number;
  readonly count: number;
  readonly msMax: number;
}

interface Reply {
  readonly count: number;
  readonly isQuick: boolean;
  /** A read failed: on a dying disk each one more does harm, and takes long. */
  readonly hasFailed: boolean;
}

export class ZeroRuns implements AsyncDisposable {
  readonly #direct: FileHandle;
  #thread: Worker | undefined;
  /** In the order of their requests. */
  readonly #waiting: ((reply: Reply) => void)[] = [];
  #isOver = false;
  #pauseCalls = PAUSE_CALLS_MIN;
  #callsLeft = 0;

  /** @param direct with O_DIRECT; to be closed after this is disposed. */
  constructor(direct: FileHandle) {
    this.#direct = direct;
  }

  /**
   * Reads `count` whole blocks from `offset`, until it finds something else than zeros, an error, the end, or
   * that the disk is slow. After an error it reads nothing any more.
   * @returns how many blocks, from the first on, were read and are zeros. 0 says nothing about the first.
   */
  async count(offset: number, blockBytes: number, count: number): Promise<number> {
    if (this.#isOver || this.#callsLeft > 0) {
      this.#callsLeft--;
      return 0;
    }
    const thread = this.#start();
    if (thread === undefined) return 0;
    const { promise, resolve } = Promise.withResolvers<Reply>();
    this.#waiting.push(resolve);
    thread.ref();
    const { fd } = this.#direct;
    thread.postMessage({ fd, offset, blockBytes, count, msMax: RUN_MS_MAX } satisfies Request);
    const reply = await promise;
    if (reply.hasFailed) this.#callsLeft = Infinity;
    else if (!reply.isQuick && this.#callsLeft !== Infinity) {
      this.#callsLeft = this.#pauseCalls;
      this.#pauseCalls = Math.min(this.#pauseCalls * 2, PAUSE_CALLS_MAX);
    } else if (reply.count === count) this.#pauseCalls = PAUSE_CALLS_MIN;
    return reply.count;
  }

  /** Resolves when nothing is being read any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.#thread?.terminate();
    this.#end();
  }

  /** @returns undefined if there can't be one, without memory for example: the callers read everything. */
  #start(): Worker | undefined {
    if (this.#thread !== undefined) return this.#thread;
    let thread: Worker;
    try {
      // The text of the function: a program in a single file has no other file to load.
      thread = new Worker(`(${serve.toString()})()`, { eval: true, name: 'zero-runs' });
    } catch {
      this.#end();
      return undefined;
    }
    this.#thread = thread;
    thread.on('message', (reply: Reply) => {
      this.#waiting.shift()?.(reply);
      if (this.#waiting.length === 0) thread.unref();
    });
    thread.on('error', () => this.#end());
    thread.on('exit', () => this.#end());
    return thread;
  }

  #end(): void {
    this.#isOver = true;
    for (const resolve of this.#waiting.splice(0)) resolve({ count: 0, isQuick: false, hasFailed: true });
  }
}

/** Runs in the thread, from its text: it refers to nothing outside itself, and names no function inside. */
function serve(): void {
  const { parentPort } = process.getBuiltinModule('node:worker_threads');
  const { readSync } = process.getBuiltinModule('node:fs');
  // Of WebAssembly, as O_DIRECT wants it (buffers.ts), and small enough for a core's own cache.
  const { buffer } = new WebAssembly.Memory({ initial: 8, maximum: 8 });
  parentPort?.on('message', ({ fd, offset, blockBytes, count, msMax }: Request) => {
    const part = Buffer.from(buffer, 0, Math.min(blockBytes, buffer.byteLength));
    const [before, after] = [part.subarray(0, -1), part.subarray(1)];
    const end = offset + count * blockBytes;
    const untilMs = performance.now() + msMax;
    let at = offset;
    let hasFailed = false;
    try {
      while (at < end) {
        if (performance.now() >= untilMs) break;
        if (readSync(fd, part, 0, part.length, at) !== part.length) break;
        // As isZero (zeros.ts) does.
        if (part[0] !== 0 || !after.equals(before)) break;
        at += part.length;
      }
    } catch {
      // The caller reads it again, and tells the error.
      hasFailed = true;
    }
    const isQuick = performance.now() < untilMs;
    const whole = Math.floor((at - offset) / blockBytes);
    parentPort?.postMessage({ count: whole, isQuick, hasFailed } satisfies Reply);
  });
}
