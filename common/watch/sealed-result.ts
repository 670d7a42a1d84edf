/** What a receipt proves, in large letters and a few lines. Pure. */
import { countAreas } from '../areas.ts';
import type { SealReceipt } from '../protocol/protocol.ts';
import type { ReadBackMethod } from '../protocol/read-back.ts';
import { formatSize } from '../units.ts';
import type { WatchResult } from './watch-status.ts';

/** What follows from a seal with everything read back. */
export function proofText(source: string, target: string, readBack: ReadBackMethod | null): string {
  const how = HOW_READ_BACK[readBack ?? 'direct'];
  const read = `Every byte on ${target} was flushed and read back${how}, and is what was read`;
  return `${read} from ${source}. The receipt is signed.`;
}

const HOW_READ_BACK: Readonly<Record<ReadBackMethod, string>> = {
  direct: ' past every cache',
  'cache-dropped': ' after the page cache was dropped',
  'nbd-server': ', as its NBD server says',
  'object-store': ', as its object store says',
};

/** @param changedCount blocks that a later reading found different from what was sealed. */
export function sealedResult(receipt: SealReceipt, changedCount = 0): WatchResult {
  const { target, source, blockCount, size, sealedAt, verified, unreadable } = receipt;
  const what = `${blockCount} blocks, ${formatSize(size)}, sealed ${sealedAt}.`;
  if (changedCount > 0) {
    const changed = `${changedCount} of ${blockCount} blocks on ${target.path} are not what was sealed.`;
    return { kind: 'failed', title: 'Changed since it was sealed', lines: [changed, what] };
  }
  if (verified === 'none') {
    const why = 'Nothing was read back, so nothing is proven: the receiver was started with --verify none.';
    return { kind: 'unproven', title: 'Copied, not read back', lines: [why, what] };
  }
  const path = source === null || source.path === '' ? 'the source' : source.path;
  const proof = proofText(path, target.path, receipt.readBack);
  if (unreadable.length === 0) return { kind: 'proven', title: 'Proven equal', lines: [proof, what] };
  const zeros = `${countAreas(unreadable)} of ${path} could not be read, and are zeros on ${target.path}.`;
  return { kind: 'unproven', title: 'Equal, except for unreadable areas', lines: [zeros, proof, what] };
}
