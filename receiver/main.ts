/**
 * ddt-receive: arguments, messages, signals, exit status. The only file of the receiver that ends the
 * process.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { systemClock } from '../common/clock.ts';
import { EXIT_STATUS, TransferError, exitStatusOf } from '../common/errors.ts';
import { countExternalMemory } from '../common/io/garbage.ts';
import { openTextOutput } from '../common/io/terminal-output.ts';
import { BLOCK_SIZE_BYTES_DEFAULT } from '../common/geometry.ts';
import { onProgressSignal } from '../common/progress-signal.ts';
import { BLOCK_STATES } from '../common/protocol/protocol.ts';
import { countOf, formatBlocks } from '../common/ranges.ts';
import { formatSize } from '../common/units.ts';
import { formatPublicTicket, formatTicket } from '../common/trust/ticket.ts';
import { failureText, printable, redact } from '../common/text.ts';
import { isPrivateAddress } from './identity/advertise.ts';
import { defaultStateDir } from './identity/state-dir.ts';
import {
  parseReceiveArgs,
  wantsJsonLog,
  type CheckOptions,
  type ListOptions,
  type LogFormat,
  type ReceiveOptions,
} from './cli.ts';
import { checkReceipt } from './check-receipt.ts';
import { curlHelp } from './console/curl-help.ts';
import { listLines } from './console/list-text.ts';
import { makeLog, type Log } from './console/log.ts';
import { startEvent, startLines, type StartFacts } from './console/start-text.ts';
import { listTransfers } from './list-transfers.ts';
import { PROCESS_NAME } from './presence.ts';
import { dropPrivileges } from './privileges.ts';
import type { PullOptions } from './pull/pull.ts';
import { relay } from '../common/io/relay.ts';
import { startReceiver, type RunningReceiver } from './start.ts';
import { withoutSender } from './without-sender.ts';

/** With --once: how long nobody must have been connected after the seal, and how long to wait for that. */
const ONCE_QUIET_MS = 500;
const ONCE_WAIT_MS = 60_000;
/** How often `--check-receipt` says how far it is. */
const CHECK_REPORT_MS = 10_000;
/** Requests in progress get this long to finish when the process is asked to stop. */
const STOP_GRACE_MS = 10_000;

function print(text: string): void {
  process.stdout.write(text);
}

/** A line of the log that has more members than a message. */
function printEvent(level: string, members: Readonly<Record<string, unknown>>): void {
  const time = new Date(systemClock.wallMs()).toISOString();
  errors.write(`${printable(redact(JSON.stringify({ time, level, ...members })))}\n`);
}

function factsOf(options: ReceiveOptions, receiver: RunningReceiver): StartFacts {
  const { transfer, server, content, begunAs } = receiver;
  const { opened: open, sealed } = transfer;
  const { path, byId, description, serial, sizeBytes } = transfer.target.identity;
  return {
    target: { path, byId, description, serial, sizeBytes },
    content,
    journal: transfer.journal.path,
    transfer: open && {
      begunAs,
      isSealed: sealed !== undefined,
      blockCount: open.claim.size === null ? null : open.blockCount,
      durableBlocks: open.table.countOf('durable') + open.table.countOf('verified'),
    },
    listen: { host: server.host, port: server.port },
    ticketFile: options.ticketFile,
    signers: receiver.signers,
    publicTicket: receiver.publicTicket && formatPublicTicket(receiver.publicTicket),
  };
}

function printStart(options: ReceiveOptions, receiver: RunningReceiver): void {
  const facts = factsOf(options, receiver);
  const { transfer, ticket } = receiver;
  if (options.log === 'json') printEvent('info', startEvent(facts));
  else
    print(
      `${startLines(facts)
        .map((line) => printable(line))
        .join('\n')}\n`,
    );
  if (facts.publicTicket === undefined) printTicket(options, formatTicket(ticket));
  else printPublicTicket(facts.publicTicket);
  if (options.log === 'text' && options.advertise === undefined && isPrivateAddress(ticket.host)) {
    print(
      `note: ${ticket.host} is a private address; ` +
        'if senders reach this machine at another one: --advertise <address>\n',
    );
  }
  if (options.curlHelp) {
    print(`\n${curlHelp(ticket, transfer.opened?.geometry.blockSizeBytes ?? BLOCK_SIZE_BYTES_DEFAULT)}`);
  }
}

/** Where standard output is a log, the ticket stays out of it if there is a file for it. */
function printTicket({ ticketFile }: ReceiveOptions, ticket: string): void {
  if (process.stdout.isTTY) {
    print(`\nrun on the source's machine:\nddt-send <source> '${ticket}'\n\n`);
  } else if (ticketFile === undefined) print(`ticket: ${ticket}\n`);
}

/** It may be in any log. Somebody who has named signers does not want a secret there beside it. */
function printPublicTicket(ticket: string): void {
  if (process.stdout.isTTY)
    print(
      "\nrun on the source's machine, with a key of one of the signers:\n" +
        `ddt-send --identity ~/.ssh/id_ed25519 <source> '${ticket}'\n\n`,
    );
  else print(`public ticket: ${ticket}\n`);
}

async function list({ stateDir, log }: ListOptions): Promise<number> {
  const folder = resolve(stateDir ?? defaultStateDir());
  const entries = await listTransfers(folder);
  if (log === 'json') for (const entry of entries) print(`${JSON.stringify(entry)}\n`);
  else if (entries.length === 0) print(`no transfers in ${folder}\n`);
  else
    print(
      `${entries
        .map((entry) =>
          listLines(entry)
            .map((line) => printable(line))
            .join('\n'),
        )
        .join('\n\n')}\n`,
    );
  return EXIT_STATUS.verified;
}

/** Compares a disk with its receipt. */
async function check({ receipt: path, disk, signer }: CheckOptions): Promise<number> {
  const startMs = systemClock.monotonicMs();
  let reportedMs = startMs;
  const onProgress = (bytes: number): void => {
    const nowMs = systemClock.monotonicMs();
    if (nowMs - reportedMs < CHECK_REPORT_MS) return;
    reportedMs = nowMs;
    errors.write(`${formatSize(bytes)} of ${disk} compared\n`);
  };
  const { receipt, fingerprint, different } = await checkReceipt(path, disk, { signer, onProgress });
  const { size, blockCount, sealedAt, generation, target } = receipt;
  print(`receipt  ${path}: ${target.path}, sealed ${sealedAt}, generation ${generation ?? 1}\n`);
  print(`key      ${fingerprint}: the key of the receiver that signed it\n`);
  if (different.length === 0) {
    print(`equal    all ${blockCount} blocks, ${formatSize(size)}, of ${disk} are what the receipt says\n`);
    return EXIT_STATUS.verified;
  }
  print(`differs  ${countOf(different)} of ${blockCount} blocks of ${disk}: ${formatBlocks(different)}\n`);
  return EXIT_STATUS.unproven;
}

/** `256 blocks: 100 verified, 20 durable, 4 written, 132 absent`. */
function progressText({ opened, sealed }: RunningReceiver['transfer']): string {
  if (opened === undefined) return 'nothing is claimed yet';
  const { table, blockCount, claim } = opened;
  const counts = BLOCK_STATES.toReversed().map((state) => `${table.countOf(state)} ${state}`);
  const total = claim.size === null ? 'a pipe that has not ended' : `${blockCount} blocks`;
  return `${total}${sealed === undefined ? '' : ', sealed'}: ${counts.join(', ')}`;
}

/** In `ps` with the target; in `pgrep` and for other receivers, which see 15 characters, without. */
function nameProcess(target: string): void {
  process.title = `${PROCESS_NAME}: ${target}`;
  try {
    writeFileSync('/proc/self/comm', PROCESS_NAME);
  } catch {
    // A /proc that can't be written to: the name is the title's beginning then.
  }
}

async function receive(options: ReceiveOptions, log: Log): Promise<number> {
  nameProcess(options.target);
  countExternalMemory();
  let progress = (): string => 'starting';
  void onProgressSignal(() => log.info(progress()));
  const end = Promise.withResolvers<number>();
  let isStarted = false;
  // A ddt-receive that pulls has started it, and is gone.
  process.once('disconnect', () => {
    if (!isStarted) process.exit(EXIT_STATUS.sigterm);
    end.resolve(EXIT_STATUS.sigterm);
  });
  const receiver = await startReceiver(options, {
    clock: systemClock,
    log,
    dropPrivileges,
    events: {
      onSealed: () => {
        if (options.once) end.resolve(EXIT_STATUS.verified);
      },
      // Nothing may be acknowledged without a journal; the blocks of the last second will be sent again.
      onJournalBroken: (error) => process.exit(report(error, options.log)),
    },
  });
  isStarted = true;
  progress = () => progressText(receiver.transfer);
  let signals = 0;
  for (const [signal, status] of [
    ['SIGINT', EXIT_STATUS.sigint],
    ['SIGTERM', EXIT_STATUS.sigterm],
  ] as const) {
    process.on(signal, () => {
      // A second signal does not wait: what is journalled is safe.
      if (signals++ > 0) process.exit(status);
      end.resolve(receiver.transfer.sealed === undefined ? status : EXIT_STATUS.verified);
    });
  }
  printStart(options, receiver);
  const { senderWithinMs: withinMs } = options;
  using _watch = withoutSender({ ...receiver, clock: systemClock, withinMs }, (reason) => {
    log.info(reason);
    end.resolve(receiver.transfer.sealed === undefined ? EXIT_STATUS.gaveUp : EXIT_STATUS.verified);
  });
  const status = await end.promise;
  // The sender closes its connections when it has its receipt; if the response was lost it comes again.
  if (status === EXIT_STATUS.verified) await receiver.server.quiet(ONCE_QUIET_MS, ONCE_WAIT_MS);
  await receiver.stop(STOP_GRACE_MS);
  if (status !== EXIT_STATUS.verified) {
    const without = options.discardTransfer ? 'without --discard-transfer ' : '';
    log.info(
      `stopped before the transfer was complete; run the same command again ${without}to resume ` +
        `(journal: ${receiver.transfer.journal.path})`,
    );
  }
  return status;
}

/** From a machine that ssh reaches. @returns the exit status. */
async function pullHere(options: PullOptions): Promise<number> {
  // No other start waits for what it needs.
  const [{ pull }, { PullScreen }] = await Promise.all([
    import('./pull/pull.ts'),
    import('./pull/pull-screen.ts'),
  ]);
  process.title = `${PROCESS_NAME}: ${options.receiver.target} from ${options.source.login}`;
  const screen = await PullScreen.open({ out: openTextOutput(process.stdout), err: errors });
  const interruption = new AbortController();
  const { signal } = interruption;
  const received: { status?: number } = {};
  for (const [name, status] of [
    ['SIGINT', EXIT_STATUS.sigint],
    ['SIGTERM', EXIT_STATUS.sigterm],
  ] as const) {
    process.on(name, () => {
      if (received.status !== undefined) process.exit(status);
      received.status = status;
      const hint = 'run the same command again to resume';
      interruption.abort(new TransferError('interrupted', 'interrupted', { hint }));
    });
  }
  // A lost terminal ends nothing.
  process.on('SIGHUP', () => {});
  try {
    const onProgressAsked = (tell: () => void): void => void onProgressSignal(tell);
    return await pull(options, { screen, clock: systemClock, signal, onProgressAsked });
  } catch (error) {
    if (received.status === undefined || !(error instanceof TransferError)) throw error;
    report(error, 'text');
    return received.status;
  }
}

/** The ssh session that started it may end: SIGHUP would end the transfer with it. */
function outliveTerminal(log: Log): void {
  let isSaid = false;
  process.on('SIGHUP', () => {
    if (!isSaid) log.info(`the terminal is gone: still receiving in process ${process.pid}`);
    isSaid = true;
  });
}

/** @returns the exit status. */
function report(error: TransferError, format: LogFormat): number {
  const { code, message, hint, kind, details } = error;
  if (format === 'json') printEvent('error', { code, message, hint, isContent: details['isContent'] });
  else errors.write(failureText('ddt-receive', error));
  return exitStatusOf(kind);
}

// Output to a closed pipe, or to a terminal that is gone, must not end a transfer.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
const errors = openTextOutput(process.stderr);

const argv = process.argv.slice(2);
const format = wantsJsonLog(argv) ? 'json' : 'text';
try {
  const command = parseReceiveArgs(argv, print);
  if (command.kind === 'help') process.exit(EXIT_STATUS.verified);
  if (command.kind === 'list') process.exit(await list(command.options));
  if (command.kind === 'check') process.exit(await check(command.options));
  if (command.kind === 'pull') process.exit(await pullHere(command.options));
  if (command.kind === 'relay') process.exit(await relay(command.options));
  const log = makeLog(command.options.log, systemClock, (line) => errors.write(line));
  outliveTerminal(log);
  process.exit(await receive(command.options, log));
} catch (error) {
  if (error instanceof TransferError) process.exit(report(error, format));
  if (format === 'text') throw error;
  printEvent('bug', { message: error instanceof Error ? error.stack : String(error) });
  process.exit(EXIT_STATUS.bug);
}
