/** The size and blocks of the transfer as they must be at present, everywhere. */
import { type Geometry } from '../../common/geometry.ts';
import type { Claim } from '../../common/protocol/protocol.ts';
import type { World } from './world.ts';

/** Of a disk that of the source; of a pipe what the journal says, undefined before the claim. */
export function claimedGeometry(world: World): Geometry | undefined {
  const { profile, journal } = world;
  if (profile.pipe === undefined) return profile.geometry;
  if (!journal.properties.has('claim')) return undefined;
  const sizeBytes = claimedSizeOf(world) ?? Number(journal.properties.get('sizeMax'));
  return { sizeBytes, blockSizeBytes: profile.geometry.blockSizeBytes };
}

/** null while it is not known, or nothing is claimed. */
export function claimedSizeOf({ journal }: World): number | null {
  const claim = journal.properties.get('claim');
  return claim === undefined ? null : (JSON.parse(claim) as Claim).size;
}
