import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Area } from '../../../common/areas.ts';
import { SHA256, digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { BlockComparison } from '../../../sender/transfer/compare-block.ts';
import { Listing } from '../../../sender/transfer/listing.ts';
import { BlockDescriber } from '../../../sender/source/read-block.ts';
import { RecordedAreas } from '../../../sender/transfer/recorded-areas.ts';
import { fakeLane } from '../../support/fake-lane.ts';

const BLOCK_BYTES = 65_536;
const GEOMETRY = { sizeBytes: BLOCK_BYTES, blockSizeBytes: BLOCK_BYTES };
const LOST: Area = [512, 512];
const GOOD = Buffer.alloc(BLOCK_BYTES, 7);

/** The target listed the good block; the source has lost a sector since. @param readBlock its response. */
async function compared(
  readBlock: () => Promise<Buffer>,
  { good = GOOD, hasLeftOut = false, lost = LOST } = {},
): Promise<{ digest: Buffer; isThere: boolean; told: string[] }> {
  const told: string[] = [];
  const describer = new BlockDescriber(GEOMETRY, SHA256);
  const comparison = new BlockComparison({
    map: undefined,
    geometry: GEOMETRY,
    describer,
    listing: new Listing(async () => await Promise.resolve(digestNow(good))),
    recorded: new RecordedAreas({ unreadable: [], unreadableCount: 0 }, GEOMETRY),
    recordedCount: 1,
    hasLeftOut,
    reporter: {
      fact: () => {},
      start: () => {},
      noteRetry: () => {},
      noteRoom: () => {},
      noteLost: () => {},
      noteOtherSource: (different, recorded) => told.push(`${different} of ${recorded} differ`),
      noteUnreadable: (areas) => told.push(`unreadable ${JSON.stringify(areas)}`),
      noteKept: (areas) => told.push(`kept ${JSON.stringify(areas)}`),
    },
    retrying: async (attempt) => await attempt(),
    signal: new AbortController().signal,
  });
  const bytes = Buffer.from(good);
  bytes.fill(0, lost[0], lost[0] + lost[1]);
  const block = await describer.describe(0, bytes, [lost]);
  const { block: kept, isThere } = await comparison.compare(block, fakeLane({ readBlock }));
  return { digest: kept.digest, isThere, told };
}

test('a sector that has gone bad at the source since keeps its bytes on the target', async () => {
  const { digest, isThere, told } = await compared(async () => await Promise.resolve(GOOD));
  assert.deepEqual([digest.equals(digestNow(GOOD)), isThere, told], [true, true, ['kept [[512,512]]']]);
});

test('a block that the target has lost since it was listed is sent with zeros', async () => {
  const gone = async (): Promise<Buffer> =>
    await Promise.reject(new TransferError('block-absent', 'not on the target'));
  const { digest, isThere, told } = await compared(gone);
  assert.deepEqual(
    [digest.equals(digestNow(GOOD)), isThere, told],
    [false, false, ['unreadable [[512,512]]']],
  );
});

test('zeros on the target are no proof that a sector was read once areas were left out', async () => {
  // Three sectors have gone bad; the target has zeros in the place of the middle one.
  const good = Buffer.from(GOOD).fill(0, 1024, 1536);
  const lost: Area = [512, 1536];
  const readBlock = async (): Promise<Buffer> => await Promise.resolve(good);
  const before = await compared(readBlock, { good, lost });
  assert.deepEqual([before.isThere, before.told], [true, ['kept [[512,1536]]']]);
  const after = await compared(readBlock, { good, lost, hasLeftOut: true });
  assert.deepEqual(
    [after.digest.equals(digestNow(good)), after.isThere, after.told],
    [true, false, ['unreadable [[1024,512]]', 'kept [[512,512],[1536,512]]']],
  );
});

test('any other failure to read it from the target ends the run', async () => {
  const failure = new TransferError('io-error', 'cannot read');
  await assert.rejects(
    compared(async () => await Promise.reject(failure)),
    failure,
  );
});
