/**
 * `--check`: whether source and target still are what was recorded. The receiver reads the target again while
 * the source is read here; nothing is claimed, nothing is written.
 */
import { RootDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import { leftOutOf } from '../../common/protocol/left-out.ts';
import { LISTING_COUNT_MAX, type TransferStatus } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import type { Seal } from '../client/receiver-port.ts';
import type { Source } from '../source/source.ts';
import { awaitAdoption } from './await-adoption.ts';
import { chooseDigest } from './choose-digest.ts';
import { compareSource, type CompareOptions } from './compare-source.ts';
import { complete, type CompleteParts } from './complete.ts';
import { differencesIn, isEqual, type Comparison, type Differences } from './comparison.ts';
import { FlaggedBlocks } from './flagged-blocks.ts';
import { Listing, fetchPage, type ListingParts } from './listing.ts';
import { leftOutNote } from './left-out-note.ts';
import { ProofSample } from './proof-sample.ts';
import { prove } from './prove.ts';
import { makeRetries } from './make-retries.ts';
import { BY_HAND } from './restarts.ts';
import type { SendContext, SendRequest } from './send.ts';
import { TargetReading } from './target-reading.ts';

/** Not of a pipe: it could not be read again for the run that follows. */
export interface CheckRequest extends SendRequest {
  readonly source: Source;
}

export interface CheckResult {
  readonly comparison: Comparison;
  readonly targetPath: string;
  /** The receipt of a sealed copy with its new date; undefined if anything differs, or it is not sealed. */
  readonly seal: Seal | undefined;
  /** Bytes that were zeros for want of a readable source. */
  readonly unreadable: TransferStatus['unreadable'];
  /** As in {@link SendResult}; 0 if anything differs. */
  readonly samplesProven: number | undefined;
}

/** @throws TransferError `not-claimed`, `transfer-mismatch`, `state-refused` with `--verify none`. */
export async function check(request: CheckRequest, context: SendContext): Promise<CheckResult> {
  const { source, memoryBytes } = request;
  const { clock, reporter, signal } = context;
  const retries = makeRetries(request, context);
  await using clients = new AsyncDisposableStack();
  const latest: CompleteParts['counters'] & { epoch?: string } = { total: 0, durable: 0, verified: 0 };
  const control = request.connect(({ epoch, verifiedCount }) => {
    latest.epoch = epoch;
    latest.verified = verifiedCount;
    retries.noteResponse();
  });
  clients.defer(async () => await control.close());
  const first = await retries.run(signal, async () => await control.transfer(signal));
  retries.noteProgress();
  const geometry = geometryOf(first, request);
  const digest = chooseDigest(request.digest, context.digests, first, request.restarts);
  await request.meet?.(first);
  retries.noteProgress();
  const parts = { control, retries, clock, reporter, signal };
  const found = await awaitAdoption(first, parts);
  const blockCount = blockCountOf(geometry);
  latest.total = latest.durable = blockCount;
  const listed = await listedBlocks(parts, blockCount);
  const reading = await TargetReading.begin({ ...parts, blockCount });
  const note = leftOutNote(source, found);
  if (note !== undefined) reporter.fact(note);
  reporter.fact('check    reading the source and the target');
  const different = new FlaggedBlocks(blockCount);
  const root = new RootDigest();
  const proof = request.proof && new ProofSample(request.proof, geometry.blockSizeBytes);
  const onBlock: CompareOptions['onBlock'] = async (block, present) => {
    const { index, digest: now } = block;
    proof?.offer(block);
    root.add(index, now);
    if (present !== undefined && !present.equals(now)) different.add(index);
  };
  await compareSource({ source, geometry, digest, memoryBytes, onBlock }, parts);
  const status = await reading.finish(progressTo(reporter, clock));
  const leftOut = leftOutOf(source.leftOut ?? []);
  const compared: Comparison = {
    blocksTotal: blockCount,
    bytesTotal: geometry.sizeBytes,
    blockSizeBytes: geometry.blockSizeBytes,
    source: differencesIn(different),
    target: await targetDifferences(status, { parts, blockCount, listed }),
    missing: differencesIn(absentIn(listed, blockCount)),
    isSealed: status.state === 'sealed',
    readBack: status.readBack,
    leftOut,
  };
  const { transferId, target } = found;
  const result = { targetPath: target.path, unreadable: status.unreadable };
  const sealRequest = { transferId, geometry, algorithm: digest.algorithm, root: root.finish(), leftOut };
  const { comparison, seal } = await confirm(compared, {
    ...parts,
    request: sealRequest,
    counters: latest,
    sealed: { different, reading, latest },
  });
  const copy = { transferId, targetPath: target.path };
  const samplesProven = proof && isEqual(comparison) ? await prove(proof, parts, copy) : 0;
  return { ...result, comparison, seal, samplesProven };
}

/** Has the receipt of a sealed copy renewed, if all is equal. */
async function confirm(
  comparison: Comparison,
  parts: CompleteParts,
): Promise<Pick<CheckResult, 'comparison' | 'seal'>> {
  if (!comparison.isSealed || !isEqual(comparison)) return { comparison, seal: undefined };
  const sendAgain = async (): Promise<void> => await Promise.reject(new Error('nothing was sent'));
  const completion = await complete(sendAgain, parts);
  return completion.outcome === 'sealed'
    ? { comparison, seal: completion.seal }
    : { comparison: completion.comparison, seal: undefined };
}

/** @throws TransferError `not-claimed`, `transfer-mismatch`. */
function geometryOf(
  { state, size, blockSize, target }: TransferStatus,
  { source, restarts = BY_HAND }: SendRequest & { readonly source: Source },
): Geometry {
  const { description, sizeBytes } = source;
  if (state === 'unclaimed' || blockSize === null) {
    throw new TransferError('not-claimed', `there is nothing on ${target.path} to check: no copy was begun`, {
      hint: 'leave --check out to copy',
    });
  }
  if (size === null) {
    throw new TransferError('transfer-mismatch', 'the copy on the target is of a pipe that has not ended');
  }
  if (size !== sizeBytes) {
    throw new TransferError(
      'transfer-mismatch',
      `the copy on ${target.path} has ${size} bytes (${formatSize(size)}), ` +
        `${description.path} has ${sizeBytes} (${formatSize(sizeBytes)})`,
      {
        hint: `if ${description.path} was resized, ${restarts.update(target.path)}`,
      },
    );
  }
  return { sizeBytes: size, blockSizeBytes: blockSize };
}

async function listedBlocks(parts: ListingParts, blockCount: number): Promise<FlaggedBlocks> {
  const listing = new Listing(async (from) => await fetchPage(parts, from, blockCount));
  const listed = new FlaggedBlocks(blockCount);
  for (let index = 0; index < blockCount; index++) {
    if (index % LISTING_COUNT_MAX === 0) parts.signal.throwIfAborted();
    if ((await listing.digestAt(index)) !== undefined) listed.add(index);
  }
  return listed;
}

function absentIn(listed: FlaggedBlocks, blockCount: number): FlaggedBlocks {
  const absent = new FlaggedBlocks(blockCount);
  if (listed.count === blockCount) return absent;
  for (let index = 0; index < blockCount; index++) if (!listed.has(index)) absent.add(index);
  return absent;
}

interface BeforeReading {
  readonly parts: ListingParts;
  readonly blockCount: number;
  readonly listed: FlaggedBlocks;
}

/** In an open transfer, blocks that differ are not listed any more. */
async function targetDifferences(
  { state, different, differentCount }: TransferStatus,
  { parts, blockCount, listed }: BeforeReading,
): Promise<Differences> {
  if (state === 'sealed') return { count: differentCount, ranges: different };
  const left = await listedBlocks(parts, blockCount);
  const gone = new FlaggedBlocks(blockCount);
  for (let index = 0; index < blockCount; index++) {
    if (listed.has(index) && !left.has(index)) gone.add(index);
  }
  return differencesIn(gone);
}

/** A line now and then: the receiver may be slower than the source. */
const REPORT_MS = 10_000;

function progressTo(
  reporter: SendContext['reporter'],
  clock: SendContext['clock'],
): (status: TransferStatus) => void {
  let reportedMs = clock.monotonicMs();
  return ({ blocks, differentCount }) => {
    if (clock.monotonicMs() - reportedMs < REPORT_MS) return;
    reportedMs = clock.monotonicMs();
    const done = blocks.verified + differentCount;
    const percent = Math.floor((done * 100) / Math.max(1, done + blocks.durable + blocks.written));
    reporter.fact(`check    the receiver is reading the target: ${percent} %`);
  };
}
