/** The operation of the sender: claim, transmit, seal. */
import type { Clock } from '../../common/clock.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { leftOutOf } from '../../common/protocol/left-out.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { awaitAdoption } from './await-adoption.ts';
import type { BlockNotes, LaneWaits } from './block-notes.ts';
import { complete, type SendAgain, type Completion } from './complete.ts';
import type { Comparison } from './comparison.ts';
import { FlaggedBlocks } from './flagged-blocks.ts';
import { fetchDigests } from './listing.ts';
import { beginIfRead } from './target-reading.ts';
import { Retries } from './retry.ts';
import { makeClaim } from './make-claim.ts';
import type { DigestChoice } from './choose-digest.ts';
import { planSend, type SendPlan } from './send-plan.ts';
import type { BlockEncoder } from '../compression/encode-block.ts';
import { tuneLanes } from '../lanes/tune-lanes.ts';
import { CONNECTIONS_MAX, Lanes } from '../lanes/lanes.ts';
import type { DoneFacts } from './counters.ts';
import type { ReceiverClient, ResponseInfo, Seal } from '../client/receiver-port.ts';
import { ProofSample, type ProofSecrets } from './proof-sample.ts';
import { leftOutNote } from './left-out-note.ts';
import { prove } from './prove.ts';
import { RecordedAreas } from './recorded-areas.ts';
import { BY_HAND, type Restarts } from './restarts.ts';
import type { Observed, SendReporter } from './reporter-port.ts';
import type { Source } from '../source/source.ts';
import type { Stream } from '../source/stream.ts';
import { refuseEmpty } from '../source/make-supply.ts';
import { Transmission } from './transmission.ts';
import { blockCountOf } from '../../common/geometry.ts';
import { countOf } from '../../common/ranges.ts';

export interface SendRequest {
  readonly source: Source | Stream;
  readonly connect: (onResponse: (info: ResponseInfo) => void) => ReceiverClient;
  /** Where the receiver is, for messages. */
  readonly receiverName: string;
  /** Called before the claim with the transfer that was found; throws to stop. */
  readonly meet?: (found: TransferStatus) => Promise<void>;
  /** `auto`: as many as help, up to {@link CONNECTIONS_MAX}. */
  readonly connections: number | 'auto';
  /** The line takes no more; undefined: as many as the receiver. */
  readonly connectionsMax?: number | undefined;
  readonly blockSizeBytes: number | undefined;
  readonly digest: DigestChoice;
  readonly retryForMs: number;
  /** The same until the receiver has answered for the first time; `retryForMs` by default. */
  readonly firstContactForMs?: number | undefined;
  readonly memoryBytes: number;
  /** undefined: blocks are sent plain. */
  readonly encoder?: BlockEncoder;
  /** Ends without sealing: more is to be sent later. */
  readonly isKeptOpen?: boolean;
  /** undefined: the receiver need not prove that it has the blocks. */
  readonly proof?: ProofSecrets;
  /** {@link BY_HAND} by default. */
  readonly restarts?: Restarts;
  /** Called once if the line turns out to need many connections. */
  readonly onManyLanes?: () => void;
  /** Get the digests of all blocks when it is sealed. */
  readonly areDigestsWanted?: boolean;
}

export type SendResult = {
  readonly targetPath: string;
  readonly facts: DoneFacts;
} & (
  | {
      readonly outcome: 'sealed';
      readonly seal: Seal;
      readonly digests: Buffer | undefined;
      /** Random samples that the receiver has proven; undefined: it could not be asked. */
      readonly samplesProven: number | undefined;
    }
  /** Everything is durable, and the transfer stays open. */
  | { readonly outcome: 'kept-open' }
  /** It had been sealed before, and nothing was sent. */
  | { readonly outcome: 'differs'; readonly comparison: Comparison }
);

export interface SendContext {
  readonly clock: Clock;
  /** Those that can be computed here. */
  readonly digests: readonly BlockDigest[];
  readonly random: () => number;
  readonly signal: AbortSignal;
  readonly reporter: SendReporter;
  /** undefined: nobody watches. */
  readonly notes?: BlockNotes | undefined;
}

/** @throws TransferError; what is durable by then is safe, and the same request resumes from there. */
export async function send(request: SendRequest, context: SendContext): Promise<SendResult> {
  const { source } = request;
  const { clock, reporter, signal } = context;
  const startMs = clock.monotonicMs();
  const busy = { count: 0 };
  const retries = makeRetries(request, context, busy);
  const noteResponse: { current?: (info: ResponseInfo) => void } = {};
  await using lanes = new Lanes(() => request.connect((info) => noteResponse.current?.(info)));
  const { control } = lanes;
  const { status, digest } = await claim(request, context, control, retries);
  if (!status.encodings.includes('zstd')) request.encoder?.refuse();
  const lanesMax = lanesMaxOf(request, status);
  const parts = { control, retries, reporter, clock, signal };
  const planRequest = { source, memoryBytes: request.memoryBytes, connections: lanesMax };
  const plan = planSend(planRequest, status, { clock, digest }, parts);
  const { counters, geometry } = plan;
  const leftOut = leftOutOf(source.canReread ? (source.leftOut ?? []) : []);
  const isSealed = status.state === 'sealed';
  const reading = isSealed ? await beginIfRead({ ...parts, blockCount: blockCountOf(geometry) }) : undefined;
  const sealed = isSealed ? new FlaggedBlocks(blockCountOf(geometry)) : undefined;
  const proof = request.proof && new ProofSample(request.proof, geometry.blockSizeBytes);
  const transmission = makeTransmission(request, context, { status, plan, lanes, retries, sealed, proof });
  const latest: { epoch?: string } = {};
  noteResponse.current = (info) => {
    latest.epoch = info.epoch;
    retries.noteResponse();
    transmission.noteResponse(info);
  };
  const waits = (): LaneWaits => transmission.waits;
  context.notes?.begin({ status, geometry, isSizeKnown: plan.bytesTotal !== null, lanes, waits });
  reporter.start(observedOf(plan, lanes, transmission));
  lanes.want(lanesMax);
  const [sendingMs, busyCount] = [(): number => transmission.sendingMs, (): number => busy.count];
  const { blockSizeBytes: blockBytes } = geometry;
  const tuning = { lanes, lanesMax, blockBytes, sendingMs, busyCount, clock, onMany: request.onManyLanes };
  using _tuning = request.connections === 'auto' ? tuneLanes(tuning) : undefined;
  const root = await transmission.run();
  await refuseResized(request);
  const facts = (completion?: Completion): DoneFacts => ({
    counters,
    bytesTotal: geometry.sizeBytes,
    bytesWire: lanes.bytesWire,
    seconds: (clock.monotonicMs() - startMs) / 1000,
    root: `sha256:${root.toString('hex')}`,
    ...(completion?.outcome === 'sealed' ? factsOfSeal(completion.seal) : { ...UNSEALED, leftOut }),
  });
  const targetPath = status.target.path;
  if (request.isKeptOpen === true && !isSealed) return { outcome: 'kept-open', facts: facts(), targetPath };
  // Opened again for unreadable areas, it still takes no other block.
  const isStillSealed = !transmission.isReopened || (sealed?.count ?? 0) > 0;
  const { transferId } = status;
  const sealRequest = { transferId, geometry, algorithm: digest.algorithm, root, leftOut };
  const completion = await complete(sendLost(transmission, reporter), {
    ...parts,
    counters,
    request: sealRequest,
    sealed: isStillSealed ? sealed && { different: sealed, reading, latest } : undefined,
  });
  if (completion.outcome === 'differs') return { ...completion, facts: facts(), targetPath };
  const isToProve = proof !== undefined && completion.seal.verified === 'read-back';
  const samplesProven = isToProve ? await prove(proof, parts, { transferId, targetPath }) : 0;
  const digests =
    request.areDigestsWanted === true
      ? await fetchDigests(parts, { blockCount: blockCountOf(geometry), root })
      : undefined;
  return { ...completion, digests, samplesProven, facts: facts(completion), targetPath };
}

type SealFacts = Pick<DoneFacts, 'verified' | 'readBack' | 'verifiedAt' | 'unreadable' | 'leftOut'>;

const UNSEALED: SealFacts = {
  verified: 'none',
  readBack: null,
  verifiedAt: null,
  unreadable: [],
  leftOut: null,
};

function factsOfSeal({ verified, readBack, verifiedAt, unreadable, leftOut }: Seal): SealFacts {
  return { verified, readBack, verifiedAt: verified === 'none' ? null : verifiedAt, unreadable, leftOut };
}

/** What the target had is not there any more. */
function sendLost(transmission: Transmission, reporter: SendReporter): SendAgain {
  return async (ranges) => {
    reporter.noteLost(countOf(ranges));
    await transmission.sendAgain(ranges);
  };
}

interface TransmissionParts {
  readonly status: TransferStatus;
  readonly plan: SendPlan;
  readonly lanes: Lanes;
  readonly retries: Retries;
  readonly sealed: FlaggedBlocks | undefined;
  readonly proof: ProofSample | undefined;
}

function makeTransmission(
  { source, encoder }: SendRequest,
  { clock, reporter, notes, signal }: SendContext,
  { status, plan, lanes, retries, sealed, proof }: TransmissionParts,
): Transmission {
  const { supply, geometry, counters } = plan;
  return new Transmission({
    supply,
    geometry,
    transferId: status.transferId,
    holdsDigests: status.holdsDigests,
    sealed,
    recorded: new RecordedAreas(status, geometry),
    recordedCount: status.blocks.durable + status.blocks.verified,
    hasLeftOut: status.hasLeftOut === true,
    lanes,
    retries,
    counters,
    clock,
    map: source.canReread ? source.map : undefined,
    reporter,
    encoder,
    proof,
    notes,
    signal,
  });
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
    onRoom: () => context.reporter.noteRoom(),
  });
}

/** At most one lane for each block that fits into memory. */
function lanesMaxOf(
  { connections, memoryBytes, connectionsMax = CONNECTIONS_MAX }: SendRequest,
  { blockSize, limits }: TransferStatus,
): number {
  if (connections !== 'auto') return Math.min(connections, connectionsMax);
  const blocksMax = Math.floor(memoryBytes / (blockSize ?? 1));
  // One connection is left for looking at the transfer by hand.
  return Math.max(1, Math.min(connectionsMax, blocksMax, limits.connections - 1));
}

/** What was appended to the source during the copy was not read. */
async function refuseResized({ source, restarts = BY_HAND }: SendRequest): Promise<void> {
  if (!source.canReread) return;
  const present = (await source.presentSizeBytes?.()) ?? source.sizeBytes;
  if (present === source.sizeBytes) return;
  const { path } = source.description;
  throw new TransferError(
    'source-changed',
    `${path} had ${source.sizeBytes} bytes when the copy began and has ${present} now`,
    { hint: `to copy it as it is now, ${restarts.startOver}` },
  );
}

async function claim(
  request: SendRequest,
  { digests, signal, reporter, clock }: SendContext,
  control: ReceiverClient,
  retries: Retries,
): Promise<{ status: TransferStatus; digest: BlockDigest }> {
  const found = await retries.run(signal, async () => await control.transfer(signal));
  retries.noteProgress();
  const { claim: wanted, digest } = makeClaim(request, found, digests);
  await request.meet?.(found);
  if (!request.source.canReread) await refuseEmpty(request.source, signal);
  // A person who was asked a question may have taken long to answer.
  retries.noteProgress();
  const note = leftOutNote(request.source, found);
  if (note !== undefined) reporter.fact(note);
  const claimed = await retries.run(signal, async () => await control.claim(wanted, signal));
  const status = await awaitAdoption(claimed, { control, retries, reporter, clock, signal });
  return { status, digest };
}
