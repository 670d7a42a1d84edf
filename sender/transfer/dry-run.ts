/**
 * What a run would do, without sending or claiming anything. If the target has blocks already, the source is
 * read and compared with them; for a new transfer nothing has to be read.
 */
import { SlabPool } from '../../common/io/buffers.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { LISTING_COUNT_MAX } from '../../common/protocol/protocol.ts';
import { Retries, type RetriesOptions } from './retry.ts';
import { makeClaim } from './make-claim.ts';
import { Listing } from './listing.ts';
import type { DryRunFacts } from './counters.ts';
import { BlockReader } from '../source/read-block.ts';
import type { Source } from '../source/source.ts';
import type { SendContext, SendRequest } from './send.ts';

/** Enough to keep a disk busy, whatever the line will need. */
const READERS = 8;

/** Not of a pipe: the run that follows could not read it again. */
export interface DryRunRequest extends SendRequest {
  readonly source: Source;
}

/** @throws TransferError as a run would at its start; `sealed` at the first block that differs. */
export async function dryRun(request: DryRunRequest, context: SendContext): Promise<DryRunFacts> {
  const { source } = request;
  const size = source.sizeBytes;
  const { clock, random, reporter, signal } = context;
  const { retryForMs, firstContactForMs } = request;
  const onRetry: RetriesOptions['onRetry'] = (error, _delayMs, giveUpInMs) =>
    reporter.noteRetry(error, giveUpInMs);
  const retries = new Retries({ clock, random, retryForMs, firstContactForMs, onRetry });
  await using clients = new AsyncDisposableStack();
  const client = request.connect(() => {});
  clients.defer(async () => await client.close());
  const found = await retries.run(signal, async () => await client.transfer(signal));
  retries.noteProgress();
  const { claim, digest } = makeClaim(request, found, context.digests);
  const { blockSize } = claim;
  await request.meet?.(found);
  retries.noteProgress();
  const geometry: Geometry = { sizeBytes: size, blockSizeBytes: blockSize };
  const blocksTotal = blockCountOf(geometry);
  const isSealed = found.state === 'sealed';
  if (!isSealed && found.blocks.durable + found.blocks.verified === 0) {
    return { blocksTotal, blocksSkipped: 0, blocksToSend: blocksTotal, blocksZero: null, bytesTotal: size };
  }
  reporter.fact('note     dry run: reading the source and comparing it with what the receiver lists');
  const listing = new Listing(async (from) => {
    const count = Math.min(LISTING_COUNT_MAX, blocksTotal - from);
    return await retries.run(signal, async () => await client.listDigests(from, count, signal));
  });
  const reader = new BlockReader(source, geometry, digest);
  const facts = { blocksTotal, blocksSkipped: 0, blocksToSend: 0, blocksZero: 0, bytesTotal: size };
  const laneCount = Math.max(1, Math.min(READERS, Math.floor(request.memoryBytes / blockSize)));
  const slabs = new SlabPool({ slabSizeBytes: blockSize, slabCount: laneCount });
  let next = 0;
  const compareSome = async (): Promise<void> => {
    using slab = await slabs.take();
    for (let index = next++; index < blocksTotal; index = next++) {
      signal.throwIfAborted();
      const block = await reader.read(index, slab.bytes);
      const present = await listing.digestAt(index);
      retries.noteProgress();
      if (present?.equals(block.digest) === true) facts.blocksSkipped++;
      else if (isSealed) throw reader.differsFromSealed(index);
      else {
        facts.blocksToSend++;
        if (block.isZero) facts.blocksZero++;
      }
    }
  };
  await Promise.all(Array.from({ length: laneCount }, compareSome));
  return facts;
}
