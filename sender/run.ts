/** Puts the parts of a run together. */
import assert from 'node:assert/strict';
import { basename, join } from 'node:path';
import { systemClock, systemRandom } from '../common/clock.ts';
import { DIGESTS } from '../common/digest/digest.ts';
import { EXIT_STATUS, TransferError, exitStatusOf } from '../common/errors.ts';
import { Hooks } from '../common/hooks.ts';
import { countExternalMemory } from '../common/io/garbage.ts';
import { onProgressSignal } from '../common/progress-signal.ts';
import { failureText, redact } from '../common/text.ts';
import type { DiskOptions, SendOptions } from './cli.ts';
import { BodyPacer } from './bandwidth/body-pacer.ts';
import { formatLimit } from '../common/bandwidth/bandwidth-schedule.ts';
import { ScheduleSource } from '../common/bandwidth/schedule-source.ts';
import { UnackedBytes } from './client/connection/unacked-bytes.ts';
import { makeReporter, type Outputs } from './display/make-reporter.ts';
import type { Reporter } from './display/reporter.ts';
import { Pulled, openPulled } from './pulled.ts';
import { openFarMachine } from './far-machine.ts';
import { findTickets } from './find-ticket.ts';
import { leaveOut } from './leave-out.ts';
import { openSource } from './open-source.ts';
import { checkOutputPaths } from './preflight/output-paths.ts';
import { Preflight } from './preflight/preflight.ts';
import { receiptPaths } from './receipt-file.ts';
import { makeDisk, sendDisk, type Disk } from './send-disk.ts';
import { sendSeveral, type DiskToSend } from './several-disks.ts';
import { Signals, type Hangup } from './signals.ts';
import { Steered } from './steered.ts';
import type { Source } from './source/source.ts';
import type { Stream } from './source/stream.ts';
import { findTransfer } from './transfer/find-transfer.ts';
import type { BlockNotes } from './transfer/block-notes.ts';
import type { SendContext } from './transfer/send.ts';
import type { OpenWatch } from './watch/open-watch.ts';

/**
 * Sends what the arguments name, and shows it.
 * @param exit ends the process.
 * @returns the exit status. @throws Error that is a bug.
 */
export async function runSend(
  options: SendOptions,
  own: Outputs,
  exit: (status: number) => void,
): Promise<number> {
  countExternalMemory();
  const pulled = options.isPulled ? await Pulled.open(own.out) : undefined;
  const steered = options.isSteered ? await Steered.open(own.out) : undefined;
  const outputs = pulled?.outputs ?? own;
  await using watch = await openWatch(options);
  const reporter = await makeReporter(options.progress, outputs, {
    watch: watch?.watch,
    trouble: {
      afterMs: options.hooks.troubleAfterMs,
      tell: (trouble) => {
        pulled?.say({ trouble });
        hooks.trouble(trouble);
      },
    },
  });
  if (watch !== undefined) reporter.always(`web      ${watch.url}`);
  const hooks = new Hooks(options.hooks, {
    program: 'ddt-send',
    clock: systemClock,
    warn: (warning) => reporter.warning({ warning }),
    ring: () => reporter.ring(),
  });
  void onProgressSignal(() => reporter.progressNow());
  const signals = new Signals(exit);
  const notes = watch?.watch.notes;
  for (const starter of [pulled, steered]) starter?.onGone(() => signals.end());
  pulled?.onProgressAsked(() => reporter.progressNow());
  // While connections are being closed, blocks in flight vanish: the state before that stays on the terminal.
  signals.signal.addEventListener('abort', () => reporter.stop(), { once: true });
  const parts = { reporter, signals, outputs, pulled, steered, notes, hooks };
  try {
    const status = await signals.bound(run(options, parts));
    await tellEnd(status, options, parts);
    return status;
  } catch (error) {
    if (!(error instanceof TransferError)) {
      reporter.failed({ code: 'bug', message: String(error) });
      await tellEnd(EXIT_STATUS.bug, options, parts);
      throw error;
    }
    const status = reportFailure(error, parts);
    if (error.kind !== 'interrupted') await tellEnd(status, options, parts);
    return status;
  }
}

/** Anyone who presses Ctrl-C now has seen the end. */
async function tellEnd(status: number, options: SendOptions, parts: RunParts): Promise<void> {
  const { reporter, hooks, signals, pulled } = parts;
  const { lastWord } = reporter;
  pulled?.say({ end: lastWord });
  const isProven = status === EXIT_STATUS.verified;
  const isFinished = isProven || status === EXIT_STATUS.unproven;
  hooks.ended({
    source: options.sources.join(', '),
    ...lastWord,
    status,
    result: isProven ? 'verified' : isFinished ? 'unproven' : 'failed',
    receipt: lastWord.code === 'done' ? options.receiptFile : undefined,
  });
  await hooks.finish(signals.signal);
}

/**
 * Shows the receipt of a finished copy until a signal comes.
 * @param exit ends the process. @returns the exit status. @throws TransferError `usage`, `listen-failed`.
 */
export async function runShow(
  receipt: string,
  { web }: SendOptions,
  exit: (status: number) => void,
): Promise<number> {
  const { openShow } = await import('./watch/show-receipt.ts');
  const { signal } = new Signals(exit);
  assert(web !== undefined);
  await using shown = await openShow(receipt, web, systemClock);
  process.stdout.write(`web      ${shown.url}\n`);
  await shown.until(signal);
  return EXIT_STATUS.verified;
}

/** @throws TransferError `listen-failed`. */
async function openWatch({ web }: SendOptions): Promise<OpenWatch | undefined> {
  if (web === undefined) return undefined;
  // A run that nobody watches need not wait for it.
  const watch = await import('./watch/open-watch.ts');
  return await watch.openWatch(web, systemClock);
}

/** @returns the exit status. */
function reportFailure(
  error: TransferError,
  { reporter, signals, outputs }: Pick<RunParts, 'reporter' | 'signals' | 'outputs'>,
): number {
  reporter.failed(error);
  outputs.err.write(failureText('ddt-send', error));
  return error.kind === 'interrupted' ? signals.status : exitStatusOf(error.kind);
}

interface RunParts {
  readonly reporter: Reporter;
  readonly signals: Signals;
  readonly outputs: Outputs;
  readonly pulled: Pulled | undefined;
  readonly steered: Steered | undefined;
  /** undefined: nobody watches. */
  readonly notes: BlockNotes | undefined;
  readonly hooks: Hooks;
}

/** @returns the exit status. */
async function run(options: SendOptions, parts: RunParts): Promise<number> {
  const { reporter, signals, outputs, pulled, steered, notes } = parts;
  refuseUnsafeEnvironment();
  const each = eachDisk(options);
  for (const own of each) await checkOutputs(own);
  using limits = await openLimit(options.bwlimit, reporter);
  const given =
    options.far === undefined && pulled === undefined
      ? await findTickets(options, {
          nowSeconds: Math.floor(systemClock.wallMs() / 1000),
          onRequest: (text) => reporter.fact(`sign     ${text.trim()}`),
        })
      : [];
  // For ps and pgrep. It replaces the command line, and the tickets with it.
  process.title = redact(`ddt-send: ${options.sources.join(' ')}`);
  await using stack = new AsyncDisposableStack();
  const sources: (Source | Stream)[] = [];
  for (const own of each) sources.push(stack.use(await openSource(own)));
  for (const source of sources) if (source.canReread) reportOutages(source, reporter);
  signals.onHangup((hangup) => {
    if (!sources.every((source) => outlives(hangup, source, options))) return false;
    reporter.fact('note     hangup: the copy continues');
    void limits?.reload(true);
    return true;
  });
  const { signal } = signals;
  const receiverName = options.far?.destination.login ?? pulled?.name ?? given[0]?.host ?? '';
  const shown = { receiverName, reporter, signal };
  const preflights = sources.map((source) => new Preflight(source, options, shown));
  for (const preflight of preflights) await preflight.checkSource();
  const read: (Source | Stream)[] = [];
  for (const source of sources) read.push(await leaveOut(source, options, reporter));
  const unacked = new UnackedBytes();
  await using machine =
    options.far &&
    (await openFarMachine(options.far, options, {
      unacked,
      sourceSizesBytes: sources.map(({ sizeBytes }) => sizeBytes),
      reporter,
      signal,
      err: outputs.err,
    }));
  using line = pulled && (await openPulled(pulled, options, { unacked, reporter, signal }));
  const tickets = machine?.far.tickets ?? (line === undefined ? given : [line.ticket]);
  const limited = steered ?? limits;
  const pacer = limited === undefined ? undefined : makePacer(limited, reporter);
  const isDistant = machine !== undefined || pulled !== undefined;
  const far = machine?.far ?? line;
  const shared = { machine, far, isDistant, pacer, unacked, receiverName, steered, reporter };
  const disks = each.map((own, at) => {
    const [source, preflight, ticket] = [read[at], preflights[at], tickets[at]];
    assert(source !== undefined && preflight !== undefined && ticket !== undefined);
    return makeDisk({ ...shared, at, options: own, source, preflight, ticket });
  });
  const context = { clock: systemClock, digests: DIGESTS, random: systemRandom, signal, reporter, notes };
  const [first, ...more] = disks;
  assert(first !== undefined);
  if (more.length === 0) return await sendDisk(first, context);
  const several = disks.map((disk) => oneOfSeveral(disk, preflights, context));
  const fail = (error: TransferError): number => {
    const status = reportFailure(error, parts);
    // The others continue.
    parts.hooks.trouble(reporter.lastWord);
    return status;
  };
  return await sendSeveral(several, { reporter, fail });
}

function reportOutages(source: Source, reporter: Reporter): void {
  source.reportOutages?.((sentence, isGone) => {
    if (isGone) reporter.warning({ warning: sentence });
    else reporter.fact(`note     ${sentence}`);
  });
}

/** The options of each source. */
function eachDisk(options: SendOptions): readonly DiskOptions[] {
  const { sources, receiptFile } = options;
  if (sources.length === 1) return sources.map((source) => ({ ...options, source }));
  return sources.map((source, at) => {
    const file = receiptFile && join(receiptFile, `${at + 1}-${basename(source)}.json`);
    return { ...options, source, receiptFile: file };
  });
}

/** The receiver has answered by the time that it is sent: from then on it is waited for as long as wanted. */
function oneOfSeveral(disk: Disk, all: readonly Preflight[], context: SendContext): DiskToSend {
  const { options, preflight, request, reporter, ticket } = disk;
  const { retryForMs } = request;
  return {
    source: options.source,
    meet: async () => {
      reporter.connecting(ticket.host, ticket.port);
      const found = await findTransfer(request, context);
      reporter.connected();
      await preflight.checkTarget(found);
      // It would be overwritten before it is sent.
      for (const other of all) other.refuseShared(found);
      return found;
    },
    send: async () =>
      await sendDisk({ ...disk, request: { ...request, firstContactForMs: retryForMs } }, context),
  };
}

/** With this variable set Node does not check certificates, and somebody had a reason to set it. */
function refuseUnsafeEnvironment(): void {
  if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] === undefined) return;
  throw new TransferError('unsafe-environment', 'NODE_TLS_REJECT_UNAUTHORIZED is set in the environment', {
    hint: 'unset NODE_TLS_REJECT_UNAUTHORIZED',
  });
}

async function checkOutputs({ source, receiptFile, mapfile }: DiskOptions): Promise<void> {
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

function makePacer(limited: Pick<ScheduleSource, 'bytesPerSecond'>, reporter: Reporter): BodyPacer {
  const limit = (): ScheduleSource['bytesPerSecond'] => limited.bytesPerSecond;
  reporter.showLimit(limit);
  return new BodyPacer({ clock: systemClock, limit });
}
