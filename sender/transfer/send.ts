/** The operation of the sender: claim, transmit, seal. */
import type { Clock } from '../../common/clock.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { MISSING_RANGES_MAX, type TransferStatus } from '../../common/protocol/protocol.ts';
import { parseRanges, type Range } from '../../common/ranges.ts';
import { Retries } from './retry.ts';
import { makeClaim } from './make-claim.ts';
import type { DigestChoice } from './choose-digest.ts';
import { planSend, type SendPlan } from './send-plan.ts';
import type { BlockEncoder } from '../compression/encode-block.ts';
import { tuneLanes } from '../lanes/tune-lanes.ts';
import { CONNECTIONS_MAX, Lanes } from '../lanes/lanes.ts';
import type { BlockCounters, DoneFacts } from './counters.ts';
import type { ReceiverClient, ResponseInfo, Seal, SealRequest } from '../client/receiver-port.ts';
import { RecordedAreas } from './recorded-areas.ts';
import type { Observed, SendReporter } from './reporter-port.ts';
import type { Source } from '../source/source.ts';
import type { Stream } from '../source/stream.ts';
import { refuseEmpty } from '../source/make-supply.ts';
import { Transmission } from './transmission.ts';

/** So often the receiver may report missing blocks at the end before that counts as a failure. */
const INCOMPLETE_ROUNDS_MAX = 10;
/** The receiver itself waits about a second before it responds that it is still reading back. */
const VERIFYING_POLL_MS = 250;

export interface SendRequest {
  readonly source: Source | Stream;
  readonly connect: (onResponse: (info: ResponseInfo) => void) => ReceiverClient;
  /** Where the receiver is, for messages. */
  readonly receiverName: string;
  /** Called before the claim with the transfer that was found; throws to stop. */
  readonly meet?: (found: TransferStatus) => Promise<void>;
  /** `auto`: as many as help, up to {@link CONNECTIONS_MAX}. */
  readonly connections: number | 'auto';
  readonly blockSizeBytes: number | undefined;
  readonly digest: DigestChoice;
  readonly retryForMs: number;
  /** The same until the receiver has answered for the first time; `retryForMs` by default. */
  readonly firstContactForMs?: number | undefined;
  readonly memoryBytes: number;
  /** undefined: blocks are sent plain. */
  readonly encoder?: BlockEncoder;
}

export interface SendContext {
  readonly clock: Clock;
  /** Those that can be computed here. */
  readonly digests: readonly BlockDigest[];
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly reporter: SendReporter;
}

/** @throws TransferError; what is durable by then is safe, and the same request resumes from there. */
export async function send(
  request: SendRequest,
  context: SendContext,
): Promise<{ facts: DoneFacts; seal: Seal; targetPath: string }> {
  const { source } = request;
  const { clock, reporter, signal } = context;
  const startMs = clock.monotonicMs();
  const busy = { count: 0 };
  const retries = makeRetries(request, context, busy);
  const noteResponse: { current?: (info: ResponseInfo) => void } = {};
  await using lanes = new Lanes(() => request.connect((info) => noteResponse.current?.(info)));
  const { control } = lanes;
  const { status, digest } = await claim(request, { control, retries, digests: context.digests, signal });
  if (!status.encodings.includes('zstd')) request.encoder?.refuse();
  const lanesMax = lanesMaxOf(request, status);
  const { memoryBytes } = request;
  const claimParts = { control, retries, reporter, signal };
  const planRequest = { source, memoryBytes, connections: lanesMax };
  const plan = planSend(planRequest, status, { clock, digest }, claimParts);
  const { counters, geometry } = plan;
  const transmission = new Transmission({
    supply: plan.supply,
    geometry,
    transferId: status.transferId,
    isSealed: status.state === 'sealed',
    recorded: new RecordedAreas(status, geometry),
    lanes,
    retries,
    counters,
    clock,
    map: source.canReread ? source.map : undefined,
    reporter,
    encoder: request.encoder,
    signal,
  });
  noteResponse.current = (info) => {
    retries.noteResponse();
    transmission.noteResponse(info);
  };
  reporter.start(observedOf(plan, lanes, transmission));
  lanes.want(lanesMax);
  const [sendingMs, busyCount] = [(): number => transmission.sendingMs, (): number => busy.count];
  const tuning = { lanes, lanesMax, blockBytes: geometry.blockSizeBytes, sendingMs, busyCount, clock };
  using _tuning = request.connections === 'auto' ? tuneLanes(tuning) : undefined;
  const root = await transmission.run();
  await refuseResized(source);
  const sealRequest = { transferId: status.transferId, geometry, algorithm: digest.algorithm, root };
  const parts = { control, retries, clock, counters, request: sealRequest, signal };
  const seal = await complete(transmission, parts);
  const facts: DoneFacts = {
    counters,
    bytesTotal: geometry.sizeBytes,
    bytesWire: lanes.bytesWire,
    seconds: (clock.monotonicMs() - startMs) / 1000,
    root: `sha256:${root.toString('hex')}`,
    verified: seal.verified,
    unreadable: seal.unreadable,
  };
  return { facts, seal, targetPath: status.target.path };
}

function observedOf(plan: SendPlan, lanes: Lanes, transmission: Transmission): Observed {
  let bytesAcknowledged = 0;
  return {
    counters: plan.counters,
    get bytesTotal() {
      return plan.bytesTotal;
    },
    blockSizeBytes: plan.geometry.blockSizeBytes,
    bytesUnderWay: () => transmission.bytesUnderWay,
    bytesWire: () => lanes.bytesWire,
    bytesAcknowledged: () => bytesAcknowledged,
    look: async () => {
      bytesAcknowledged = await lanes.acknowledgedBytes();
    },
    connections: () => lanes.connectedCount,
    standstillMs: () => lanes.standstillMs,
  };
}

/** @param busy counts the blocks that the receiver refused for want of memory. */
function makeRetries(request: SendRequest, context: SendContext, busy: { count: number }): Retries {
  return new Retries({
    clock: context.clock,
    random: context.random,
    retryForMs: request.retryForMs,
    firstContactForMs: request.firstContactForMs,
    onRetry: (error, _delayMs, giveUpInMs) => {
      if (error.code === 'busy') busy.count++;
      // The lane tuner reacts to it.
      if (error.code === 'busy' && request.connections === 'auto') return;
      context.reporter.noteRetry(error, giveUpInMs);
    },
  });
}

/** At most one lane for each block that fits into memory. */
function lanesMaxOf(
  { connections, memoryBytes }: SendRequest,
  { blockSize, limits }: TransferStatus,
): number {
  if (connections !== 'auto') return connections;
  const blocksMax = Math.floor(memoryBytes / (blockSize ?? 1));
  // One connection is left for looking at the transfer by hand.
  return Math.max(1, Math.min(CONNECTIONS_MAX, blocksMax, limits.connections - 1));
}

/** What was appended to the source during the copy was not read. */
async function refuseResized(source: Source | Stream): Promise<void> {
  if (!source.canReread) return;
  const present = (await source.presentSizeBytes?.()) ?? source.sizeBytes;
  if (present === source.sizeBytes) return;
  const { path } = source.description;
  throw new TransferError(
    'source-changed',
    `${path} had ${source.sizeBytes} bytes when the copy began and has ${present} now`,
    { hint: 'to copy it as it is now, start ddt-receive with --discard-transfer --overwrite-target' },
  );
}

interface ClaimParts {
  readonly control: ReceiverClient;
  readonly retries: Retries;
  readonly digests: readonly BlockDigest[];
  readonly signal: AbortSignal;
}

async function claim(
  request: SendRequest,
  { control, retries, digests, signal }: ClaimParts,
): Promise<{ status: TransferStatus; digest: BlockDigest }> {
  const found = await retries.run(signal, async () => await control.transfer(signal));
  retries.noteProgress();
  const { claim: wanted, digest } = makeClaim(request, found, digests);
  await request.meet?.(found);
  if (!request.source.canReread) await refuseEmpty(request.source, signal);
  // A person who was asked a question may have taken long to answer.
  retries.noteProgress();
  const status = await retries.run(signal, async () => await control.claim(wanted, signal));
  return { status, digest };
}

interface CompleteParts {
  readonly control: ReceiverClient;
  readonly retries: Retries;
  readonly clock: Clock;
  readonly counters: BlockCounters;
  readonly request: SealRequest;
  readonly signal: AbortSignal;
}

async function complete(transmission: Transmission, parts: CompleteParts): Promise<Seal> {
  const { control, retries, clock, request, counters, signal } = parts;
  for (let round = 1; ;) {
    try {
      const answer = await retries.run(signal, async () => await control.complete(request, signal));
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
 * An earlier `/complete`, given up when its connection broke, may seal the transfer while blocks are missing
 * only for a moment.
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
    // All of it is durable. The receipt is requested next, and has to have our root.
    counters.durable = counters.total;
  }
}
