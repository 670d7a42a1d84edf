/** At the end of a run: the receiver has to show that it has the bytes that were sent, not only digests. */
import { TransferError } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import type { ListingParts } from './listing.ts';
import type { ProofSample } from './proof-sample.ts';

export interface ProvenCopy {
  readonly transferId: string;
  readonly targetPath: string;
}

/**
 * @returns how many areas were proven; undefined of a receiver that cannot be asked.
 * @throws TransferError `proof-failed`.
 */
export async function prove(
  sample: ProofSample,
  { control, retries, signal }: ListingParts,
  { transferId, targetPath }: ProvenCopy,
): Promise<number | undefined> {
  const { nonce, areas } = sample;
  if (areas.length === 0) return 0;
  const request = { nonce, areas: areas.map(({ area }) => area) };
  let digests: readonly Buffer[];
  try {
    digests = await retries.run(signal, async () => await control.prove(request, transferId, signal));
  } catch (error) {
    if (error instanceof TransferError && error.code === 'not-found') return undefined;
    throw error;
  }
  const wrong = areas.filter(({ digest }, at) => digests[at]?.equals(digest) !== true);
  const [first] = wrong;
  if (first === undefined) return areas.length;
  const [offset] = first.area;
  const where = `the first is at offset ${offset} (${formatSize(offset)})`;
  throw new TransferError(
    'proof-failed',
    `${wrong.length} of ${areas.length} random samples are not on ${targetPath} as they were read, ` +
      `although the receiver has signed that they are: ${where}: it does not store what it gets, ` +
      'or another program has written to its disk',
    { hint: 'do not erase the source; run the same command again: it compares all of it' },
  );
}
