/** One source and its target: what is asked of the receiver, and what is said of the result. */
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { systemClock } from '../common/clock.ts';
import { EXIT_STATUS } from '../common/errors.ts';
import { countLeftOut, isSameLeftOut, leftOutOf } from '../common/protocol/left-out.ts';
import type { Ticket } from '../common/trust/ticket.ts';
import { MapfileKeeper } from './bad-sectors/mapfile-keeper.ts';
import type { BodyPacer } from './bandwidth/body-pacer.ts';
import type { DiskOptions, SendOptions } from './cli.ts';
import type { Seal } from './client/receiver-port.ts';
import { Reachability } from './client/connection/reachability.ts';
import type { UnackedBytes } from './client/connection/unacked-bytes.ts';
import { HttpReceiver } from './client/http-receiver.ts';
import { BlockEncoder } from './compression/encode-block.ts';
import type { Reporter } from './display/reporter.ts';
import { bbrHint } from './lanes/congestion-control.ts';
import { receiptLine, type FarMachine, type FarOutcome } from './far-machine.ts';
import { caveatsOf, type Caveat } from './preflight/caveats.ts';
import type { Preflight } from './preflight/preflight.ts';
import { writeReceipt } from './receipt-file.ts';
import type { Source } from './source/source.ts';
import type { Stream } from './source/stream.ts';
import type { Steered } from './steered.ts';
import type { Far } from './ssh/open-far.ts';
import { check, type CheckResult } from './transfer/check.ts';
import { isEqual } from './transfer/comparison.ts';
import { dryRun } from './transfer/dry-run.ts';
import { leavesOut } from './transfer/left-out-note.ts';
import { probe } from './transfer/probe.ts';
import { BY_HAND, THROUGH_SSH, type Restarts } from './transfer/restarts.ts';
import { send, type SendContext, type SendRequest, type SendResult } from './transfer/send.ts';

/** As `POST /prove` takes it. */
const NONCE_BYTES = 32;

export interface DiskParts {
  readonly options: DiskOptions;
  readonly source: Source | Stream;
  readonly preflight: Preflight;
  readonly ticket: Ticket;
  readonly pacer: BodyPacer | undefined;
  readonly unacked: UnackedBytes;
  readonly machine: FarMachine | undefined;
  /** In place of a connection to the address of the ticket. */
  readonly far: Pick<Far, 'dial' | 'connectionsMax'> | undefined;
  /** The receipt is kept where the user is not. */
  readonly isDistant: boolean;
  /** Its place in the order of the sources. */
  readonly at: number;
  readonly receiverName: string;
  /** Gets the receipt, too. */
  readonly steered: Pick<Steered, 'handOver'> | undefined;
  readonly reporter: Reporter;
}

/** A source and its target. */
export interface Disk extends DiskParts {
  readonly request: SendRequest;
  readonly noteOutcome: (outcome: FarOutcome) => void;
}

export function makeDisk(parts: DiskParts): Disk {
  const { options, source, preflight, machine, at, receiverName, reporter } = parts;
  const isAnswered = machine?.isConfirmed === true;
  const noteOutcome = (outcome: FarOutcome): void => {
    if (machine !== undefined) machine.outcomes[at] = outcome;
  };
  const request: SendRequest = {
    ...requestFor(options, parts),
    receiverName,
    isKeptOpen: options.isKeptOpen,
    areDigestsWanted: options.receiptFile !== undefined || parts.steered !== undefined,
    onManyLanes: () => void hintAtBbr(reporter),
    proof: { nonce: randomBytes(NONCE_BYTES).toString('hex'), random: (below) => randomInt(below) },
    source,
    meet: async (found) => {
      reporter.connected();
      reporter.about({ source: options.source, target: found.target.path });
      await preflight.checkTarget(found, isAnswered);
      const isReadOnly = options.isDryRun || options.isProbe || options.isCheck;
      if (!isReadOnly) noteOutcome('open');
    },
  };
  return { ...parts, request, noteOutcome };
}

async function hintAtBbr(reporter: Reporter): Promise<void> {
  const hint = await bbrHint();
  if (hint !== undefined) reporter.hint(hint);
}

/** @returns the exit status. */
export async function sendDisk(disk: Disk, context: SendContext): Promise<number> {
  const { request, options, source, preflight, ticket, reporter } = disk;
  reporter.connecting(ticket.host, ticket.port);
  const reading = await readOnly(request, context, { options, reporter });
  if (reading !== undefined) {
    const isWritten = options.isCheck && (await preflight.finish());
    return statusOf(reading, isWritten, source);
  }
  const { mapfile } = options;
  const result = await copy(request, context, { mapfile, reporter });
  const reported = await reportCopy(result, source, { options, reporter });
  if (disk.isDistant && result.outcome === 'sealed') reporter.fact(receiptLine(result.seal));
  const status = statusOf(reported, await preflight.finish(), source);
  // Until it is safe, what it was made of stays at the other machine.
  if (result.outcome === 'sealed') await disk.steered?.handOver(result.seal, result.digests, status);
  disk.noteOutcome(farOutcomeOf(result, status));
  return status;
}

/** What a file system that was written by then uses is not what its map said: files may be zeros. */
function statusOf(status: number, isWritten: boolean, source: Source | Stream): number {
  const isStale = isWritten && leavesOut(source) && status === EXIT_STATUS.verified;
  return isStale ? EXIT_STATUS.unproven : status;
}

/** A receipt from before this run, of a copy that left out something else. */
function otherLeftOut(source: Source | Stream, seal: Seal | undefined): Caveat[] {
  const leftOut = leftOutOf(source.canReread ? (source.leftOut ?? []) : []);
  if (seal === undefined || leftOut === null || isSameLeftOut(leftOut, seal.leftOut)) return [];
  const warning =
    `this run has left out ${countLeftOut(leftOut)} of ${source.description.path}, and the receipt ` +
    `says ${seal.leftOut === null ? 'nothing was' : countLeftOut(seal.leftOut)}`;
  return [{ warning, hint: 'compare with the map that the copy was made with, or without one' }];
}

/** `--probe`, `--dry-run` and `--check`. @returns the exit status; undefined of a copy. */
async function readOnly(
  request: SendRequest,
  context: SendContext,
  { options, reporter }: { options: SendOptions; reporter: Reporter },
): Promise<number | undefined> {
  const { source } = request;
  // Of a pipe these options were refused.
  if (!source.canReread) return undefined;
  if (options.isProbe) {
    reporter.probed(await probe({ ...request, source }, context));
    return EXIT_STATUS.unproven;
  }
  if (options.isDryRun) {
    reporter.dryRun(await dryRun({ ...request, source }, context));
    return EXIT_STATUS.unproven;
  }
  if (!options.isCheck) return undefined;
  return reportCheck(await check({ ...request, source }, context), source, { options, reporter });
}

/** What is left unproven, or has unreadable areas, may be sent again: its record is needed for that. */
function farOutcomeOf({ outcome }: SendResult, status: number): FarOutcome {
  if (outcome === 'kept-open') return 'open';
  return outcome === 'sealed' && status === EXIT_STATUS.verified ? 'complete' : 'recorded';
}

/** @returns the exit status. */
async function reportCopy(
  result: SendResult,
  source: Source | Stream,
  { options, reporter }: { options: SendOptions; reporter: Reporter },
): Promise<number> {
  const { facts, targetPath } = result;
  const { receiptFile, mapfile } = options;
  if (result.outcome === 'kept-open') {
    reporter.keptOpen(facts, targetPath);
    reporter.caveat({
      warning: 'not sealed: nothing is proven yet',
      hint: 'for the last pass, run the same command again without --keep-open',
    });
    return EXIT_STATUS.unproven;
  }
  if (result.outcome === 'differs') {
    reporter.compared(result.comparison, targetPath);
    if (receiptFile !== undefined) reporter.warning({ warning: `no receipt was written to ${receiptFile}` });
    reporter.hint(updateHint(targetPath, options));
    return EXIT_STATUS.unproven;
  }
  if (receiptFile !== undefined) await writeReceipt(receiptFile, result);
  if (facts.verified === 'read-back') reportProof(result.samplesProven, reporter);
  reporter.done(facts, targetPath);
  reportChanged(result.seal, targetPath, reporter);
  const lists = [receiptFile, mapfile].filter((path) => path !== undefined);
  const caveats = [...caveatsOf(facts, source, lists), ...otherLeftOut(source, result.seal)];
  for (const caveat of caveats) reporter.caveat(caveat);
  return caveats.length === 0 ? EXIT_STATUS.verified : EXIT_STATUS.unproven;
}

/** @returns the exit status. */
function reportCheck(
  { comparison, targetPath, unreadable, samplesProven, seal }: CheckResult,
  source: Source,
  { options, reporter }: { options: SendOptions; reporter: Reporter },
): number {
  reporter.compared(comparison, targetPath);
  if (!isEqual(comparison)) {
    const hint = 'leave --check out to send those blocks';
    reporter.hint(comparison.isSealed ? updateHint(targetPath, options) : hint);
    return EXIT_STATUS.unproven;
  }
  reportProof(samplesProven, reporter);
  const verified = 'read-back';
  const caveats = [...caveatsOf({ verified, unreadable }, source, []), ...otherLeftOut(source, seal)];
  for (const caveat of caveats) reporter.caveat(caveat);
  return caveats.length === 0 ? EXIT_STATUS.verified : EXIT_STATUS.unproven;
}

/** The copy is right nevertheless. */
function reportChanged({ changedCount }: Seal, targetPath: string, reporter: Reporter): void {
  if (changedCount === 0) return;
  const blocks = changedCount === 1 ? 'a block' : `${changedCount} blocks`;
  reporter.warning({
    warning: `another program has changed ${blocks} of ${targetPath} during the transfer; sent again`,
    hint: 'find out what it was, or it may change the copy again: a mount, fsck, growpart, dd?',
  });
}

/** @param count undefined: an earlier version does not know the request. */
function reportProof(count: number | undefined, reporter: Reporter): void {
  if (count === undefined) {
    reporter.warning({
      warning: 'the receiver cannot prove that it has the bytes: only its receipt says so',
      hint: 'install the same version of dd-transfer on both machines',
    });
  } else if (count > 0) {
    reporter.fact(
      `proof    ${count} random samples, read from the target once more, are those of the source`,
    );
  }
}

/** A sealed copy takes no block. */
function updateHint(targetPath: string, options: SendOptions): string {
  // Of several targets all are named.
  const path = options.sources.length === 1 ? targetPath : '';
  return `to bring the copy up to date, ${restartsOf(options).update(path)}`;
}

function restartsOf({ far, isPulled }: SendOptions): Restarts {
  return far === undefined && !isPulled ? BY_HAND : THROUGH_SSH;
}

interface RequestParts {
  readonly ticket: Ticket;
  readonly unacked: UnackedBytes;
  readonly far: DiskParts['far'];
  readonly pacer: BodyPacer | undefined;
  readonly reporter: Reporter;
}

function requestFor(
  options: SendOptions,
  { ticket, pacer, reporter, unacked, far }: RequestParts,
): Omit<SendRequest, 'source' | 'meet' | 'receiverName'> {
  const { connections, blockSizeBytes, digest, retryForMs, firstContactForMs, memoryBytes } = options;
  const shared = {
    ticket,
    senderId: randomUUID(),
    pacer,
    unacked,
    reachability: new Reachability(ticket, far?.dial),
    dial: far?.dial,
  };
  return {
    connect: (onResponse) => new HttpReceiver({ ...shared, onResponse }),
    connections,
    connectionsMax: far?.connectionsMax,
    blockSizeBytes,
    digest,
    retryForMs,
    firstContactForMs,
    memoryBytes,
    restarts: restartsOf(options),
    ...encoderFor(options, reporter),
  };
}

function encoderFor({ compress }: SendOptions, reporter: Reporter): { encoder?: BlockEncoder } {
  if (compress === 'none') return {};
  const warn = (warning: string): void => reporter.warning({ warning });
  const cores = availableParallelism();
  return { encoder: new BlockEncoder({ compression: compress, cores, clock: systemClock, warn }) };
}

/** The mapfile is written last, however the sending ends. */
async function copy(
  request: SendRequest,
  context: SendContext,
  { mapfile, reporter }: { mapfile: string | undefined; reporter: Reporter },
): Promise<SendResult> {
  const keeper = await openMapfile(mapfile, request.source, reporter);
  try {
    return await send(request, context);
  } finally {
    await keeper?.close();
  }
}

async function openMapfile(
  mapfile: string | undefined,
  source: Source | Stream,
  reporter: Reporter,
): Promise<MapfileKeeper | undefined> {
  if (mapfile === undefined || !source.canReread || source.map === undefined) return undefined;
  const { path, description } = source.description;
  const comments = [`Source: ${path}: ${description}, ${source.sizeBytes} bytes`];
  const warn = (warning: string): void => reporter.warning({ warning });
  return await MapfileKeeper.open(mapfile, source.map, { comments, warn });
}
