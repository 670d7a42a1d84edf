/** The kind of run that a seed determines. */
import type { Profile } from './world.ts';
import type { Random } from './random.ts';
import { SECTOR_BYTES } from './contents.ts';

const BLOCK_BYTES = 64 * 1024;
/** Mostly a few blocks, with which rare orders of events are frequent. */
const BLOCK_COUNTS = [1, 2, 3, 4, 4, 5, 6, 8, 12, 16, 24] as const;

/** Modulo 7: seeds whose source has equal blocks. None that was kept before is among them. */
const EQUAL_SEEDS: readonly number[] = [3, 5];

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
  return {
    geometry: {
      sizeBytes: Math.max(0, (blockCount - 1) * BLOCK_BYTES + (blockCount === 0 ? 0 : lastBytes)),
      blockSizeBytes: BLOCK_BYTES,
    },
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
    tellsWritersApart: random.chance(0.7),
    // Not drawn: what a seed found it still finds.
    digest: seed % 2 === 0 ? 'blake3' : 'sha-256',
    distinctBlocks: EQUAL_SEEDS.includes(seed % 7) ? 2 : undefined,
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
};
