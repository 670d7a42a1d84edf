/**
 * The target disk: what reads return, what a power cut leaves, and everything that can fail in between. It
 * outlives the processes that write to it; sim-target.ts is one process's handle to it.
 */
import { blockCountOf, blockIndexOf, lengthOf, type Geometry } from '../../common/geometry.ts';
import { SECTORS_MAX, SECTOR_BYTES, type Stamps } from './contents.ts';
import { FileLength } from './file-length.ts';
import type { Random } from './random.ts';
import type { SimProcess } from './scheduler.ts';
import type { Lie, Writing } from './sim-writing.ts';
import { SpoiltSectors } from './spoilt-sectors.ts';

/** A write that the device has taken and not flushed yet: any of its sectors may be lost. */
interface Unflushed {
  readonly serial: number;
  readonly block: number;
  readonly stamps: Stamps;
  /** A bit mask of the sectors that it still covers. */
  mask: number;
}

/** Which writes, and changes of its length, a flush makes durable. */
export interface FlushMark {
  readonly serial: number;
  readonly lengths: number;
}

/** What another program has written and the kernel still keeps in the page cache. */
interface ForeignDirt {
  readonly block: number;
  readonly mask: number;
  readonly stamp: number;
  readonly sinceMs: number;
}

export class SimDisk {
  /** All that it can hold. */
  readonly #room: Geometry;
  readonly #random: Random;
  /** What reads through the page cache return. */
  readonly #cached: Uint32Array;
  /** What reads past the page cache return. */
  readonly #device: Uint32Array;
  /** What is certainly on the medium after a power cut, except for unflushed writes. */
  readonly #medium: Uint32Array;
  readonly #spoilt: SpoiltSectors;
  /**
   * For each block the serial number of its last verifying read; 0 if it was not read since it was written.
   */
  readonly #readAt: Uint32Array;
  #unflushed: Unflushed[] = [];
  #serial = 0;
  readonly writing = new Set<Writing>();
  /** What others wrote, as the kernel counts it: when it leaves the page cache. */
  foreignBytes = 0;
  /** Grows with each write by anybody, as the times of a file do. */
  changeCount = 0;
  #foreignDirt: ForeignDirt[] = [];
  /** For each sector whether another program was the last to write to it. */
  readonly #isForeign: Uint8Array;
  /** Grows with each change. */
  version = 0;
  /** undefined: a device. */
  readonly length: FileLength | undefined;

  constructor(room: Geometry, random: Random, isFile: boolean) {
    this.#room = room;
    this.#random = random;
    this.length = isFile ? new FileLength() : undefined;
    const blockCount = blockCountOf(room);
    const count = blockCount * SECTORS_MAX;
    // Old data; a quarter of the disks are empty, and so is a new file.
    const isEmpty = random.chance(0.25) || isFile;
    this.#medium = Uint32Array.from({ length: count }, () => (isEmpty ? 0 : 0xf0000000 + random.below(1000)));
    this.#device = this.#medium.slice();
    this.#cached = this.#medium.slice();
    this.#spoilt = new SpoiltSectors(count);
    this.#readAt = new Uint32Array(blockCount);
    this.#isForeign = new Uint8Array(count);
  }

  begin(writing: Writing): void {
    this.settleOthers(writing.block);
    this.changeCount++;
    this.writing.add(writing);
    this.#readAt[writing.block] = 0;
    this.#spoilt.forget(writing.block);
  }

  /** Another program writes junk, through the page cache or past it. */
  writeAsOther(block: number, mask: number, { isCached, nowMs }: { isCached: boolean; nowMs: number }): void {
    this.changeCount++;
    const all = (1 << this.#sectorsOf(block)) - 1;
    const stamp = 0xe0000000 + this.#random.below(1000);
    this.#foreignDirt.push({ block, mask: mask & all, stamp, sinceMs: nowMs });
    if (!isCached) this.settleOthers(block);
  }

  /** What others left in the page cache reaches the device, and is counted. @param block undefined: all. */
  settleOthers(block?: number): void {
    for (const { block: at, mask, stamp } of this.#foreignDirt.filter(
      (dirt) => block === undefined || dirt.block === block,
    )) {
      for (let index = 0; index < SECTORS_MAX; index++) {
        if (((mask >>> index) & 1) === 0) continue;
        const sector = at * SECTORS_MAX + index;
        for (const view of [this.#medium, this.#device, this.#cached]) view[sector] = stamp;
        for (const entry of this.#unflushed) if (entry.block === at) entry.mask &= ~(1 << index);
        this.#isForeign[sector] = 1;
        this.foreignBytes += SECTOR_BYTES;
      }
      this.#spoil(at, mask);
    }
    this.#foreignDirt = this.#foreignDirt.filter((dirt) => block !== undefined && dirt.block !== block);
  }

  /**
   * Whether the block differs because of what another program has written. @param askedMs when the seal was
   * asked for: what was written into the page cache after that is a later write.
   */
  isChangedByOthers(block: number, expected: Stamps, askedMs: number): boolean {
    for (let at = 0; at < expected.length; at++) {
      const sector = block * SECTORS_MAX + at;
      if (this.#isForeign[sector] === 1 && this.#device[sector] !== expected[at]) return true;
    }
    return this.#foreignDirt.some(
      (dirt) => dirt.block === block && dirt.sinceMs < askedMs && dirt.mask !== 0,
    );
  }

  /** Of a file: what was behind the end is gone, what comes reads as zeros. */
  setLength(bytes: number): void {
    this.version++;
    this.changeCount++;
    this.length?.set(bytes);
    this.#clearFrom(bytes, [this.#device, this.#cached]);
    const end = Math.ceil(bytes / SECTOR_BYTES);
    for (const entry of this.#unflushed) {
      const kept = Math.max(0, Math.min(SECTORS_MAX, end - entry.block * SECTORS_MAX));
      entry.mask &= (1 << kept) - 1;
    }
  }

  /** The receiver has found that the block holds other bytes than were written. */
  tell(block: number): void {
    this.version++;
    this.#spoilt.tell(block);
  }

  /**
   * The device takes the sectors in `mask` that it has not taken yet, unflushed.
   */
  take(writing: Writing, mask = -1): void {
    this.#put(writing.block, writing.stamps(), mask & ~writing.taken);
    writing.taken |= mask;
  }

  /** As {@link take}, but the device lies about it. */
  lie({ block, stamps }: Writing, lie: Lie): void {
    const wanted = stamps();
    const count = wanted.length;
    for (let at = 0; at < count; at++) this.#cached[block * SECTORS_MAX + at] = wanted[at] ?? 0;
    const spoilt = wanted.slice();
    const victim = this.#random.below(count);
    let mask = 0;
    if (lie === 'writeFlipped') {
      spoilt[victim] = (spoilt[victim] ?? 0) ^ (1 << this.#random.below(32));
      mask = -1;
    }
    if (lie === 'writeTorn') mask = (1 << victim) - 1;
    if (lie === 'writeMisdirected') {
      const other = this.#random.below(blockCountOf(this.#room));
      const there = wanted.subarray(0, Math.min(count, this.#sectorsOf(other)));
      const sectors = (1 << there.length) - 1;
      // Straight to the medium: the wrong place holds it, whatever waited to be flushed there.
      for (const view of [this.#medium, this.#device, this.#cached]) view.set(there, other * SECTORS_MAX);
      // What another program wrote there is gone, too.
      this.#isForeign.fill(0, other * SECTORS_MAX, other * SECTORS_MAX + there.length);
      for (const entry of this.#unflushed) if (entry.block === other) entry.mask &= ~sectors;
      this.#spoil(other, sectors);
      this.#spoilt.stray(block, other, this.#serial);
    }
    this.#put(block, spoilt, mask);
    this.#spoil(block, lie === 'writeFlipped' ? 1 << victim : ~mask);
  }

  /** A bit written long ago flips. */
  flipAtRest(block: number): void {
    const at = this.#random.below(this.#sectorsOf(block));
    const bit = 1 << this.#random.below(32);
    // What is about to be written there is not at rest.
    if (this.#unflushed.some((other) => other.block === block && ((other.mask >>> at) & 1) === 1)) return;
    for (const view of [this.#medium, this.#device, this.#cached]) {
      view[block * SECTORS_MAX + at] = (view[block * SECTORS_MAX + at] ?? 0) ^ bit;
    }
    this.#spoil(block, 1 << at);
  }

  get blockCount(): number {
    return blockCountOf(this.#room);
  }

  /** Bytes of the writes that are in progress. */
  get bytesInProgress(): number {
    let sectors = 0;
    for (const { block } of this.writing) sectors += this.#sectorsOf(block);
    return sectors * SECTOR_BYTES;
  }

  /** Which writes a flush that starts now makes durable. */
  get flushMark(): FlushMark {
    return { serial: this.#serial, lengths: this.length?.flushMark ?? 0 };
  }

  persist(mark: FlushMark): void {
    this.version++;
    if (this.length !== undefined) this.#clearFrom(this.length.persist(mark.lengths), [this.#medium]);
    for (const { serial, block, stamps, mask } of this.#unflushed) {
      if (serial > mark.serial) break;
      for (let at = 0; at < stamps.length; at++) {
        if ((mask >>> at) & 1) this.#medium[block * SECTORS_MAX + at] = stamps[at] ?? 0;
      }
    }
    this.#unflushed = this.#unflushed.filter(({ serial }) => serial > mark.serial);
  }

  /**
   * Write-back has failed: any part of the unflushed writes is lost, although the page cache still shows it.
   */
  lose(): void {
    this.version++;
    const probability = this.#random.pick([0.1, 0.5, 1]);
    for (const { block, stamps } of this.#unflushed) {
      for (let at = 0; at < stamps.length; at++) {
        if (!this.#random.chance(probability)) continue;
        for (const other of this.#unflushed) if (other.block === block) other.mask &= ~(1 << at);
        this.#device[block * SECTORS_MAX + at] = this.#medium[block * SECTORS_MAX + at] ?? 0;
      }
    }
    this.#unflushed = this.#unflushed.filter(({ mask }) => mask !== 0);
  }

  /** The process is dead: its running write arrives whole, in part, or not at all. */
  abandon(owner: SimProcess): void {
    for (const writing of this.writing) {
      if (writing.owner !== owner) continue;
      this.writing.delete(writing);
      this.take(writing, this.#random.pick([0, -1, this.#random.next()]));
    }
  }

  /** Any part of the unflushed writes survives, regardless of their order. */
  cutPower(): void {
    this.version++;
    const probability = this.#random.pick([0, 0.5, 1]);
    if (this.length !== undefined) this.#clearFrom(this.length.cutPower(this.#random), [this.#medium]);
    const order = this.#unflushed.map((entry) => ({ entry, key: this.#random.next() }));
    order.sort((a, b) => a.key - b.key);
    for (const { entry } of order) {
      for (let at = 0; at < entry.stamps.length; at++) {
        const isKept = ((entry.mask >>> at) & 1) === 1 && this.#random.chance(probability);
        if (isKept) this.#medium[entry.block * SECTORS_MAX + at] = entry.stamps[at] ?? 0;
      }
    }
    this.#unflushed = [];
    this.#foreignDirt = [];
    // What was written behind an end that is back is not part of the file.
    if (this.length !== undefined) this.#clearFrom(this.length.presentBytes, [this.#medium]);
    this.#device.set(this.#medium);
    this.#cached.set(this.#medium);
  }

  /** What a read past the page cache returns. @returns also its place among reads and damages. */
  readDevice(block: number): { stamps: Stamps; serial: number } {
    return { stamps: this.#view(this.#device, block).slice(), serial: ++this.#serial };
  }

  /** The receiver has what was read: damage before that read has to be found now. */
  noteRead(block: number, serial: number): void {
    this.#readAt[block] = serial;
  }

  readCached(block: number): Stamps {
    return this.#view(this.#cached, block).slice();
  }

  /** Whether the block has this content, read or not. */
  holds(block: number, expected: Stamps): boolean {
    return this.#holds(this.#device, block, expected) && this.#holds(this.#medium, block, expected);
  }

  /**
   * Whether the block certainly has this content after a power cut now; sectors that the disk has lied about
   * are ignored.
   */
  isSafe(block: number, expected: Stamps): boolean {
    const isSpoilt = (sector: number): boolean => this.#spoilt.isSpoilt(sector);
    if (!this.#holds(this.#medium, block, expected, isSpoilt)) return false;
    for (const other of this.#unflushed) {
      if (other.block !== block) continue;
      for (let at = 0; at < expected.length; at++) {
        const isPending = ((other.mask >>> at) & 1) === 1 && !isSpoilt(block * SECTORS_MAX + at);
        if (isPending && other.stamps[at] !== expected[at]) return false;
      }
    }
    return true;
  }

  /**
   * Whether the block was read since it was written, and has this content; undetected later damage is
   * ignored.
   */
  isAsReadBack(block: number, expected: Stamps): boolean {
    const readAt = this.#readAt[block] ?? 0;
    const isHidden = (sector: number): boolean => this.#spoilt.isHiddenSince(sector, readAt);
    return [this.#device, this.#medium].every(
      (view) => readAt > 0 && this.#holds(view, block, expected, isHidden),
    );
  }

  #holds(
    view: Uint32Array,
    block: number,
    expected: Stamps,
    isExcused: (sector: number) => boolean = () => false,
  ): boolean {
    for (let at = 0; at < expected.length; at++) {
      const sector = block * SECTORS_MAX + at;
      if (view[sector] !== expected[at] && !isExcused(sector)) return false;
    }
    return true;
  }

  #put(block: number, stamps: Stamps, mask: number): void {
    this.version++;
    for (let at = 0; at < stamps.length; at++) {
      if (((mask >>> at) & 1) === 0) continue;
      const sector = block * SECTORS_MAX + at;
      this.#device[sector] = stamps[at] ?? 0;
      this.#cached[sector] = stamps[at] ?? 0;
      this.#spoilt.clear(sector);
      this.#isForeign[sector] = 0;
    }
    this.changeCount++;
    this.#unflushed.push({ serial: ++this.#serial, block, stamps, mask: mask & ((1 << stamps.length) - 1) });
  }

  #spoil(block: number, mask: number): void {
    this.version++;
    this.#spoilt.mark(block, mask, ++this.#serial);
  }

  #clearFrom(bytes: number, views: readonly Uint32Array[]): void {
    if (bytes < Infinity) for (const view of views) view.fill(0, Math.ceil(bytes / SECTOR_BYTES));
  }

  #sectorsOf(block: number): number {
    return Math.ceil(lengthOf(blockIndexOf(block, this.#room), this.#room) / SECTOR_BYTES);
  }

  #view(view: Uint32Array, block: number): Stamps {
    const first = block * SECTORS_MAX;
    return view.subarray(first, first + this.#sectorsOf(block));
  }
}
