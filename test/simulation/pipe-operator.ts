/**
 * The person who runs a pipe again and again: which `--source-size` each run gets, how a wrong one is
 * corrected, and when it is of no use to go on.
 */
import type { TransferError } from '../../common/errors.ts';
import { claimedGeometry, claimedSizeOf } from './claimed-geometry.ts';
import { SimPipe } from './sim-pipe.ts';
import type { SimProcess } from './scheduler.ts';
import type { PipeProfile, World } from './world.ts';

const RESIZE_SHARE = 0.4;
const SIZE_UNIT_BYTES = 512;

export class PipeOperator {
  readonly #world: World;
  readonly #pipe: PipeProfile;
  /** Something was wrong with the size: from here on the right one is given. */
  #isCorrected = false;

  constructor(world: World, pipe: PipeProfile) {
    this.#world = world;
    this.#pipe = pipe;
  }

  /** Starts the program before the pipe. */
  open(process: SimProcess): SimPipe {
    return new SimPipe(this.#world, process, this.#pipe, this.#size());
  }

  /** Between two runs the source may have become longer or shorter. */
  resizeSource(): void {
    const { random, contents, source, disk } = this.#world;
    if (!random.chance(RESIZE_SHARE)) return;
    const units = Math.floor(this.#pipe.sizeBytesMax / SIZE_UNIT_BYTES);
    contents.sizeBytes = random.chance(0.5)
      ? random.below(units + 1) * SIZE_UNIT_BYTES
      : random.below(disk.blockCount) * contents.blockSizeBytes;
    source.sizesBytes.add(contents.sizeBytes);
    for (let block = 0; block < contents.blockCount; block++) {
      contents.of(block, (source.versions[block] ??= 1));
    }
  }

  /** @returns the outcome of the whole, if no further run can change it. */
  noteFailure({ code }: TransferError): string | undefined {
    const isOfSize = code === 'transfer-mismatch' || code === 'source-size' || code === 'target-too-small';
    if (!isOfSize && code !== 'source-refused') return undefined;
    if (isOfSize && this.#isHopeless()) return code;
    this.#isCorrected ||= this.#world.faults.isCalm || this.#world.random.chance(0.7);
    return undefined;
  }

  /** The target is too small, or has to be discarded. */
  #isHopeless(): boolean {
    const { contents, journal } = this.#world;
    const { sizeBytes } = contents;
    if (!this.#pipe.isFile && this.#pipe.roomBytes < sizeBytes) return true;
    const claimed = claimedGeometry(this.#world);
    if (claimed === undefined) return false;
    if (claimedSizeOf(this.#world) !== null) return journal.isSealed && claimed.sizeBytes !== sizeBytes;
    // Only a size that is known can be corrected.
    return sizeBytes > claimed.sizeBytes || Math.max(...journal.blocks.keys()) >= contents.blockCount;
  }

  #size(): number | null {
    const { random, contents } = this.#world;
    if (this.#isCorrected) return contents.sizeBytes;
    switch (this.#pipe.sizeGiven) {
      case 'never':
        return null;
      case 'right':
        return contents.sizeBytes;
      case 'wrong':
        return this.#pipe.wrongSizeBytes;
      case 'sometimes':
        return random.chance(0.5) ? contents.sizeBytes : null;
    }
  }
}
