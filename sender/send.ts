/** The sender's use case: describe, claim, transmit, complete. */
import { SlabPool } from '../common/buffers.ts';
import type { Clock } from '../common/clock.ts';
import type { DigestBlock } from '../common/digest.ts';
import { TransferError } from '../common/errors.ts';
import { BLOCK_SIZE_BYTES_DEFAULT, blockCountOf, type Geometry } from '../common/geometry.ts';
import type { TransferStatus } from '../common/protocol.ts';
import { parseRanges, type Range } from '../common/ranges.ts';
import { formatSize } from '../common/units.ts';
import { Attempts } from './attempts.ts';
import { CONNECTIONS_MAX } from './cli.ts';
import { keepPace } from './keep-pace.ts';
import { Lanes } from './lanes.ts';
import type { BlockCounters, DoneFacts } from './progress.ts';
import type { ReceiverClient, ReplyInfo, Seal, SealRequest } from './receiver-port.ts';
import type { SendReporter } from './reporter.ts';
import type { Source } from './source.ts';
import { Transmission } from './transmission.ts';

/** How often the receiver may say at the end that blocks are missing before that is taken for a failure. */
const INCOMPLETE_ROUNDS_MAX = 10;
/** The receiver itself waits about a second before it says that it is not done reading back. */
const VERIFYING_POLL_MS = 250;
/** The receiver lists this many missing ranges at most. */
const MISSING_RANGES_MAX = 4096;

export interface SendRequest {
  readonly source: Source;
  readonly connect: (onReply: (info: ReplyInfo) => void) => ReceiverClient;
  /** For people: where the receiver is. */
  readonly receiverName: string;
  /** `auto`: as many as help, up to {@link CONNECTIONS_MAX}. */
  readonly connections: number | 'auto';
  readonly blockSizeBytes: number | undefined;
  readonly retryForMs: number;
  readonly memoryBytes: number;
}

export interface SendContext {
  readonly clock: Clock;
  readonly digest: DigestBlock;
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly reporter: SendReporter;
}

/** @throws TransferError; whatever became durable before is safe, and the same request goes on from there. */
export async function send(
  request: SendRequest,
  context: SendContext,
): Promise<{ facts: DoneFacts; seal: Seal; targetPath: string }> {
  const { source } = request;
  const { clock, reporter, signal } = context;
  const startMs = clock.monotonicMs();
  const busy = { count: 0 };
  const attempts = makeAttempts(request, context, busy);
  reporter.fact(
    `source   ${source.description.path}: ${source.description.description}, ${formatSize(source.sizeBytes)}`,
  );
  const noteReply: { current?: (info: ReplyInfo) => void } = {};
  await using lanes = new Lanes(() => request.connect((info) => noteReply.current?.(info)));
  const { control } = lanes;
  const status = await claim(request, { control, attempts, reporter, signal });
  const geometry: Geometry = { sizeBytes: source.sizeBytes, blockSizeBytes: status.blockSize ?? 0 };
  const counters = newCounters(blockCountOf(geometry));
  const { slabs, lanesMax } = makeSlabs(request, geometry, status.limits.connections);
  const transmission = new Transmission({
    source,
    geometry,
    transferId: status.transferId,
    isSealed: status.state === 'sealed',
    lanes,
    slabs,
    attempts,
    counters,
    clock,
    digest: context.digest,
    signal,
  });
  noteReply.current = (info) => transmission.noteReply(info);
  reporter.start({
    counters,
    bytesTotal: source.sizeBytes,
    blockSizeBytes: geometry.blockSizeBytes,
    bytesWire: () => lanes.bytesWire,
    connections: () => lanes.connectedCount,
  });
  lanes.want(lanesMax);
  const pace = {
    lanes,
    lanesMax,
    sendingMs: () => transmission.sendingMs,
    busyCount: () => busy.count,
    clock,
  };
  using _pace = request.connections === 'auto' ? keepPace(pace) : undefined;
  const root = await transmission.run();
  const sealRequest = { transferId: status.transferId, geometry, root };
  const parts = { control, attempts, clock, counters, request: sealRequest, signal };
  const seal = await complete(transmission, parts);
  const facts: DoneFacts = {
    counters,
    bytesTotal: source.sizeBytes,
    bytesWire: lanes.bytesWire,
    seconds: (clock.monotonicMs() - startMs) / 1000,
    root: `sha256:${root.toString('hex')}`,
    verified: seal.verified,
  };
  return { facts, seal, targetPath: status.target.path };
}

/** @param busy counts the answers that the receiver takes no more now. */
function makeAttempts(request: SendRequest, context: SendContext, busy: { count: number }): Attempts {
  return new Attempts({
    clock: context.clock,
    random: context.random,
    retryForMs: request.retryForMs,
    onRetry: (error) => {
      if (error.code === 'busy') busy.count++;
      // What the pace of the lanes answers to is nothing to worry about.
      if (error.code !== 'busy' || request.connections !== 'auto') context.reporter.noteRetry(error);
    },
  });
}

function newCounters(total: number): BlockCounters {
  return { total, read: 0, durable: 0, verified: 0, sent: 0, skipped: 0, zero: 0, resent: 0 };
}

/** One block for each lane, or fewer when memory is short. */
function makeSlabs(
  { connections, memoryBytes }: SendRequest,
  { blockSizeBytes }: Geometry,
  receiverConnectionsMax: number,
): { slabs: SlabPool; lanesMax: number } {
  const slabCountMax = Math.max(1, Math.floor(memoryBytes / blockSizeBytes));
  // One is left to whoever looks at the transfer by hand.
  const lanesMax =
    connections === 'auto'
      ? Math.max(1, Math.min(CONNECTIONS_MAX, slabCountMax, receiverConnectionsMax - 1))
      : connections;
  const slabCount = Math.min(lanesMax, slabCountMax);
  return { slabs: new SlabPool({ slabSizeBytes: blockSizeBytes, slabCount }), lanesMax };
}

interface ClaimParts {
  readonly control: ReceiverClient;
  readonly attempts: Attempts;
  readonly reporter: SendReporter;
  readonly signal: AbortSignal;
}

async function claim(
  request: SendRequest,
  { control, attempts, reporter, signal }: ClaimParts,
): Promise<TransferStatus> {
  const { source } = request;
  const found = await attempts.run(signal, async () => await control.transfer(signal));
  attempts.noteProgress();
  const blockSize = request.blockSizeBytes ?? found.blockSize ?? BLOCK_SIZE_BYTES_DEFAULT;
  const { target } = found;
  if (target.size !== null && target.size < source.sizeBytes) {
    throw new TransferError(
      'target-too-small',
      `${target.path} at ${request.receiverName} is too small: it has ${target.size} bytes ` +
        `(${formatSize(target.size)}), the source has ${source.sizeBytes} (${formatSize(source.sizeBytes)})`,
    );
  }
  const status = await attempts.run(
    signal,
    async () =>
      await control.claim({ size: source.sizeBytes, blockSize, source: source.description }, signal),
  );
  const size = target.size === null ? '' : `, ${formatSize(target.size)}`;
  reporter.fact(
    `target   ${target.path} at ${request.receiverName}: ${target.description}${size}, ${standOf(found)}`,
  );
  if (target.size !== null && target.size > source.sizeBytes) {
    reporter.fact(
      `note     the last ${formatSize(target.size - source.sizeBytes)} of the target stay as they are`,
    );
  }
  return status;
}

function standOf(found: TransferStatus): string {
  if (found.state === 'unclaimed') return 'new transfer';
  if (found.state === 'sealed') return 'complete and sealed: comparing';
  const there = found.blocks.durable + found.blocks.verified;
  return `going on: ${there} of ${found.blockCount ?? 0} blocks are there`;
}

interface CompleteParts {
  readonly control: ReceiverClient;
  readonly attempts: Attempts;
  readonly clock: Clock;
  readonly counters: BlockCounters;
  readonly request: SealRequest;
  readonly signal: AbortSignal;
}

async function complete(transmission: Transmission, parts: CompleteParts): Promise<Seal> {
  const { control, attempts, clock, request, counters, signal } = parts;
  for (let round = 1; ;) {
    try {
      const answer = await attempts.run(signal, async () => await control.complete(request, signal));
      if (answer !== 'verifying') return answer;
      await clock.sleep(VERIFYING_POLL_MS, signal);
    } catch (error) {
      if (!(error instanceof TransferError) || error.code !== 'incomplete' || round >= INCOMPLETE_ROUNDS_MAX)
        throw error;
      const missing = parseRanges(error.details['missing'], counters.total, MISSING_RANGES_MAX);
      if (missing === undefined || missing.length === 0) throw error;
      round++;
      await sendMissing(transmission, missing, counters);
    }
  }
}

/**
 * An earlier `/complete` of ours, given up when its connection broke, may seal what is missing only for a
 * moment.
 */
async function sendMissing(
  transmission: Transmission,
  missing: readonly Range[],
  counters: BlockCounters,
): Promise<void> {
  try {
    await transmission.sendAgain(missing);
  } catch (error) {
    if (!(error instanceof TransferError) || error.code !== 'sealed') throw error;
    // All of it is durable; the receipt is asked for next, and has to be for our root.
    counters.durable = counters.total;
  }
}
