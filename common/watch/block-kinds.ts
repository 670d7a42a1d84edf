/** What a block can be to those who watch: known to both sides and to the page. Pure, also in a browser. */

/** In the order of their codes, which fit in four bits. */
export const BLOCK_KINDS = [
  'absent',
  'read',
  'sending',
  'written',
  'durable',
  'verified',
  'zero',
  'copied',
  'present',
  'listed',
  'unreadable',
  'lost',
  'different',
] as const;
export type BlockKind = (typeof BLOCK_KINDS)[number];

/** Kinds that somebody has to know of, the worst first. */
export const BAD_KINDS: readonly BlockKind[] = ['different', 'lost', 'unreadable'];
/** Kinds that something is being done about. */
export const BUSY_KINDS: readonly BlockKind[] = ['sending', 'read', 'written'];

const KIND_BITS = 4;
const KIND_MASK = (1 << KIND_BITS) - 1;
/** As far as it is counted. */
export const TIMES_MAX = 15;

/** One byte for a block: what it is, and how often it was sent. */
export function codeOf(kind: BlockKind, times = 0): number {
  return BLOCK_KINDS.indexOf(kind) | (Math.min(times, TIMES_MAX) << KIND_BITS);
}

/** The number of a kind in {@link BLOCK_KINDS}. */
export function kindNumberOf(code: number): number {
  return code & KIND_MASK;
}

export function kindOf(code: number): BlockKind {
  return BLOCK_KINDS[code & KIND_MASK] ?? 'absent';
}

export function timesOf(code: number): number {
  return code >> KIND_BITS;
}
