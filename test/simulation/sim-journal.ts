/** The durable state of the journal, which outlives processes, and one process's handle to it. */
import type { Area } from '../../common/areas.ts';
import { TransferError } from '../../common/errors.ts';
import type { DurableBlock, Journal, JournalledBlock } from '../../receiver/journal/journal.ts';
import type { Claim } from '../../common/protocol/protocol.ts';
import { claimedSizeOf } from './claimed-geometry.ts';
import type { Stamps } from './contents.ts';
import type { SimProcess } from './scheduler.ts';
import type { World } from './world.ts';

interface Listed {
  readonly digest: Buffer;
  readonly stamps: Stamps;
  unreadable: readonly Area[];
}

/**
 * What is synced. If there is a real journal beside it, every change is made there too, and reads come from
 * it.
 */
export class JournalStore {
  readonly blocks = new Map<number, Listed>();
  readonly properties = new Map<string, string>();
  /** A transaction whose sync failed: after a crash it is there or not; the next good one overwrites it. */
  unsettled: (() => void) | undefined;
  /** Incremented with each change. */
  version = 0;
  readonly real: Journal | undefined;

  constructor(real: Journal | undefined) {
    this.real = real;
  }

  get isSealed(): boolean {
    return this.properties.has('receipt');
  }

  entries(): JournalledBlock[] {
    return [...this.blocks].map(([index, { digest, unreadable }]) => {
      return { index, digest, unreadable };
    });
  }
}

export class SimJournal implements Journal {
  readonly path = '/simulated/journal.db';
  readonly #world: World;
  readonly #process: SimProcess;

  constructor(world: World, process: SimProcess) {
    this.#world = world;
    this.#process = process;
    const { journal, random } = world;
    const { unsettled } = journal;
    journal.unsettled = undefined;
    if (unsettled === undefined || random.chance(0.5)) return;
    unsettled();
    journal.version++;
  }

  property(name: string): string | undefined {
    const { real, properties } = this.#world.journal;
    return real === undefined ? properties.get(name) : real.property(name);
  }

  setProperties(properties: Readonly<Record<string, string>>): void {
    const { journal } = this.#world;
    if ('receipt' in properties) this.#checkProof();
    if (properties['claim'] !== undefined) this.#checkSize(JSON.parse(properties['claim']) as Claim);
    this.#commit('properties', () => {
      for (const [name, value] of Object.entries(properties)) journal.properties.set(name, value);
      journal.real?.setProperties(properties);
    });
  }

  removeProperties(names: readonly string[]): void {
    const { journal } = this.#world;
    this.#commit('remove', () => {
      for (const name of names) journal.properties.delete(name);
      journal.real?.removeProperties(names);
    });
  }

  recordUnreadable(index: number, unreadable: readonly Area[]): void {
    const { journal } = this.#world;
    this.#refuseSealed('marked');
    this.#commit('mark', () => {
      const listed = journal.blocks.get(index);
      if (listed !== undefined) listed.unreadable = unreadable;
      journal.real?.recordUnreadable(index, unreadable);
    });
  }

  recordDurable(blocks: Iterable<DurableBlock>): void {
    const { journal, contents, scheduler } = this.#world;
    const copies = [...blocks].map(({ index, digest, unreadable = [] }) => {
      return { index, digest: Buffer.from(digest), unreadable };
    });
    this.#refuseSealed('recorded');
    this.#commit('record', () => {
      for (const { index, digest, unreadable } of copies) {
        scheduler.trace('durable', index);
        const stamps = contents.withDigest(index, digest);
        if (stamps === undefined) this.#world.violate(`journalled block ${index} as the source never was`);
        else journal.blocks.set(index, { digest, stamps, unreadable });
        this.#noteDurable(index, digest);
      }
      journal.real?.recordDurable(copies);
    });
  }

  forgetBlocks(indexes: Iterable<number>): void {
    const { journal, scheduler } = this.#world;
    const copies = [...indexes];
    this.#refuseSealed('forgot');
    this.#commit('forget', () => {
      for (const index of copies) {
        scheduler.trace('forget', index);
        journal.blocks.delete(index);
      }
      journal.real?.forgetBlocks(copies);
    });
  }

  blocks(): Iterable<JournalledBlock> {
    const { journal } = this.#world;
    return journal.real === undefined ? journal.entries() : journal.real.blocks();
  }

  close(): void {}

  /** I1: at the seal nothing is on the target that another program wrote. */
  #checkProof(): void {
    const { journal, disk, profile, receiver } = this.#world;
    const { length } = disk;
    const isCut = length === undefined || length.presentBytes === claimedSizeOf(this.#world);
    if (!isCut || length?.isFlushed === false) this.#world.violate('sealed with another length of the file');
    if (!profile.isReadBack || receiver === undefined) return;
    for (const [block, { stamps }] of journal.blocks) {
      if (disk.isChangedByOthers(block, stamps, receiver.sealAskedMs)) {
        this.#world.violate(`sealed although another program has changed block ${block}`);
      }
    }
  }

  /** No pipe ends where a signal has closed it. */
  #checkSize({ size }: Claim): void {
    const { source, profile, contents } = this.#world;
    if (profile.pipe === undefined || size === null) return;
    const isOfSource = source.sizesBytes.has(size) || size === contents.sizeBytes;
    // That is for the person to correct.
    const isGiven = size === profile.pipe.wrongSizeBytes && profile.pipe.sizeGiven === 'wrong';
    if (!isOfSource && !isGiven) this.#world.violate(`claimed ${size} bytes, where no pipe has ended`);
  }

  #refuseSealed(what: string): void {
    const { journal } = this.#world;
    if (journal.isSealed && this.#process.isAlive) this.#world.violate(`${what} blocks after the seal`);
  }

  #commit(label: string, apply: () => void): void {
    const { journal, scheduler, random } = this.#world;
    if (!this.#process.isAlive) throw new TransferError('journal-error', 'this process has ended');
    scheduler.trace(label);
    const fault = this.#world.ask('commit');
    if (fault === 'commitFull')
      throw new TransferError('no-space', `cannot write ${this.path}: no space left`);
    if (fault === 'commitBroken') {
      journal.unsettled = apply;
      throw new TransferError('journal-error', `cannot write ${this.path}: EIO`);
    }
    const isApplied = fault !== 'commitDeath' || random.chance(0.5);
    if (isApplied) {
      journal.unsettled = undefined;
      apply();
      journal.version++;
    }
    if (fault !== 'commitDeath') return;
    this.#world.endReceiver('kill');
    throw new TransferError('journal-error', 'this process has ended');
  }

  #noteDurable(index: number, digest: Buffer): void {
    const { sender, contents, source } = this.#world;
    if (sender === undefined || index >= contents.blockCount) return;
    if (!contents.digestOf(index, source.versions[index] ?? 0).equals(digest)) return;
    sender.wasDurable[index] = 1;
  }
}
