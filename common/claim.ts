/** When two claims are of one transfer. */
import type { Claim, SourceDescription } from './protocol.ts';
import { formatSize } from './units.ts';

/** What makes two claims different transfers, in words; undefined when they are the same. */
export function claimDifference(before: Claim, after: Claim): string | undefined {
  if (before.size !== after.size) {
    return `its source has ${before.size} bytes (${formatSize(before.size)}), this one has ${after.size}`;
  }
  if (before.blockSize !== after.blockSize) {
    return `it is cut into blocks of ${formatSize(before.blockSize)}, not ${formatSize(after.blockSize)}`;
  }
  const serials = [serialOf(before.source), serialOf(after.source)];
  if (serials[0] !== undefined && serials[1] !== undefined && serials[0] !== serials[1]) {
    return `its source is ${serials[0]}, this one is ${serials[1]}`;
  }
  return undefined;
}

/** Names change with every boot, serial numbers do not. */
function serialOf(source: SourceDescription): string | undefined {
  if (source.serial === null) return undefined;
  return source.model === null ? source.serial : `${source.model} ${source.serial}`;
}

/** What to type next when they differ. */
export function hintFor(before: Claim, after: Claim): string {
  return before.size === after.size && before.blockSize !== after.blockSize
    ? 'leave --block-size out: then the transfer goes on with its own'
    : 'start ddt-receive with --discard-transfer if the earlier transfer is not wanted any more';
}
