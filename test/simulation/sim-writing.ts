/** What a process and the disk know about a running write. */
import type { Stamps } from './contents.ts';
import type { SimProcess } from './scheduler.ts';

/** A running write: the disk may have the old content, the new one, or a mixture. */
export interface Writing {
  readonly owner: SimProcess;
  readonly block: number;
  readonly lengthBytes: number;
  /** The present content of the buffer. */
  readonly stamps: () => Stamps;
  /** A bit mask of the sectors that the device has taken. */
  taken: number;
}

/**
 * How a disk lies: it reports a write that it has not made, or only half, or elsewhere, or with other bytes.
 */
export type Lie = 'writeLost' | 'writeTorn' | 'writeMisdirected' | 'writeFlipped';
