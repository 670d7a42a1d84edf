/** The source disk, opened by one process of the sender. */
import type { Area } from '../../common/areas.ts';
import { TransferError } from '../../common/errors.ts';
import type { SourceDescription } from '../../common/protocol/protocol.ts';
import type { Source } from '../../sender/source/source.ts';
import { fillStamps } from './contents.ts';
import type { SimProcess } from './scheduler.ts';
import type { World } from './world.ts';

const VERSION_MAX = 200;

export class SimSource implements Source {
  readonly canReread = true;
  readonly description: SourceDescription = {
    description: 'a simulated source',
    path: '/dev/source',
    model: 'Simulated',
    serial: 'S1',
  };
  readonly sizeBytes: number;
  /** The version of each block that this process has read first. */
  readonly asRead = new Map<number, number>();
  /** Blocks that were unreadable at the first read. */
  readonly unreadable = new Set<number>();
  readonly #world: World;
  readonly #process: SimProcess;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
    this.sizeBytes = world.profile.geometry.sizeBytes;
  }

  async read(into: Buffer<ArrayBuffer>, offset: number): Promise<readonly Area[]> {
    const { contents, source, scheduler, profile } = this.#world;
    const index = offset / profile.geometry.blockSizeBytes;
    if (into.length !== contents.lengthOf(index))
      this.#world.violate(`read ${into.length} bytes at ${offset}`);
    const fault = this.#world.ask('read');
    await scheduler.pause(this.#world.latency(profile.diskMs), this.#process, 'read');
    if (fault === 'sourceEio') throw new TransferError('source-read', `cannot read block ${index}: EIO`);
    if (fault === 'sourceShort')
      throw new TransferError('source-changed', `the source ends in block ${index}`);
    if (fault === 'sourceChange') changeBlock(this.#world, index);
    const isBad = fault === 'sourceBad';
    // Zeros instead, as with --on-read-error zero.
    const version = isBad ? 0 : (source.versions[index] ?? 0);
    scheduler.trace('read', index, version);
    fillStamps(into, contents.of(index, version));
    if (isBad) source.unreadable.add(index);
    if (!this.asRead.has(index)) {
      this.asRead.set(index, version);
      if (isBad) this.unreadable.add(index);
    }
    return isBad ? [[offset, into.length]] : [];
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** Somebody writes to the source. */
export function changeBlock({ source, random, contents }: World, index: number): void {
  if (contents.blockCount === 0) return;
  const highest = Math.max(0, ...source.versions);
  if (highest >= VERSION_MAX) return;
  const version = random.chance(0.2) ? 0 : highest + 1;
  source.versions[index] = version;
  contents.of(index, version);
}
