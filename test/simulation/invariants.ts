/** What must hold between any two events. Numbered as in ARCHITECTURE.md. */
import { REOPENED } from '../../receiver/transfer/receipts.ts';
import { indexesOf } from '../../common/ranges.ts';
import { BLOCK_STATES } from '../../common/protocol/protocol.ts';
import { blockCountOf } from '../../common/geometry.ts';
import { claimedGeometry } from './claimed-geometry.ts';
import type { World } from './world.ts';

/** What was checked last, so that only changes are checked again. */
export class Invariants {
  readonly #world: World;
  #diskVersion = -1;
  #journalVersion = -1;
  #epoch = '';
  #generation = 0;

  constructor(world: World) {
    this.#world = world;
  }

  check(): void {
    const { disk, journal } = this.#world;
    if (disk.version !== this.#diskVersion || journal.version !== this.#journalVersion) {
      this.#diskVersion = disk.version;
      this.#journalVersion = journal.version;
      this.#checkJournal();
    }
    this.#checkReceiver();
    this.#checkSender();
  }

  /**
   * I5: what the journal lists is on the medium, whatever is lost now. I1: so is all of a sealed transfer.
   */
  #checkJournal(): void {
    const { disk, journal } = this.#world;
    const geometry = claimedGeometry(this.#world);
    if (geometry === undefined) return;
    const { sizeBytes, blockSizeBytes } = geometry;
    for (const [block, { stamps }] of journal.blocks) {
      const isWithin =
        (disk.length?.leastBytes ?? Infinity) >= Math.min((block + 1) * blockSizeBytes, sizeBytes);
      if (!isWithin || !disk.isSafe(block, stamps))
        this.#world.violate(`block ${block} is listed and not on the medium`);
    }
    if (!journal.isSealed) return;
    if (journal.blocks.size !== blockCountOf(geometry)) this.#world.violate('sealed with blocks missing');
  }

  /** I2, I7: the table in memory agrees with the journal, and the published generation only grows. */
  #checkReceiver(): void {
    const { receiver, journal, mismatches, faults, profile } = this.#world;
    // What flips on its way once is read again; only what is wrong twice has to be sent again.
    const isExplained =
      profile.isLying ||
      faults.hitsOf('foreignWrite') > 0 ||
      mismatches * 2 <= faults.hitsOf('readBackFlip', 'readBackEio');
    if (!isExplained) this.#world.violate(`${mismatches} blocks are said to read back wrong`);
    const open = receiver?.process.isAlive === true ? receiver.transfer?.opened : undefined;
    if (open === undefined) return;
    const { table, durability } = open;
    let sum = 0;
    for (const state of BLOCK_STATES) sum += table.countOf(state);
    const geometry = claimedGeometry(this.#world);
    if (geometry === undefined || sum !== blockCountOf(geometry))
      this.#world.violate('the counters of the table do not add up');
    const different = new Set(indexesOf(table.different(Infinity)));
    const isKept = journal.isSealed || journal.properties.has(REOPENED);
    if (different.size > 0 && !isKept) this.#world.violate('blocks differ and nothing is sealed');
    // The journal keeps what was sealed.
    const durable = table.countOf('durable') + table.countOf('verified') + different.size;
    if (durable !== journal.blocks.size)
      this.#world.violate(`${durable} durable, ${journal.blocks.size} listed`);
    for (const [block, { digest, stamps }] of journal.blocks) {
      const state = table.stateOf(block);
      if (different.has(block)) continue;
      if ((state !== 'durable' && state !== 'verified') || !table.digestOf(block).equals(digest)) {
        this.#world.violate(`block ${block} is listed and ${state}`);
      }
      if (state === 'verified' && !this.#world.disk.isAsReadBack(block, stamps)) {
        this.#world.violate(`block ${block} is verified and differs`);
      }
    }
    const { epoch, durableGeneration } = durability;
    if (epoch === this.#epoch && durableGeneration < this.#generation)
      this.#world.violate('a generation went back');
    this.#epoch = epoch;
    this.#generation = durableGeneration;
  }

  /** I6: the sender counts a block as durable only if it was. */
  #checkSender(): void {
    const { sender, contents, faults, profile } = this.#world;
    const counters = sender?.process.isAlive === true ? sender.counters : undefined;
    if (sender === undefined || counters === undefined) return;
    const { durable, verified, total, read } = counters;
    const isPossible = durable >= 0 && durable <= total && verified <= total && read <= total;
    // What the sender of a pipe counts with is the most that it may have, until it has ended.
    const isTotal = profile.pipe !== undefined || total === contents.blockCount;
    if (!isPossible || !isTotal) {
      this.#world.violate(`counted ${durable} durable, ${verified} verified of ${total}`);
    }
    // If the source changes, or cannot be read, durable blocks may differ from its present content.
    const ended = profile.pipe === undefined ? 0 : faults.hitsOf('sourceShort');
    if (faults.hitsOf('sourceChange', 'sourceBad') + ended > 0) return;
    let was = 0;
    for (const flag of sender.wasDurable) was += flag;
    if (durable > was) this.#world.violate(`the sender counts ${durable} durable blocks, there were ${was}`);
  }
}
