/** A disk that writes to other places than it was told to, and whose answers can be held up. */
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import { MemoryTarget } from './memory-target.ts';
import { BLOCK_BYTES } from './open-transfer.ts';

export interface Hold {
  /** Resolves when that block has been read. */
  readonly arrived: Promise<void>;
  open(): void;
}

export class OddDisk extends MemoryTarget {
  /** Block → the block in whose place its bytes go. */
  readonly astray = new Map<number, number>();
  readonly #holds = new Map<number, { arrive: () => void; opened: Promise<void> }>();

  override async write(bytes: Buffer, offset: number): Promise<void> {
    const to = this.astray.get(offset / BLOCK_BYTES);
    await super.write(bytes, to === undefined ? offset : to * BLOCK_BYTES);
  }

  /** The next reading back of this block has its bytes, but does not end before it is opened. */
  holdReadBack(index: number): Hold {
    const [arrived, opened] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    this.#holds.set(index, { arrive: arrived.resolve, opened: opened.promise });
    return { arrived: arrived.promise, open: opened.resolve };
  }

  override async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    const method = await super.readBack(into, offset);
    const hold = this.#holds.get(offset / BLOCK_BYTES);
    this.#holds.delete(offset / BLOCK_BYTES);
    hold?.arrive();
    await hold?.opened;
    return method;
  }
}
