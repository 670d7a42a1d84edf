/**
 * A pipe as one process of the sender reads it: another program writes the source into it, from its first
 * byte, in pieces of any size. The pipe may break, pause for long, or end early.
 */
import { offsetOf, blockIndexOf } from '../../common/geometry.ts';
import { ChunkStream } from '../../sender/source/chunk-stream.ts';
import { SECTOR_BYTES, SECTORS_MAX, type Stamps } from './contents.ts';
import type { SimProcess } from './scheduler.ts';
import { changeBlock } from './sim-source.ts';
import type { PipeProfile, World } from './world.ts';

/** A program may have nothing to write for that long; nothing waits for it with a time limit. */
const SILENCE_MS_MAX = 600_000;
/** Only a pipe that is closed by a signal ends anywhere. */
const END_UNIT_BYTES = 512;
/** A stamp, as it lies in memory. */
const STAMP_BYTES = 4;

export class SimPipe {
  readonly stream: ChunkStream;
  /** `--source-size`. */
  readonly givenBytes: number | null;
  /** The version of each block that the program has written, or begun to. */
  readonly asRead = new Map<number, number>();
  /** What a pipe has is never unreadable in places. */
  readonly unreadable: ReadonlySet<number> = new Set();
  deliveredBytes = 0;
  hasEnded = false;
  readonly #world: World;
  readonly #pipe: PipeProfile;
  readonly #process: SimProcess;
  readonly #closed = Promise.withResolvers<void>();
  #isClosed = false;
  #endBytes: number;

  constructor(world: World, process: SimProcess, pipe: PipeProfile, givenBytes: number | null) {
    this.#world = world;
    this.#process = process;
    this.#pipe = pipe;
    this.givenBytes = givenBytes;
    this.#endBytes = world.contents.sizeBytes;
    this.stream = new ChunkStream({
      description: { description: 'a pipe', path: 'standard input', model: null, serial: null },
      sizeBytes: givenBytes,
      chunks: { next: async () => await this.#next() },
      close: () => {},
    });
  }

  /** Ctrl-C: the program before the pipe ends where it is. */
  close(): void {
    this.#isClosed = true;
    this.#closed.resolve();
  }

  /** What the process has got of the block. */
  stampsOf(block: number): Stamps | undefined {
    const version = this.asRead.get(block);
    if (version === undefined) return undefined;
    const { contents } = this.#world;
    const lengthBytes = Math.min(
      contents.lengthOf(block),
      this.deliveredBytes - offsetIn(this.#world, block),
    );
    return contents.of(block, version).subarray(0, Math.ceil(lengthBytes / SECTOR_BYTES));
  }

  async #next(): Promise<IteratorResult<Buffer, undefined>> {
    const { scheduler, profile, random } = this.#world;
    const fault = this.#world.ask('read');
    const silentMs = fault === 'sourceBad' ? random.unit() * SILENCE_MS_MAX : 0;
    const delayMs = this.#world.latency(profile.diskMs) + silentMs;
    await Promise.race([scheduler.pause(delayMs, this.#process, 'pipe'), this.#closed.promise]);
    if (fault === 'sourceEio') throw Object.assign(new Error('read EIO'), { code: 'EIO' });
    if (fault === 'sourceShort') this.#endEarly();
    if (fault === 'sourceChange' && !this.#isAtEnd) changeBlock(this.#world, this.#block);
    if (this.#isAtEnd) {
      this.hasEnded = true;
      return { done: true, value: undefined };
    }
    const most = random.chance(0.1) ? SECTOR_BYTES : this.#pipe.readBytesMax;
    const end = Math.min(this.#endBytes, this.deliveredBytes + random.between(1, most));
    return { done: false, value: this.#write(end) };
  }

  get #isAtEnd(): boolean {
    return this.#isClosed || this.deliveredBytes >= this.#endBytes;
  }

  get #block(): number {
    return Math.floor(this.deliveredBytes / this.#world.contents.blockSizeBytes);
  }

  /** The program fails, which nobody can tell from the end of what it writes. */
  #endEarly(): void {
    const { source, contents } = this.#world;
    const end = Math.ceil(this.deliveredBytes / END_UNIT_BYTES) * END_UNIT_BYTES;
    if (end >= this.#endBytes) return;
    this.#endBytes = end;
    source.sizesBytes.add(end);
    const lengthBytes = end % contents.blockSizeBytes;
    const version = this.asRead.get(this.#block);
    if (version !== undefined && lengthBytes > 0) contents.addStart(this.#block, version, lengthBytes);
  }

  #write(end: number): Buffer {
    const from = this.deliveredBytes;
    const chunk = Buffer.alloc(end - from);
    for (let sector = Math.floor(from / SECTOR_BYTES); sector * SECTOR_BYTES < end; sector++) {
      const stamp = this.#stampAt(sector);
      for (let at = 0; at < STAMP_BYTES; at++) {
        const place = sector * SECTOR_BYTES + at - from;
        if (place >= 0 && place < chunk.length) chunk[place] = (stamp >>> (8 * at)) & 0xff;
      }
    }
    this.deliveredBytes = end;
    this.#world.scheduler.trace('piped', from, end);
    return chunk;
  }

  #stampAt(sector: number): number {
    const { contents, source } = this.#world;
    const block = Math.floor(sector / SECTORS_MAX);
    // A block is written at once, whatever changes while it is read in pieces.
    const version = this.asRead.get(block) ?? source.versions[block] ?? 0;
    this.asRead.set(block, version);
    return contents.of(block, version)[sector % SECTORS_MAX] ?? 0;
  }
}

function offsetIn({ contents }: World, block: number): number {
  return offsetOf(blockIndexOf(block, contents), contents);
}
