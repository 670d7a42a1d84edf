/**
 * One process's handle to the target disk. It checks the calls: whole blocks, one writer for each, none once
 * sealed.
 */
import { TransferError } from '../../common/errors.ts';
import { blockCountOf, blockIndexOf, lengthOf } from '../../common/geometry.ts';
import type { ReadBackMethod } from '../../common/protocol/read-back.ts';
import type { Target, TargetIdentity, WriteMark } from '../../receiver/target/target.ts';
import { claimedGeometry } from './claimed-geometry.ts';
import { SECTOR_BYTES, fillStamps, readStamps, type Stamps } from './contents.ts';
import { LIES, type Fault } from './faults.ts';
import type { SimProcess } from './scheduler.ts';
import type { Lie, Writing } from './sim-writing.ts';
import type { World } from './world.ts';

function isLie(fault: Fault | undefined): fault is Lie {
  return fault !== undefined && fault !== 'restFlip' && LIES.includes(fault);
}

export class SimTarget implements Target {
  readonly identity: TargetIdentity;
  readonly isSizeFixed: boolean;
  readonly sectorBytes = null;
  readonly #world: World;
  readonly #process: SimProcess;
  /** For each block the number of writes begun, and whether one has ended. */
  readonly #writes = new Map<number, number>();
  readonly #finished = new Set<number>();
  #isFlushing = false;
  /** What others had written before this process opened the target. */
  readonly #foreignBefore: number;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
    this.#foreignBefore = world.disk.foreignBytes;
    const { pipe, geometry } = world.profile;
    this.isSizeFixed = pipe?.isFile !== true;
    this.identity = {
      kind: 'memory',
      path: '/dev/target',
      model: null,
      serial: null,
      wwn: null,
      byId: null,
      sizeBytes: pipe === undefined ? geometry.sizeBytes : pipe.isFile ? null : pipe.roomBytes,
      fileId: null,
      logicalSectorBytes: 512,
      description: 'a simulated target',
    };
  }

  writesOf(block: number): number {
    return this.#writes.get(block) ?? 0;
  }

  async confirm(): Promise<void> {}

  async prepare(sizeBytes: number): Promise<void> {
    const { profile } = this.#world;
    if (!this.isSizeFixed) return await this.#setLength(sizeBytes);
    const most = await this.roomBytes();
    if (profile.pipe === undefined && sizeBytes !== most)
      this.#world.violate(`prepared for ${sizeBytes} bytes`);
    await this.#pause(profile.diskMs, 'prepare');
    if (sizeBytes > most) throw new TransferError('target-too-small', `it has ${most} bytes`);
  }

  async lengthBytes(): Promise<number> {
    return this.#world.disk.length?.presentBytes ?? (await this.roomBytes());
  }

  async roomBytes(): Promise<number> {
    const { pipe, geometry } = this.#world.profile;
    return await Promise.resolve(pipe?.roomBytes ?? geometry.sizeBytes);
  }

  /** When the process dies meanwhile, it has happened or not. */
  async #setLength(bytes: number): Promise<void> {
    const { disk, random, profile } = this.#world;
    if (disk.length?.presentBytes === bytes) return;
    const fault = this.#world.ask('write');
    const isFailing = fault === 'writeEio' || fault === 'writeFull';
    const isAtOnce = random.chance(0.5);
    if (isAtOnce && !isFailing) disk.setLength(bytes);
    await this.#pause(profile.diskMs, 'prepare');
    if (isFailing) throw failure(fault, `cannot make it ${bytes} bytes long`);
    if (!isAtOnce) disk.setLength(bytes);
  }

  async write(bytes: Buffer, offset: number): Promise<void> {
    const block = this.#blockAt(offset, bytes.length);
    const lengthBytes = bytes.length;
    const stamps = (): Stamps => readStamps(bytes);
    await this.#write([{ owner: this.#process, block, lengthBytes, stamps, taken: 0 }]);
    const { disk } = this.#world;
    if (disk.length !== undefined && disk.length.presentBytes < offset + lengthBytes)
      disk.setLength(offset + lengthBytes);
  }

  async writeZeros(offset: number, lengthBytes: number): Promise<void> {
    const writings: Writing[] = [];
    let at = offset;
    while (at < offset + lengthBytes) {
      const block = this.#blockAt(at);
      const blockBytes = this.#lengthOf(block);
      const zeros = new Uint32Array(Math.ceil(blockBytes / SECTOR_BYTES));
      writings.push({ owner: this.#process, block, lengthBytes: blockBytes, stamps: () => zeros, taken: 0 });
      at += blockBytes;
    }
    if (at !== offset + lengthBytes) this.#world.violate(`zeros of ${lengthBytes} bytes at ${offset}`);
    await this.#write(writings);
  }

  /** For a person who reads a block: nothing is concluded from it. */
  async read(into: Buffer, offset: number): Promise<void> {
    const block = this.#blockAt(offset, into.length);
    await this.#pause(this.#world.profile.diskMs, 'readCached');
    this.#checkLength(offset + into.length);
    fillStamps(into, this.#world.disk.readCached(block));
  }

  async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    const world = this.#world;
    const block = this.#blockAt(offset, into.length);
    const { disk, random, contents, profile } = world;
    if ([...disk.writing].some((writing) => writing.block === block)) {
      world.violate(`block ${block} was read back while it was written`);
    }
    const fault = world.ask('readBack');
    if (fault === 'restFlip') disk.flipAtRest(random.below(contents.blockCount));
    this.#checkLength(offset + into.length);
    await this.#pause(profile.diskMs * random.unit(), 'readBack');
    disk.settleOthers(block);
    const { stamps, serial } = disk.readDevice(block);
    const isVerifying = world.receiver?.isListening === true;
    // A sector that is hard to read takes seconds.
    const factor = random.chance(0.1) ? 30 : 1;
    await this.#pause(profile.diskMs * factor * random.unit(), 'readBackEnd');
    if (isVerifying) disk.noteRead(block, serial);
    if (fault === 'readBackEio') throw new TransferError('io-error', `cannot read back block ${block}: EIO`);
    if (fault === 'readBackFlip') {
      const at = random.below(stamps.length);
      stamps[at] = (stamps[at] ?? 0) ^ (1 << random.below(32));
    }
    fillStamps(into, stamps);
    return profile.readBackMethod;
  }

  async flush(): Promise<void> {
    const { disk, profile } = this.#world;
    if (this.#isFlushing) this.#world.violate('two flushes at once');
    this.#isFlushing = true;
    const fault = this.#world.ask('flush');
    const mark = disk.flushMark;
    disk.settleOthers();
    await this.#pause(profile.flushMs, 'flush');
    this.#isFlushing = false;
    if (fault !== 'flushEio') return disk.persist(mark);
    disk.lose();
    throw new TransferError('io-error', 'cannot flush the target: EIO');
  }

  /** While writes are in progress the kernel may have counted any part of them. */
  async writeMark(): Promise<WriteMark> {
    const { disk, random, profile } = this.#world;
    await this.#pause(profile.diskMs, 'mark');
    if (!profile.tellsWritersApart) return { foreignBytes: null, stamp: String(disk.changeCount) };
    const uncounted = disk.bytesInProgress * random.unit();
    return { foreignBytes: Math.max(0, disk.foreignBytes - this.#foreignBefore - uncounted), stamp: '' };
  }

  async close(): Promise<void> {}

  async #write(writings: readonly Writing[]): Promise<void> {
    const world = this.#world;
    const { disk, random, profile } = world;
    // A process that ended in the same instant writes nothing any more.
    if (!this.#process.isAlive) return await new Promise<never>(() => {});
    this.#checkStart(writings);
    for (const writing of writings) disk.begin(writing);
    const fault = world.ask('write');
    if (random.chance(0.25)) {
      await this.#pause(profile.diskMs, 'writeSome');
      for (const writing of writings) disk.take(writing, random.next());
    }
    await this.#pause(profile.diskMs, 'write');
    const isFailing = fault === 'writeEio' || fault === 'writeFull';
    const lying = isLie(fault) ? random.below(writings.length) : -1;
    for (const [at, writing] of writings.entries()) {
      disk.writing.delete(writing);
      this.#checkEnd(writing);
      if (isLie(fault) && at === lying) disk.lie(writing, fault);
      else disk.take(writing, isFailing ? random.next() : -1);
    }
    if (!isFailing) return;
    throw failure(fault, `cannot write block ${writings[0]?.block}`);
  }

  #checkStart(writings: readonly Writing[]): void {
    const { disk, journal, scheduler, sender } = this.#world;
    if (journal.isSealed) this.#world.violate('a write after the seal');
    for (const { block } of writings) {
      scheduler.trace('write', block);
      this.#writes.set(block, this.writesOf(block) + 1);
      if ([...disk.writing].some((other) => other.block === block))
        this.#world.violate(`two writers of block ${block}`);
      if (journal.blocks.has(block)) this.#world.violate(`block ${block} is listed while it is written`);
      // A sender may be told that the earlier write of this process is durable: this one has replaced it.
      if (sender !== undefined && this.#finished.has(block)) sender.wasDurable[block] = 1;
    }
  }

  #checkEnd({ block, lengthBytes, stamps }: Writing): void {
    this.#finished.add(block);
    if (this.#world.contents.isOf(block, stamps(), lengthBytes)) return;
    this.#world.violate(`block ${block} was written with what the source never was`);
  }

  /** @param lengthBytes undefined: of whole blocks from there. */
  #blockAt(offset: number, lengthBytes?: number): number {
    const geometry = claimedGeometry(this.#world);
    const block = offset / this.#world.profile.geometry.blockSizeBytes;
    const isBlock = geometry !== undefined && Number.isInteger(block) && block < blockCountOf(geometry);
    if (isBlock && (lengthBytes === undefined || this.#lengthOf(block) === lengthBytes)) return block;
    this.#world.violate(`${lengthBytes} bytes at ${offset} are not a block`);
    return 0;
  }

  #lengthOf(block: number): number {
    const geometry = claimedGeometry(this.#world);
    return geometry === undefined ? Infinity : lengthOf(blockIndexOf(block, geometry), geometry);
  }

  /** @throws TransferError `io-error` if the file ends before that. */
  #checkLength(endBytes: number): void {
    const { length } = this.#world.disk;
    if (length === undefined || length.presentBytes >= endBytes) return;
    throw new TransferError('io-error', `the file ends before offset ${endBytes}`);
  }

  async #pause(scaleMs: number, label: string): Promise<void> {
    await this.#world.scheduler.pause(this.#world.latency(scaleMs), this.#process, label);
  }
}

function failure(fault: 'writeEio' | 'writeFull', what: string): TransferError {
  return new TransferError(fault === 'writeFull' ? 'no-space' : 'io-error', `${what}: ${fault}`);
}
