/** ddt-send: arguments, ticket, signals, exit status. The only file of the sender that ends the process. */
import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { systemClock, systemRandom } from '../common/clock.ts';
import { writeFileDurably } from '../common/durable-file.ts';
import { digestOf } from '../common/digest.ts';
import { EXIT_STATUS, TransferError, exitStatusOf, reasonOf } from '../common/errors.ts';
import { parseTicket, redact, type Ticket } from '../common/ticket.ts';
import { parseSendArgs, type SendOptions } from './cli.ts';
import { DiskSource } from './disk-source.ts';
import { HttpReceiverClient } from './receiver-client.ts';
import type { Seal } from './receiver-port.ts';
import { Reporter } from './reporter.ts';
import { SendQueues } from './send-queues.ts';
import { send } from './send.ts';

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

function reportFailure(error: TransferError): void {
  process.stderr.write(`ddt-send: error: ${redact(error.message)}\n`);
  if (error.hint !== undefined) process.stderr.write(`ddt-send: hint: ${redact(error.hint)}\n`);
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

/** @returns the exit status. */
async function run(options: SendOptions, reporter: Reporter, signal: AbortSignal): Promise<number> {
  refuseUnsafeEnvironment();
  const ticket = await findTicket(options);
  const senderId = randomUUID();
  const queues = new SendQueues();
  await using source = await DiskSource.open(options.source);
  const { facts, seal, targetPath } = await send(
    {
      source,
      connect: (onReply) => new HttpReceiverClient({ ticket, senderId, queues, onReply }),
      receiverName: ticket.host,
      connections: options.connections,
      blockSizeBytes: options.blockSizeBytes,
      retryForMs: options.retryForMs,
      memoryBytes: options.memoryBytes,
    },
    { clock: systemClock, digest: digestOf, random: systemRandom, signal, reporter },
  );
  if (options.receiptFile !== undefined) await writeReceipt(options.receiptFile, seal);
  reporter.done(facts, targetPath);
  if (facts.verified === 'read-back') return EXIT_STATUS.verified;
  process.stderr.write(
    'ddt-send: warning: the receiver was started with --verify none: nothing was read back\n',
  );
  return EXIT_STATUS.unproven;
}

async function main(): Promise<number> {
  const options = parseSendArgs(process.argv.slice(2), (text) => process.stdout.write(text));
  if (options === 'help') return 0;
  const reporter = new Reporter({
    format: options.progress === 'auto' ? 'plain' : options.progress,
    isTerminal: process.stderr.isTTY,
    clock: systemClock,
    writeOut: (text) => process.stdout.write(text),
    writeErr: (text) => process.stderr.write(text),
  });
  const interruption = catchSignals();
  try {
    return await run(options, reporter, interruption.signal);
  } catch (error) {
    if (!(error instanceof TransferError)) {
      reporter.failed({ code: 'bug', message: String(error) });
      throw error;
    }
    reporter.failed(error);
    reportFailure(error);
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
  reportFailure(error);
  process.exit(exitStatusOf(error.kind));
}
