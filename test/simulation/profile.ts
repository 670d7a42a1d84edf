/** The kind of run that a seed determines. */
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import type { PipeProfile, Profile } from './world.ts';
import { Random } from './random.ts';
import { SECTOR_BYTES } from './contents.ts';

const BLOCK_BYTES = 64 * 1024;
/** Mostly a few blocks, with which rare orders of events are frequent. */
const BLOCK_COUNTS = [1, 2, 3, 4, 4, 5, 6, 8, 12, 16, 24] as const;

/** Modulo 7: seeds whose source has equal blocks. None that was kept before is among them. */
const EQUAL_SEEDS: readonly number[] = [3, 5];
/** Modulo 11: seeds whose source is a pipe. None that was kept for a disk is among them. */
const PIPE_SEEDS: readonly number[] = [4, 7];

export function isPipeSeed(seed: number): boolean {
  return PIPE_SEEDS.includes(seed % 11);
}

export function randomProfile(random: Random, seed: number): Profile {
  const blockCount = random.chance(0.01) ? 0 : random.pick(BLOCK_COUNTS);
  // The last block: whole, a few sectors, or less than a sector.
  const lastBytes = random.pick([
    BLOCK_BYTES,
    SECTOR_BYTES * random.between(1, 15),
    SECTOR_BYTES * 3 + 512,
    512,
  ]);
  const isReadBack = !random.chance(0.1);
  const geometry = {
    sizeBytes: Math.max(0, (blockCount - 1) * BLOCK_BYTES + (blockCount === 0 ? 0 : lastBytes)),
    blockSizeBytes: BLOCK_BYTES,
  };
  const pipe = isPipeSeed(seed) ? randomPipe(new Random(~seed), geometry) : undefined;
  return {
    geometry,
    pipe,
    connections: random.between(1, 6),
    senderSlabs: random.between(1, 6),
    receiverSlabs: random.between(2, 6),
    isReadBack,
    readBackMethod: random.chance(0.1) ? 'cache-dropped' : 'direct',
    retryForMs: random.pick([60_000, 600_000, 3_600_000]),
    lineMs: random.pick([1, 10, 100, 400]),
    diskMs: random.pick([0.1, 5, 50, 300]),
    flushMs: random.pick([1, 30, 300, 1500]),
    isSourceChanging: random.chance(0.3),
    isLying: isReadBack && random.chance(0.2),
    isRepeated: random.chance(0.3),
    isAuto: random.chance(0.3),
    tellsWritersApart: random.chance(0.7) && pipe?.isFile !== true,
    // Not drawn: what a seed found it still finds.
    digest: seed % 2 === 0 ? 'blake3' : 'sha-256',
    distinctBlocks: EQUAL_SEEDS.includes(seed % 7) ? 2 : undefined,
  };
}

/** @param random of its own: the same seed has always had the same disk. */
function randomPipe(random: Random, geometry: Geometry): PipeProfile {
  const { sizeBytes } = geometry;
  const roundedBytes = blockCountOf(geometry) * BLOCK_BYTES;
  const roomBytes = random.chance(0.05)
    ? 512 * Math.floor(sizeBytes / 1024)
    : random.pick([
        sizeBytes,
        roundedBytes,
        sizeBytes + BLOCK_BYTES * random.between(1, 3),
        40 * BLOCK_BYTES,
      ]);
  const wrongSizeBytes = random.pick([
    sizeBytes + 512,
    sizeBytes + BLOCK_BYTES * random.between(1, 3),
    Math.max(0, sizeBytes - 512),
    Math.max(0, roundedBytes - BLOCK_BYTES * random.between(1, 3)),
    512 * random.below(sizeBytes / 256 + 1),
  ]);
  return {
    isFile: random.chance(0.5),
    roomBytes,
    sizeGiven: random.pick(['never', 'never', 'right', 'wrong', 'sometimes']),
    wrongSizeBytes,
    sizeBytesMax: Math.max(roundedBytes, roomBytes),
    readBytesMax: random.pick([10_000, BLOCK_BYTES, BLOCK_BYTES, 5 * BLOCK_BYTES]),
  };
}

/** The versions of the source's blocks at the start; 0 is zeros. */
export function randomVersions(random: Random, blockCount: number): number[] {
  const zeroShare = random.pick([0, 0.2, 0.5, 1]);
  return Array.from({ length: blockCount }, () => (random.chance(zeroShare) ? 0 : random.between(1, 2)));
}

/** Sixteen blocks without anything unusual, in some seconds, with a few flushes: for single faults. */
export const PLAIN_PROFILE: Profile = {
  geometry: { sizeBytes: 15 * BLOCK_BYTES + 3 * SECTOR_BYTES + 512, blockSizeBytes: BLOCK_BYTES },
  connections: 4,
  senderSlabs: 4,
  receiverSlabs: 4,
  isReadBack: true,
  readBackMethod: 'direct',
  tellsWritersApart: true,
  retryForMs: 3_600_000,
  lineMs: 200,
  diskMs: 20,
  flushMs: 30,
  isSourceChanging: false,
  isLying: false,
  isRepeated: false,
  isAuto: false,
  digest: 'blake3',
  distinctBlocks: undefined,
  pipe: undefined,
};
