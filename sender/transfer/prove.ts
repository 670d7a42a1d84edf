/** At the end of a run: the receiver has to show that it has the bytes that were sent, not only digests. */
import { TransferError } from '../../common/errors.ts';
import { formatSize } from '../../common/units.ts';
import type { ListingParts } from './listing.ts';
import type { ProofSample } from './proof-sample.ts';

export interface ProvenCopy {
  readonly transferId: string;
  readonly blockSizeBytes: number;
  readonly targetPath: string;
}

/**
 * @returns how many blocks were proven; undefined of a receiver that cannot be asked.
 * @throws TransferError `proof-failed`.
 */
export async function prove(
  sample: ProofSample,
  { control, retries, signal }: ListingParts,
  { transferId, blockSizeBytes, targetPath }: ProvenCopy,
): Promise<number | undefined> {
  const { nonce, blocks } = sample;
  if (blocks.length === 0) return 0;
  const request = { nonce, blocks: blocks.map(({ index }) => index) };
  let digests: readonly Buffer[];
  try {
    digests = await retries.run(signal, async () => await control.prove(request, transferId, signal));
  } catch (error) {
    if (error instanceof TransferError && error.code === 'not-found') return undefined;
    throw error;
  }
  const wrong = blocks.filter(({ digest }, at) => digests[at]?.equals(digest) !== true);
  const [first] = wrong;
  if (first === undefined) return blocks.length;
  const offset = first.index * blockSizeBytes;
  const where = `the first is block ${first.index}, offset ${offset} (${formatSize(offset)})`;
  throw new TransferError(
    'proof-failed',
    `${wrong.length} of ${blocks.length} random blocks are not on ${targetPath} as they were read, ` +
      `although the receiver has signed that they are: ${where}: it does not store what it gets, ` +
      'or another program has written to its disk',
    { hint: 'do not erase the source; run the same command again: it compares all of it' },
  );
}
