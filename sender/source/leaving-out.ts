/** A source of which some areas are not read: they are zeros in its blocks, and are said to be left out. */
import { areasOutside, areasWithin, type Area } from '../../common/areas.ts';
import type { Source } from './source.ts';

/** @param leftOut joined, in whole pages, except at the end of the source. */
export function leavingOut(source: Source, leftOut: readonly Area[]): Source {
  source.map?.leaveOut(leftOut);
  return {
    canReread: true,
    description: source.description,
    sizeBytes: source.sizeBytes,
    leftOut,
    ...(source.disk === undefined ? {} : { disk: source.disk }),
    ...(source.map === undefined ? {} : { map: source.map }),
    ...(source.presentSizeBytes === undefined
      ? {}
      : { presentSizeBytes: source.presentSizeBytes.bind(source) }),
    ...(source.reportOutages === undefined ? {} : { reportOutages: source.reportOutages.bind(source) }),
    runOut: source.runOut,
    read: async (into, offset, signal) => await readRest({ source, leftOut, signal }, into, offset),
    countZeros: async (offset, blockBytes, count) =>
      await countZeros({ source, leftOut }, { offset, blockBytes, count }),
    [Symbol.asyncDispose]: async () => await source[Symbol.asyncDispose](),
  };
}

interface Parts {
  readonly source: Source;
  readonly leftOut: readonly Area[];
}

async function readRest(
  { source, leftOut, signal }: Parts & { readonly signal: AbortSignal | undefined },
  into: Buffer<ArrayBuffer>,
  offset: number,
): Promise<readonly Area[]> {
  const kept = areasOutside([[offset, into.length]], leftOut);
  const [first] = kept;
  if (kept.length === 1 && first?.[1] === into.length) return await source.read(into, offset, signal);
  into.fill(0);
  const unreadable: Area[] = [];
  for (const [from, length] of kept) {
    const part = into.subarray(from - offset, from - offset + length);
    unreadable.push(...(await source.read(part, from, signal)));
  }
  return unreadable;
}

interface ZeroRun {
  readonly offset: number;
  readonly blockBytes: number;
  readonly count: number;
}

/** Blocks that are left out as a whole count unread; blocks that are left out in part end the run. */
async function countZeros({ source, leftOut }: Parts, run: ZeroRun): Promise<number> {
  const { blockBytes, count } = run;
  const leftBytesOf = (nth: number): number => {
    const within = areasWithin(leftOut, run.offset + nth * blockBytes, blockBytes);
    return within.reduce((sum, [, length]) => sum + length, 0);
  };
  let zeros = 0;
  while (zeros < count) {
    let end = zeros;
    while (end < count && leftBytesOf(end) === blockBytes) end++;
    zeros = end;
    while (end < count && leftBytesOf(end) === 0) end++;
    if (end === zeros) break;
    const found = (await source.countZeros?.(run.offset + zeros * blockBytes, blockBytes, end - zeros)) ?? 0;
    zeros += found;
    if (zeros < end) break;
  }
  return zeros;
}
