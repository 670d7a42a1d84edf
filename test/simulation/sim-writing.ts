/** What a process and the disk know of a write that has begun. */
import type { Stamps } from './contents.ts';
import type { SimProcess } from './scheduler.ts';

/** A write that has begun: what is on the disk in its place may be the old, the new, or a mixture. */
export interface Writing {
  readonly owner: SimProcess;
  readonly block: number;
  /** What the buffer holds now. */
  readonly stamps: () => Stamps;
  /** Bit by bit, the sectors that the device has taken. */
  taken: number;
}

/**
 * How a disk lies: it says that it has written, and has not, or only half, or elsewhere, or something else.
 */
export type Lie = 'writeLost' | 'writeTorn' | 'writeMisdirected' | 'writeFlipped';
