/** What must hold between any two events. The numbers are those of ARCHITECTURE.md. */
import type { BlockTable } from '../../receiver/durability/block-table.ts';
import { BLOCK_STATES } from '../../common/protocol/protocol.ts';
import type { World } from './world.ts';

/** What was checked last, so that what has not changed is not checked again. */
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
    const { disk, journal, contents } = this.#world;
    for (const [block, { stamps }] of journal.blocks) {
      if (!disk.isSafe(block, stamps)) this.#world.violate(`block ${block} is listed and not on the medium`);
    }
    if (!journal.isSealed) return;
    if (journal.blocks.size !== contents.blockCount) this.#world.violate('sealed with blocks missing');
  }

  /** I2, I7: the table in memory says what the journal says, and the published generation only grows. */
  #checkReceiver(): void {
    const { receiver, journal, contents, mismatches, faults, profile } = this.#world;
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
    if (sum !== contents.blockCount) this.#world.violate('the counters of the table do not add up');
    const durable = table.countOf('durable') + table.countOf('verified');
    // The journal keeps what was sealed; a block that differs from it counts as absent.
    const different = journal.isSealed ? table.differentCount : 0;
    if (durable + different !== journal.blocks.size)
      this.#world.violate(`${durable} durable, ${different} different, ${journal.blocks.size} listed`);
    for (const [block, { digest, stamps }] of journal.blocks) {
      const state = table.stateOf(block);
      if (journal.isSealed && isDifferent(table, block)) continue;
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
    const { sender, contents, faults } = this.#world;
    const counters = sender?.process.isAlive === true ? sender.counters : undefined;
    if (sender === undefined || counters === undefined) return;
    const { durable, verified, total, read } = counters;
    const isPossible = durable >= 0 && durable <= total && verified <= total && read <= total;
    if (!isPossible || total !== contents.blockCount) {
      this.#world.violate(`counted ${durable} durable, ${verified} verified of ${total}`);
    }
    // A source that changes, or can't be read, makes blocks durable that are not those of now.
    if (faults.hitsOf('sourceChange', 'sourceBad') > 0) return;
    let was = 0;
    for (const flag of sender.wasDurable) was += flag;
    if (durable > was) this.#world.violate(`the sender counts ${durable} durable blocks, there were ${was}`);
  }
}

/** The block of a sealed transfer was read, and is not what was sealed. */
function isDifferent(table: BlockTable, block: number): boolean {
  return table.different(Infinity).some(([first, count]) => first <= block && block < first + count);
}
