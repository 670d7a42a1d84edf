/** ddt-send: puts the parts together, and ends the process; nothing else of the sender does. */
import assert from 'node:assert/strict';
import { randomBytes, randomInt, randomUUID } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { systemClock, systemRandom } from '../common/clock.ts';
import { DIGESTS } from '../common/digest/digest.ts';
import { EXIT_STATUS, TransferError, exitStatusOf } from '../common/errors.ts';
import { countExternalMemory } from '../common/io/garbage.ts';
import { onProgressSignal } from '../common/progress-signal.ts';
import { openTextOutput } from '../common/io/terminal-output.ts';
import { failureText, redact } from '../common/text.ts';
import type { Ticket } from '../common/trust/ticket.ts';
import { MapfileKeeper } from './bad-sectors/mapfile-keeper.ts';
import { BodyPacer } from './bandwidth/body-pacer.ts';
import { formatLimit } from './bandwidth/bandwidth-schedule.ts';
import { ScheduleSource } from './bandwidth/schedule-source.ts';
import { parseSendArgs, type SendOptions } from './cli.ts';
import type { Seal } from './client/receiver-port.ts';
import { Reachability } from './client/connection/reachability.ts';
import { UnackedBytes } from './client/connection/unacked-bytes.ts';
import { HttpReceiver } from './client/http-receiver.ts';
import { BlockEncoder } from './compression/encode-block.ts';
import { makeReporter, type Outputs } from './display/make-reporter.ts';
import type { Reporter } from './display/reporter.ts';
import { relay } from '../common/io/relay.ts';
import { Pulled, openPulled } from './pulled.ts';
import { openFarMachine, receiptLine, type FarOutcome } from './far-machine.ts';
import { findTicket } from './find-ticket.ts';
import { takeMovedArguments } from './moved-arguments.ts';
import { openSource } from './open-source.ts';
import { caveatsOf } from './preflight/caveats.ts';
import { checkOutputPaths } from './preflight/output-paths.ts';
import { Preflight } from './preflight/preflight.ts';
import { receiptPaths, writeReceipt } from './receipt-file.ts';
import { Signals, type Hangup } from './signals.ts';
import type { Source } from './source/source.ts';
import type { Far } from './ssh/open-far.ts';
import type { Stream } from './source/stream.ts';
import { dryRun } from './transfer/dry-run.ts';
import { probe } from './transfer/probe.ts';
import { check, type CheckResult } from './transfer/check.ts';
import { BY_HAND, THROUGH_SSH, type Restarts } from './transfer/restarts.ts';
import { isEqual } from './transfer/comparison.ts';
import { send, type SendContext, type SendRequest, type SendResult } from './transfer/send.ts';

/** As `POST /prove` takes it. */
const NONCE_BYTES = 32;

async function main(own: Outputs): Promise<number> {
  const words = takeMovedArguments(process.argv.slice(2), process.env);
  const options = parseSendArgs(words, (text) => process.stdout.write(text));
  if (options === 'help') return 0;
  if (options.relayPort !== undefined) return await relay({ host: '127.0.0.1', port: options.relayPort });
  countExternalMemory();
  const pulled = options.isPulled ? await Pulled.open(own.out) : undefined;
  const outputs = pulled?.outputs ?? own;
  const reporter = await makeReporter(options.progress, outputs);
  void onProgressSignal(() => reporter.progressNow());
  const signals = new Signals((status) => process.exit(status));
  pulled?.onGone(() => signals.end());
  pulled?.onProgressAsked(() => reporter.progressNow());
  // While connections are being closed, blocks in flight vanish: the state before that stays on the terminal.
  signals.signal.addEventListener('abort', () => reporter.stop(), { once: true });
  try {
    return await signals.bound(run(options, { reporter, signals, outputs, pulled }));
  } catch (error) {
    if (!(error instanceof TransferError)) {
      reporter.failed({ code: 'bug', message: String(error) });
      throw error;
    }
    reporter.failed(error);
    outputs.err.write(failureText('ddt-send', error));
    return error.kind === 'interrupted' ? signals.status : exitStatusOf(error.kind);
  }
}

interface RunParts {
  readonly reporter: Reporter;
  readonly signals: Signals;
  readonly outputs: Outputs;
  readonly pulled: Pulled | undefined;
}

/** @returns the exit status. */
async function run(options: SendOptions, { reporter, signals, outputs, pulled }: RunParts): Promise<number> {
  refuseUnsafeEnvironment();
  await checkOutputs(options);
  using limits = await openLimit(options.bwlimit, reporter);
  const given =
    options.far === undefined && pulled === undefined
      ? await findTicket(options, {
          nowSeconds: Math.floor(systemClock.wallMs() / 1000),
          onRequest: (text) => reporter.fact(`sign     ${text.trim()}`),
        })
      : undefined;
  // For ps and pgrep. It replaces the command line, and the ticket with it.
  process.title = redact(`ddt-send: ${options.source}`);
  await using source = await openSource(options);
  signals.onHangup((hangup) => {
    if (!outlives(hangup, source, options)) return false;
    reporter.fact('note     hangup: the copy continues');
    void limits?.reload(true);
    return true;
  });
  const { signal } = signals;
  const receiverName = options.far?.destination.login ?? pulled?.name ?? given?.host ?? '';
  const preflight = new Preflight(source, options, { receiverName, reporter, signal });
  await preflight.checkSource();
  const unacked = new UnackedBytes();
  await using machine =
    options.far &&
    (await openFarMachine(options.far, options, {
      unacked,
      sourceSizeBytes: source.sizeBytes,
      reporter,
      signal,
      err: outputs.err,
    }));
  using line = pulled && (await openPulled(pulled, options, { unacked, reporter, signal }));
  const ticket = machine?.far.ticket ?? line?.ticket ?? given;
  assert(ticket !== undefined);
  const isAnswered = machine?.isConfirmed === true;
  const request: SendRequest = {
    ...requestFor(options, { ticket, limits, reporter, unacked, far: machine?.far ?? line }),
    receiverName,
    isKeptOpen: options.isKeptOpen,
    areDigestsWanted: options.receiptFile !== undefined,
    proof: { nonce: randomBytes(NONCE_BYTES).toString('hex'), random: (below) => randomInt(below) },
    source,
    meet: async (found) => {
      reporter.connected();
      await preflight.checkTarget(found, isAnswered);
      const isReadOnly = options.isDryRun || options.isProbe || options.isCheck;
      if (machine !== undefined && !isReadOnly) machine.outcome = 'open';
    },
  };
  const context = { clock: systemClock, digests: DIGESTS, random: systemRandom, signal, reporter };
  reporter.connecting(ticket.host, ticket.port);
  const reading = await readOnly(request, context, { options, reporter });
  if (reading !== undefined) {
    if (options.isCheck) await preflight.finish();
    return reading;
  }
  const { mapfile } = options;
  const result = await copy(request, context, { mapfile, reporter });
  const status = await reportCopy(result, source, { options, reporter });
  if (machine !== undefined) machine.outcome = farOutcomeOf(result, status);
  const isDistant = machine !== undefined || pulled !== undefined;
  if (isDistant && result.outcome === 'sealed') reporter.fact(receiptLine(result.seal));
  await preflight.finish();
  return status;
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
    reporter.warning({
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
  const caveats = caveatsOf(facts, source, lists);
  for (const caveat of caveats) reporter.warning(caveat);
  return caveats.length === 0 ? EXIT_STATUS.verified : EXIT_STATUS.unproven;
}

/** @returns the exit status. */
function reportCheck(
  { comparison, targetPath, unreadable, samplesProven }: CheckResult,
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
  const caveats = caveatsOf({ verified: 'read-back', unreadable }, source, []);
  for (const caveat of caveats) reporter.warning(caveat);
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
  return `to bring the copy up to date, ${restartsOf(options).update(targetPath)}`;
}

function restartsOf({ far, isPulled }: SendOptions): Restarts {
  return far === undefined && !isPulled ? BY_HAND : THROUGH_SSH;
}

/** With this variable set Node does not check certificates, and somebody had a reason to set it. */
function refuseUnsafeEnvironment(): void {
  if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] === undefined) return;
  throw new TransferError('unsafe-environment', 'NODE_TLS_REJECT_UNAUTHORIZED is set in the environment', {
    hint: 'unset NODE_TLS_REJECT_UNAUTHORIZED',
  });
}

async function checkOutputs({ source, receiptFile, mapfile }: SendOptions): Promise<void> {
  const receipts = receiptFile === undefined ? [] : receiptPaths(receiptFile);
  const outputs = receipts.map((path) => ({ option: '--receipt', path }));
  if (mapfile !== undefined) outputs.push({ option: '--mapfile', path: mapfile });
  await checkOutputPaths(outputs, source);
}

/** @returns undefined: no limit. */
async function openLimit(
  argument: string | undefined,
  reporter: Reporter,
): Promise<ScheduleSource | undefined> {
  if (argument === undefined) return undefined;
  return await ScheduleSource.open(argument, {
    clock: systemClock,
    onChange: (limit) => reporter.fact(`limit    changed to ${formatLimit(limit)}`),
    onBroken: (error) => reporter.warning({ warning: `${error.message}; the limit stays as it was` }),
  });
}

/**
 * Whether a copy continues after SIGHUP. A lost terminal takes the commands before a pipe with it, and their
 * early end would pass for the end of the source, except where its size is known.
 */
function outlives(hangup: Hangup, source: Source | Stream, { bwlimit }: SendOptions): boolean {
  if (source.canReread || source.sizeBytes !== null) return true;
  const isReload = bwlimit?.startsWith('@') === true && !hangup.isTerminalLost;
  return isReload;
}

interface RequestParts {
  readonly ticket: Ticket;
  readonly unacked: UnackedBytes;
  /** In place of a connection to the address of the ticket. */
  readonly far: Pick<Far, 'dial' | 'connectionsMax'> | undefined;
  readonly limits: ScheduleSource | undefined;
  readonly reporter: Reporter;
}

function requestFor(
  options: SendOptions,
  { ticket, limits, reporter, unacked, far }: RequestParts,
): Omit<SendRequest, 'source' | 'meet' | 'receiverName'> {
  const { connections, blockSizeBytes, digest, retryForMs, firstContactForMs, memoryBytes } = options;
  const pacer = limits === undefined ? undefined : makePacer(limits, reporter);
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

function makePacer(limits: ScheduleSource, reporter: Reporter): BodyPacer {
  const limit = (): ScheduleSource['bytesPerSecond'] => limits.bytesPerSecond;
  reporter.showLimit(limit);
  return new BodyPacer({ clock: systemClock, limit });
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

// A log that nobody reads any more, or a terminal that is gone, must not end a transfer.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

const outputs = { out: openTextOutput(process.stdout), err: openTextOutput(process.stderr) };
try {
  const status = await main(outputs);
  // What was proven must be read, on a terminal that is stopped too.
  if (process.stderr.isTTY) await outputs.err.drain();
  await outputs.out.drain();
  process.exit(status);
} catch (error) {
  if (!(error instanceof TransferError)) throw error;
  process.stderr.write(failureText('ddt-send', error));
  process.exit(exitStatusOf(error.kind));
}
