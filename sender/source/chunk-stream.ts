/** A {@link Stream} over chunks of any size, as a pipe gives them. */
import { abortable } from '../../common/abortable.ts';
import { TransferError, reasonOf } from '../../common/errors.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import type { Stream } from './stream.ts';

export interface ChunkStreamOptions {
  readonly description: SourceDescription;
  /** `--source-size`. */
  readonly sizeBytes: number | null;
  readonly chunks: AsyncIterator<Buffer>;
  /** Ends a read that still waits. */
  readonly close: () => void;
}

export class ChunkStream implements Stream {
  readonly canReread = false;
  readonly description: SourceDescription;
  readonly sizeBytes: number | null;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #close: () => void;
  /** Read but not consumed yet. */
  #rest: Buffer | undefined;
  #doneBytes = 0;

  constructor({ description, sizeBytes, chunks, close }: ChunkStreamOptions) {
    this.description = description;
    this.sizeBytes = sizeBytes;
    this.#chunks = chunks;
    this.#close = close;
  }

  async fill(into: Buffer, signal: AbortSignal): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const chunk = await this.#chunk(signal);
      if (chunk === undefined) break;
      const taken = chunk.copy(into, done);
      this.#rest = taken < chunk.length ? chunk.subarray(taken) : undefined;
      done += taken;
    }
    this.#doneBytes += done;
    return done;
  }

  async isAtEnd(signal: AbortSignal): Promise<boolean> {
    this.#rest = await this.#chunk(signal);
    return this.#rest === undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#close();
    return await Promise.resolve();
  }

  /** The rest of the last chunk, or the next one; undefined at the end. */
  async #chunk(signal: AbortSignal): Promise<Buffer | undefined> {
    signal.throwIfAborted();
    if (this.#rest !== undefined) return this.#rest;
    try {
      const next = await abortable(this.#chunks.next(), signal);
      return next.done === true ? undefined : next.value;
    } catch (error) {
      signal.throwIfAborted();
      throw new TransferError(
        'source-read',
        `cannot read ${this.description.path} after ${this.#doneBytes} bytes: ${reasonOf(error)}`,
        { cause: error, hint: 'run the same pipe again to resume; what was sent is safe' },
      );
    }
  }
}
