/** The port to the durable record of a transfer. Implementations: SQLite (sqlite-journal), memory (tests). */
import type { Area } from '../../common/areas.ts';

/** How soon a journal that had no room is written again. */
export const JOURNAL_RETRY_MS = 2000;

export interface DurableBlock {
  readonly index: number;
  readonly digest: Buffer;
  /** Areas of it that are unreadable at the source; default none. */
  readonly unreadable?: readonly Area[];
}

export type JournalledBlock = Required<DurableBlock>;

/**
 * All of it is durable when a call returns; a call that throws has changed nothing. Reading a damaged journal
 * throws TransferError `state-refused`.
 */
export interface Journal {
  readonly path: string;
  property(name: string): string | undefined;
  setProperties(properties: Readonly<Record<string, string>>): void;
  removeProperties(names: readonly string[]): void;
  /**
   * These blocks are on flushed storage with these digests.
   * @param properties set in the same transaction.
   */
  recordDurable(blocks: Iterable<DurableBlock>, properties?: Readonly<Record<string, string>>): void;
  /** Replaces the unreadable areas of a block that is listed already. */
  recordUnreadable(index: number, unreadable: readonly Area[]): void;
  /** These blocks are no longer listed: they may hold anything. */
  forgetBlocks(indexes: Iterable<number>): void;
  blocks(): Iterable<JournalledBlock>;
  close(): void;
}
