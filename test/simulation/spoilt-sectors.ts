/** Where the disk has lied, and which damage could not have been found. */
import { SECTORS_MAX } from './contents.ts';

/** A write of block `from` that went to block `to`. */
interface Astray {
  readonly from: number;
  readonly to: number;
  /** Of the lie: later damage belongs to another one. */
  readonly serial: number;
}

export class SpoiltSectors {
  /** For each sector the serial number of the lie that damaged it; 0 if none since its last good write. */
  readonly #at: Uint32Array;
  /** For each sector whether it was damaged without a trace elsewhere. */
  readonly #isHidden: Uint8Array;
  #astray: Astray[] = [];

  constructor(sectorCount: number) {
    this.#at = new Uint32Array(sectorCount);
    this.#isHidden = new Uint8Array(sectorCount);
  }

  /**
   * @param mask of the sectors of the block. @param serial grows with every event of the disk.
   */
  mark(block: number, mask: number, serial: number): void {
    for (let at = 0; at < SECTORS_MAX; at++) {
      if (((mask >>> at) & 1) === 0) continue;
      this.#at[block * SECTORS_MAX + at] = serial;
      this.#isHidden[block * SECTORS_MAX + at] = 1;
    }
  }

  clear(sector: number): void {
    this.#at[sector] = 0;
  }

  isSpoilt(sector: number): boolean {
    return this.#at[sector] !== 0;
  }

  /** Whether it was damaged after that, unnoticed. */
  isHiddenSince(sector: number, serial: number): boolean {
    return (this.#at[sector] ?? 0) > serial && this.#isHidden[sector] === 1;
  }

  /** Bytes for one block have overwritten another: to be found when the first one is read back. */
  stray(from: number, to: number, serial: number): void {
    this.#astray.push({ from, to, serial });
  }

  /** The block is written again: what its earlier write did elsewhere cannot be found any more. */
  forget(block: number): void {
    if (this.#astray.length > 0) this.#astray = this.#astray.filter(({ from }) => from !== block);
  }

  /**
   * The block was found to read back wrong: what its bytes have damaged elsewhere has to be found as well.
   */
  tell(block: number): void {
    for (const { from, to, serial } of this.#astray) {
      if (from !== block) continue;
      for (let sector = to * SECTORS_MAX; sector < (to + 1) * SECTORS_MAX; sector++) {
        if (this.#at[sector] === serial) this.#isHidden[sector] = 0;
      }
    }
    this.forget(block);
  }
}
