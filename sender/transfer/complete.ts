/** The end of a run: the receiver reads back, seals and signs; or a sealed transfer is proven once more. */
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf } from '../../common/geometry.ts';
import { isSameLeftOut } from '../../common/protocol/left-out.ts';
import { MISSING_RANGES_MAX } from '../../common/protocol/protocol.ts';
import { countOf, parseRanges, type Range } from '../../common/ranges.ts';
import type { ReceiverClient, Seal, SealRequest } from '../client/receiver-port.ts';
import { NO_DIFFERENCES, differencesIn, type Comparison, type Differences } from './comparison.ts';
import type { BlockCounters } from './counters.ts';
import type { FlaggedBlocks } from './flagged-blocks.ts';
import { ReadingProgress } from './reading-progress.ts';
import type { Retries } from './retry.ts';
import type { TargetReading } from './target-reading.ts';

/** So often the receiver may report missing blocks at the end before that counts as a failure. */
const INCOMPLETE_ROUNDS_MAX = 10;
/** The receiver itself waits about a second before it responds that it is still reading back. */
const VERIFYING_POLL_MS = 250;

export interface CompleteParts {
  readonly control: ReceiverClient;
  readonly retries: Retries;
  readonly clock: Clock;
  readonly counters: Pick<BlockCounters, 'total' | 'durable' | 'verified'>;
  readonly request: SealRequest;
  /** undefined: the transfer is open. */
  readonly sealed: SealedParts | undefined;
  readonly signal: AbortSignal;
}

/** Of a transfer that was sealed before this run. */
export interface SealedParts {
  /** Blocks of the source that are not what was sealed. */
  readonly different: FlaggedBlocks;
  /** undefined: the receiver reads nothing back. */
  readonly reading: TargetReading | undefined;
  /** Of the last response. */
  readonly latest: { readonly epoch?: string };
}

export type SendAgain = (ranges: readonly Range[]) => Promise<void>;

export type Completion =
  | { readonly outcome: 'sealed'; readonly seal: Seal }
  | { readonly outcome: 'differs'; readonly comparison: Comparison };

/** @param sendAgain blocks that the receiver misses after all. */
export async function complete(sendAgain: SendAgain, parts: CompleteParts): Promise<Completion> {
  const { sealed, counters } = parts;
  if (sealed !== undefined && sealed.different.count > 0) return await compareRest(parts, sealed);
  const { control, retries, clock, request, signal } = parts;
  const reading = new ReadingProgress(() => counters.total);
  for (let round = 1; ;) {
    try {
      const answer = await retries.run(signal, async () => await control.complete(request, signal));
      if (answer === 'verifying') {
        if (reading.note(counters.verified)) retries.noteProgress();
        retries.keepWaiting('is reading the target back');
        await clock.sleep(VERIFYING_POLL_MS, signal);
      } else if (sealed === undefined) return { outcome: 'sealed', seal: repeating(answer, request) };
      else if (sealed.reading === undefined) {
        // The receipt is true of the day it names; nothing was read back in this run.
        return { outcome: 'sealed', seal: { ...answer, verified: 'none', readBack: null } };
      } else if (!(await sealed.reading.beginAgainAfter(sealed.latest.epoch))) {
        return { outcome: 'sealed', seal: answer };
      } else retries.keepWaiting('was restarted');
    } catch (error) {
      if (!(error instanceof TransferError)) throw error;
      // Also of a transfer that this run has sealed: a late claim has it read once more.
      if (error.code === 'target-differs') {
        return {
          outcome: 'differs',
          comparison: comparisonOf(parts, sealed, differencesOf(error, counters)),
        };
      }
      if (error.code !== 'incomplete' || round >= INCOMPLETE_ROUNDS_MAX) throw error;
      const missing = parseRanges(error.details['missing'], counters.total, MISSING_RANGES_MAX);
      if (missing === undefined || missing.length === 0) throw error;
      round++;
      await sendMissing(sendAgain, missing, counters);
    }
  }
}

/** @throws TransferError `receipt-invalid` if the receipt does not say what was left out. */
function repeating(seal: Seal, { leftOut }: SealRequest): Seal {
  if (isSameLeftOut(seal.leftOut, leftOut)) return seal;
  throw new TransferError(
    'receipt-invalid',
    'the receipt does not say what this run has left out of the source, but something else',
    { hint: 'run the same command again: it compares all of it' },
  );
}

/** The source differs: nothing can be sealed, but the target is read to the end. */
async function compareRest(parts: CompleteParts, sealed: SealedParts): Promise<Completion> {
  const status = await sealed.reading?.finish();
  const target = status && { count: status.differentCount, ranges: status.different };
  return { outcome: 'differs', comparison: comparisonOf(parts, sealed, target) };
}

function comparisonOf(
  { request: { geometry, leftOut } }: CompleteParts,
  sealed: SealedParts | undefined,
  target: Differences | undefined,
): Comparison {
  return {
    blocksTotal: blockCountOf(geometry),
    bytesTotal: geometry.sizeBytes,
    blockSizeBytes: geometry.blockSizeBytes,
    source: sealed === undefined ? NO_DIFFERENCES : differencesIn(sealed.different),
    target,
    missing: NO_DIFFERENCES,
    isSealed: true,
    readBack: null,
    leftOut,
  };
}

/** @throws the error itself if it does not say which. */
function differencesOf(error: TransferError, { total }: CompleteParts['counters']): Differences {
  const { different, differentCount } = error.details;
  const ranges = parseRanges(different, total, MISSING_RANGES_MAX);
  if (ranges === undefined || typeof differentCount !== 'number') throw error;
  return { count: differentCount, ranges };
}

/**
 * An earlier `/complete`, given up when its connection broke, may seal the transfer while blocks are missing
 * only for a moment.
 */
async function sendMissing(
  sendAgain: SendAgain,
  missing: readonly Range[],
  counters: CompleteParts['counters'],
): Promise<void> {
  counters.durable -= countOf(missing);
  try {
    await sendAgain(missing);
  } catch (error) {
    if (!(error instanceof TransferError) || error.code !== 'sealed') throw error;
    // All of it is durable. The receipt is requested next, and has to have our root.
    counters.durable = counters.total;
  }
}
