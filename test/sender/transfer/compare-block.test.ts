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
): Promise<{ digest: Buffer; isThere: boolean; told: string[] }> {
  const told: string[] = [];
  const describer = new BlockDescriber(GEOMETRY, SHA256);
  const comparison = new BlockComparison({
    map: undefined,
    geometry: GEOMETRY,
    describer,
    listing: new Listing(async () => await Promise.resolve(digestNow(GOOD))),
    recorded: new RecordedAreas({ unreadable: [], unreadableCount: 0 }, GEOMETRY),
    recordedCount: 1,
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
  const bytes = Buffer.from(GOOD);
  bytes.fill(0, LOST[0], LOST[0] + LOST[1]);
  const block = await describer.describe(0, bytes, [LOST]);
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

test('any other failure to read it from the target ends the run', async () => {
  const failure = new TransferError('io-error', 'cannot read');
  await assert.rejects(
    compared(async () => await Promise.reject(failure)),
    failure,
  );
});
