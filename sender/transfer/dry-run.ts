/**
 * What a run would do, without sending or claiming anything. If the target has blocks already, the source is
 * read and compared with them; for a new transfer nothing has to be read.
 */
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { makeRetries } from './make-retries.ts';
import { makeClaim } from './make-claim.ts';
import { compareSource, type CompareOptions } from './compare-source.ts';
import type { DryRunFacts } from './counters.ts';
import type { Source } from '../source/source.ts';
import type { SendContext, SendRequest } from './send.ts';

/** Not of a pipe: the run that follows could not read it again. */
export interface DryRunRequest extends SendRequest {
  readonly source: Source;
}

/** @throws TransferError as a run would at its start. */
export async function dryRun(request: DryRunRequest, context: SendContext): Promise<DryRunFacts> {
  const { source } = request;
  const size = source.sizeBytes;
  const { reporter, signal } = context;
  const retries = makeRetries(request, context);
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
    return {
      blocksTotal,
      blocksSkipped: 0,
      blocksToSend: blocksTotal,
      blocksZero: null,
      bytesTotal: size,
      isSealed,
    };
  }
  reporter.fact('note     dry run: reading the source and comparing it with what the receiver lists');
  const facts = { blocksTotal, blocksSkipped: 0, blocksToSend: 0, blocksZero: 0, bytesTotal: size };
  const { memoryBytes } = request;
  const onBlock: CompareOptions['onBlock'] = (block, present) => {
    if (present?.equals(block.digest) === true) facts.blocksSkipped++;
    else {
      facts.blocksToSend++;
      if (block.isZero) facts.blocksZero++;
    }
  };
  const parts = { control: client, retries, signal };
  await compareSource({ source, geometry, digest, memoryBytes, onBlock }, parts);
  return { ...facts, isSealed };
}
