/** ddt-send: arguments, ticket, signals, exit status. The only file of the sender that ends the process. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { systemClock, systemRandom } from '../common/clock.ts';
import { writeFileDurably } from '../common/io/durable-file.ts';
import { DIGESTS } from '../common/digest/digest.ts';
import { EXIT_STATUS, TransferError, exitStatusOf, reasonOf } from '../common/errors.ts';
import { countExternalMemory } from '../common/io/garbage.ts';
import { parseTicket, type Ticket } from '../common/trust/ticket.ts';
import { failureText } from '../common/text.ts';
import { parseSendArgs, type SendOptions } from './cli.ts';
import { BlockEncoder } from './compression/encode-block.ts';
import { DiskSource } from './source/disk-source.ts';
import { doubtsOf } from './preflight/caveats.ts';
import { dryRun } from './transfer/dry-run.ts';
import { ScheduleSource } from './bandwidth/schedule-source.ts';
import { BodyPacer } from './bandwidth/body-pacer.ts';
import { Reachability } from './client/connection/reachability.ts';
import { TerminalArea, canDrawOn, hasBlockCharacters } from './display/live-area.ts';
import { ASCII_STYLE, BLOCKS_STYLE } from './display/live-line.ts';
import { MapfileKeeper } from './bad-sectors/mapfile-keeper.ts';
import { Meeting } from './preflight/preflight.ts';
import { HttpReceiver } from './client/http-receiver.ts';
import type { Seal } from './client/receiver-port.ts';
import { formatLimit, type Limit } from './bandwidth/bandwidth-schedule.ts';
import { Reporter } from './display/reporter.ts';
import { UnackedBytes } from './client/connection/unacked-bytes.ts';
import { StandardInput } from './source/standard-input.ts';
import { send, type SendContext, type SendRequest } from './transfer/send.ts';

async function findTicket(options: SendOptions): Promise<Ticket> {
  if (options.ticket !== undefined) return parseTicket(options.ticket);
  if (options.ticketFile !== undefined) {
    try {
      return parseTicket(await readFile(options.ticketFile, 'utf8'));
    } catch (error) {
      if (error instanceof TransferError) throw error;
      throw new TransferError(
        'usage',
        `cannot read the ticket from ${options.ticketFile}: ${reasonOf(error)}`,
        { cause: error },
      );
    }
  }
  const fromEnvironment = process.env['DDT_TICKET'];
  if (fromEnvironment !== undefined && fromEnvironment !== '') return parseTicket(fromEnvironment);
  throw new TransferError('usage', 'no ticket given', {
    hint: "start ddt-receive on the target's machine and paste what it prints: ddt-send <source> '<ticket>'",
  });
}

/** A variable that switches the checks of certificates off is a sign that something else is wrong, too. */
function refuseUnsafeEnvironment(): void {
  if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] === undefined) return;
  throw new TransferError('unsafe-environment', 'NODE_TLS_REJECT_UNAUTHORIZED is set in the environment', {
    hint: 'unset NODE_TLS_REJECT_UNAUTHORIZED',
  });
}

interface Interruption {
  readonly signal: AbortSignal;
  /** Exit status of the signal that came. */
  status: number;
}

function catchSignals(): Interruption {
  const controller = new AbortController();
  const interruption: Interruption = { signal: controller.signal, status: EXIT_STATUS.sigint };
  for (const [name, status] of [
    ['SIGINT', EXIT_STATUS.sigint],
    ['SIGTERM', EXIT_STATUS.sigterm],
  ] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(status);
      interruption.status = status;
      controller.abort(
        new TransferError('interrupted', 'interrupted', { hint: 'run the same command again to go on' }),
      );
    });
  }
  return interruption;
}

/** The receipt as it was signed, and its signature beside it, as `ssh-keygen -Y verify` takes them. */
async function writeReceipt(path: string, seal: Seal): Promise<void> {
  try {
    await writeFileDurably(path, seal.text, 0o644);
    await writeFileDurably(`${path}.sig`, seal.signature, 0o644);
  } catch (error) {
    throw new TransferError(
      'usage',
      `the copy is complete, but its receipt cannot be written to ${path}: ${reasonOf(error)}`,
      {
        cause: error,
        hint: 'run the same command again with another --receipt: it compares and writes the receipt',
      },
    );
  }
}

/** @returns undefined where nothing limits the rate. */
async function openLimit(
  argument: string | undefined,
  reporter: Reporter,
): Promise<ScheduleSource | undefined> {
  if (argument === undefined) return undefined;
  const limits = await ScheduleSource.open(argument, {
    clock: systemClock,
    onChange: (limit) => reporter.fact(`limit    ${formatLimit(limit)} from now on`),
    onBroken: (error) => reporter.warning({ warning: `${error.message}; the limit stays as it was` }),
  });
  // A terminal that goes away sends it, too: a transfer with a limit goes on then.
  process.on('SIGHUP', () => void limits.reload(true));
  return limits;
}

function makePacer(limits: ScheduleSource | undefined, reporter: Reporter): BodyPacer | undefined {
  if (limits === undefined) return undefined;
  const limit = (): Limit => limits.bytesPerSecond;
  reporter.showLimit(limit);
  return new BodyPacer({ clock: systemClock, limit });
}

function encoderFor({ compress }: SendOptions, reporter: Reporter): { encoder?: BlockEncoder } {
  if (compress === 'none') return {};
  const warn = (warning: string): void => reporter.warning({ warning });
  const cores = availableParallelism();
  return { encoder: new BlockEncoder({ compression: compress, cores, clock: systemClock, warn }) };
}

/** @returns the exit status. */
async function run(options: SendOptions, reporter: Reporter, signal: AbortSignal): Promise<number> {
  refuseUnsafeEnvironment();
  using limits = await openLimit(options.bwlimit, reporter);
  const ticket = await findTicket(options);
  const pacer = makePacer(limits, reporter);
  const senderId = randomUUID();
  await using source =
    options.source === '-'
      ? await StandardInput.open(options.sourceSizeBytes)
      : await DiskSource.open(options.source, options.onReadError);
  const meeting = new Meeting(source, options, { receiverName: ticket.host, reporter, signal });
  await meeting.begin();
  const shared = {
    ticket,
    senderId,
    pacer,
    unacked: new UnackedBytes(),
    reachability: new Reachability(ticket),
  };
  const request: SendRequest = {
    source,
    connect: (onResponse) => new HttpReceiver({ ...shared, onResponse }),
    receiverName: ticket.host,
    meet: async (found) => await meeting.meet(found),
    connections: options.connections,
    blockSizeBytes: options.blockSizeBytes,
    digest: options.digest,
    retryForMs: options.retryForMs,
    firstContactForMs: options.firstContactForMs,
    memoryBytes: options.memoryBytes,
    ...encoderFor(options, reporter),
  };
  const context: SendContext = {
    clock: systemClock,
    digests: DIGESTS,
    random: systemRandom,
    signal,
    reporter,
  };
  if (options.isDryRun && source instanceof DiskSource) {
    reporter.dryRun(await dryRun({ ...request, source }, context));
    return EXIT_STATUS.unproven;
  }
  const mapfile = source instanceof DiskSource ? await openMapfile(options, source, reporter) : undefined;
  const { facts, seal, targetPath } = await closing(mapfile, send(request, context));
  if (options.receiptFile !== undefined) await writeReceipt(options.receiptFile, seal);
  reporter.done(facts, targetPath);
  const lists = [options.receiptFile, options.mapfile].filter((path) => path !== undefined);
  const { warnings, hint } = doubtsOf(facts, source, lists);
  for (const warning of warnings) reporter.warning({ warning });
  if (hint !== undefined) reporter.hint(hint);
  await meeting.end();
  return warnings.length === 0 ? EXIT_STATUS.verified : EXIT_STATUS.unproven;
}

/** The mapfile is written last, however the sending ends. */
async function closing<Result>(
  mapfile: MapfileKeeper | undefined,
  sending: Promise<Result>,
): Promise<Result> {
  try {
    return await sending;
  } finally {
    await mapfile?.close();
  }
}

async function openMapfile(
  options: SendOptions,
  source: DiskSource,
  reporter: Reporter,
): Promise<MapfileKeeper | undefined> {
  if (options.mapfile === undefined) return undefined;
  const { path, description } = source.description;
  const comments = [`Source: ${path}: ${description}, ${source.sizeBytes} bytes`];
  const warn = (warning: string): void => reporter.warning({ warning });
  return await MapfileKeeper.open(options.mapfile, source.map, { comments, warn });
}

function makeReporter({ progress }: SendOptions): Reporter {
  const canDraw = canDrawOn(process.stderr, process.env['TERM']);
  const format =
    progress === 'auto' || (progress === 'tty' && !canDraw) ? (canDraw ? 'tty' : 'plain') : progress;
  const style = hasBlockCharacters(process.env) ? BLOCKS_STYLE : ASCII_STYLE;
  return new Reporter({
    format,
    isTerminal: process.stderr.isTTY,
    clock: systemClock,
    writeOut: (text) => process.stdout.write(text),
    writeErr: (text) => process.stderr.write(text),
    ...(format === 'tty' ? { live: { area: new TerminalArea(process.stderr), style } } : {}),
  });
}

async function main(): Promise<number> {
  const options = parseSendArgs(process.argv.slice(2), (text) => process.stdout.write(text));
  if (options === 'help') return 0;
  countExternalMemory();
  const reporter = makeReporter(options);
  const interruption = catchSignals();
  try {
    return await run(options, reporter, interruption.signal);
  } catch (error) {
    if (!(error instanceof TransferError)) {
      reporter.failed({ code: 'bug', message: String(error) });
      throw error;
    }
    reporter.failed(error);
    process.stderr.write(failureText('ddt-send', error));
    return error.kind === 'interrupted' ? interruption.status : exitStatusOf(error.kind);
  }
}

// Output that nobody reads any more must not end a transfer.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

try {
  const status = await main();
  process.stdout.write('', () => process.exit(status));
} catch (error) {
  if (!(error instanceof TransferError)) throw error;
  process.stderr.write(failureText('ddt-send', error));
  process.exit(exitStatusOf(error.kind));
}
