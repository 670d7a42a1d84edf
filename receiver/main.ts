/**
 * ddt-receive: arguments, messages, signals, exit status. The only file of the receiver that ends the
 * process.
 */
import assert from 'node:assert/strict';
import { systemClock } from '../common/clock.ts';
import { EXIT_STATUS, TransferError, exitStatusOf } from '../common/errors.ts';
import { countExternalMemory } from '../common/io/garbage.ts';
import { openTextOutput } from '../common/io/terminal-output.ts';
import { BLOCK_SIZE_BYTES_DEFAULT } from '../common/geometry.ts';
import { onProgressSignal } from '../common/progress-signal.ts';
import { formatPublicTicket, formatTicket } from '../common/trust/ticket.ts';
import { failureText, printable, redact } from '../common/text.ts';
import { isPrivateAddress } from './identity/advertise.ts';
import { parseReceiveArgs, wantsJsonLog, type LogFormat, type ReceiveOptions } from './cli.ts';
import { curlHelp } from './console/curl-help.ts';
import { makeLog, type Log } from './console/log.ts';
import { startEvent, startLines, type StartFacts } from './console/start-text.ts';
import { check, list } from './inspect.ts';
import { PROCESS_NAME, nameProcess } from './presence.ts';
import type { PullOptions } from './pull/pull.ts';
import { ReceiverHooks } from './receiver-hooks.ts';
import { reportProgress } from './report-progress.ts';
import { watchSender } from './sender-gone.ts';
import type { RunningReceiver, Served } from './start.ts';
import type { OpenWatch } from './watch/open-watch.ts';
import { isStoreCommand, type StoreCommand } from './store-command-line.ts';
import { withoutSender } from './without-sender.ts';

/** With --once: how long nobody must have been connected after the seal, and how long to wait for that. */
const ONCE_QUIET_MS = 500;
const ONCE_WAIT_MS = 60_000;
/** The same where a sender may have another disk: it has new connections for each. */
const NEXT_DISK_MS = 5000;
/** Requests in progress get this long to finish when the process is asked to stop. */
const STOP_GRACE_MS = 10_000;

function print(text: string): void {
  process.stdout.write(text);
}

function say(text: string): void {
  errors.write(text);
}

/** A line of the log that has more members than a message. */
function printEvent(level: string, members: Readonly<Record<string, unknown>>): void {
  const time = new Date(systemClock.wallMs()).toISOString();
  errors.write(`${printable(redact(JSON.stringify({ time, level, ...members })))}\n`);
}

function factsOf(options: ReceiveOptions, receiver: RunningReceiver, served: Served): StartFacts {
  const { server, signers } = receiver;
  const { transfer, content, begunAs, publicTicket } = served;
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
    signers,
    publicTicket: publicTicket && formatPublicTicket(publicTicket),
  };
}

function printStart(options: ReceiveOptions, receiver: RunningReceiver): void {
  const all = receiver.served.map((served) => factsOf(options, receiver, served));
  const [first, ...more] = all;
  assert(first !== undefined);
  if (options.log === 'json') for (const facts of all) printEvent('info', startEvent(facts));
  else
    print(
      `${startLines(first, ...more)
        .map((line) => printable(line))
        .join('\n')}\n`,
    );
  for (const { ticket, publicTicket, transfer } of receiver.served) {
    const { path } = transfer.target.identity;
    const name = more.length === 0 ? '' : ` for ${printable(path)}`;
    if (publicTicket === undefined) printTicket(options, formatTicket(ticket), name);
    else printPublicTicket(formatPublicTicket(publicTicket), name);
  }
  const host = receiver.served[0]?.ticket.host ?? '';
  if (options.log === 'text' && options.advertise === undefined && isPrivateAddress(host)) {
    print(
      `note: ${host} is a private address; ` +
        'if senders reach this machine at another one: --advertise <address>\n',
    );
  }
  if (!options.curlHelp) return;
  for (const { ticket, transfer } of receiver.served) {
    print(`\n${curlHelp(ticket, transfer.opened?.geometry.blockSizeBytes ?? BLOCK_SIZE_BYTES_DEFAULT)}`);
  }
}

/**
 * Where standard output is a log, the ticket stays out of it if there is a file for it.
 * @param name of one of several targets: ` for /dev/vdb`.
 */
function printTicket({ ticketFile }: ReceiveOptions, ticket: string, name: string): void {
  if (process.stdout.isTTY) {
    print(`\nrun on the source's machine${name}:\nddt-send <source> '${ticket}'\n\n`);
  } else if (ticketFile === undefined) print(`ticket${name}: ${ticket}\n`);
}

/** It may be in any log. Somebody who has named signers does not want a secret there beside it. */
function printPublicTicket(ticket: string, name: string): void {
  if (process.stdout.isTTY)
    print(
      `\nrun on the source's machine${name}, with a key of one of the signers:\n` +
        `ddt-send --identity ~/.ssh/id_ed25519 <source> '${ticket}'\n\n`,
    );
  else print(`public ticket${name}: ${ticket}\n`);
}

/** Of an object store. @returns the exit status. */
async function storeCommand(command: StoreCommand): Promise<number> {
  const { runStoreCommand } = await import('./run-store-command.ts');
  const interruption = new AbortController();
  const received: { status?: number } = {};
  onStopSignal((status) => {
    received.status = status;
    interruption.abort(
      new TransferError('interrupted', 'interrupted', { hint: 'run the same command again' }),
    );
  });
  try {
    return await runStoreCommand(command, { print, say }, interruption.signal);
  } catch (error) {
    if (received.status === undefined || !(error instanceof TransferError)) throw error;
    report(error, 'text');
    return received.status;
  }
}

/** @param stop is called once. A second signal does not wait: what is journalled is safe. */
function onStopSignal(stop: (status: number) => void): void {
  let signals = 0;
  for (const [signal, status] of [
    ['SIGINT', EXIT_STATUS.sigint],
    ['SIGTERM', EXIT_STATUS.sigterm],
  ] as const) {
    process.on(signal, () => {
      if (signals++ > 0) process.exit(status);
      stop(status);
    });
  }
}

/** @returns the exit status, when the commands for the end have ended. */
async function receive(options: ReceiveOptions, log: Log): Promise<number> {
  nameProcess(options.targets);
  countExternalMemory();
  const ring = process.stderr.isTTY ? (): void => void errors.write('\x07') : undefined;
  const hooks = new ReceiverHooks(options, { clock: systemClock, log, ring });
  try {
    const status = await serve(options, log, hooks);
    const isInterrupted = status === EXIT_STATUS.sigint || status === EXIT_STATUS.sigterm;
    if (!isInterrupted) await hooks.finish();
    return status;
  } catch (error) {
    hooks.failed(error);
    await hooks.finish();
    throw error;
  }
}

async function serve(options: ReceiveOptions, log: Log, hooks: ReceiverHooks): Promise<number> {
  let progress = (): void => log.info('starting');
  void onProgressSignal(() => progress());
  const end = Promise.withResolvers<number>();
  let isStarted = false;
  // A ddt-receive that pulls has started it, and is gone.
  process.once('disconnect', () => {
    if (!isStarted) process.exit(EXIT_STATUS.sigterm);
    end.resolve(EXIT_STATUS.sigterm);
  });
  const failed: { status: number; count: number } = { status: EXIT_STATUS.verified, count: 0 };
  const running: { receiver?: RunningReceiver } = {};
  // Before the rights of root are given up: its files may be root's.
  await using watch = await openWatch(options);
  const endIfComplete = (): void => {
    if (options.once && isComplete(running.receiver?.served)) end.resolve(failed.status);
  };
  // It takes a tenth of a second to load: who asks for the version, or mistypes an option, does not wait.
  const [{ startReceiver }, { dropPrivileges }] = await Promise.all([
    import('./start.ts'),
    import('./privileges.ts'),
  ]);
  const receiver = await startReceiver(options, {
    clock: systemClock,
    log: watch === undefined ? log : watch.watched(log),
    watchOf: watch?.of,
    dropPrivileges,
    events: {
      onSealed: endIfComplete,
      onReceipt: hooks.onReceipt,
      onTrouble: hooks.onTrouble,
      // Nothing may be acknowledged without a journal; the blocks of the last second will be sent again.
      onFailed: (error) => {
        failed.status = report(error, options.log);
        const isLast = ++failed.count === options.targets.length;
        hooks.journalFailed(error, isLast);
        if (isLast) process.exit(failed.status);
        endIfComplete();
      },
    },
  });
  isStarted = true;
  running.receiver = receiver;
  const { served } = receiver;
  const isSealed = (): boolean => served.every(({ transfer }) => transfer.sealed !== undefined);
  progress = () => reportProgress(served, log);
  const asked = Promise.withResolvers<void>();
  onStopSignal((status) => {
    asked.resolve();
    end.resolve(isSealed() ? EXIT_STATUS.verified : status);
  });
  printStart(options, receiver);
  if (watch !== undefined) printWatch(options, watch.url);
  const { senderWithinMs: withinMs } = options;
  using _watch = withoutSender({ ...receiver, clock: systemClock, withinMs }, (reason) => {
    log.info(reason);
    if (!isSealed()) hooks.failed(new TransferError('no-progress', reason));
    end.resolve(isSealed() ? EXIT_STATUS.verified : EXIT_STATUS.gaveUp);
  });
  using _absence = watchSender(
    { ...receiver, clock: systemClock, afterMs: options.hooks.troubleAfterMs },
    hooks.onTrouble,
  );
  const status = await end.promise;
  // The sender closes its connections when it has its receipt; if the response was lost it comes again.
  if (isComplete(served)) await waitForSender(receiver, asked.promise);
  await receiver.stop(STOP_GRACE_MS);
  if (!isSealed()) log.info(resumeText(options, served));
  return Math.max(status, failed.status);
}

/** @throws TransferError `listen-failed`. */
async function openWatch({ web, targets }: ReceiveOptions): Promise<OpenWatch | undefined> {
  if (web === undefined) return undefined;
  // A start that nobody watches need not wait for it.
  const watch = await import('./watch/open-watch.ts');
  return await watch.openWatch(web, targets, systemClock);
}

function printWatch({ log }: ReceiveOptions, url: string): void {
  if (log === 'json') printEvent('info', { message: `the page is at ${url}`, web: url });
  else print(`web      ${url}\n`);
}

/** Whether no transfer is left for which anything could be sent. */
function isComplete(served: readonly Served[] = []): boolean {
  return (
    served.length > 0 &&
    served.every(({ transfer, failure }) => transfer.sealed !== undefined || failure !== undefined)
  );
}

/**
 * A sender of several disks compares those that were complete before, after the others.
 * @param asked to stop.
 */
async function waitForSender({ server, served }: RunningReceiver, asked: Promise<void>): Promise<void> {
  if (served.length > 1) await Promise.race([server.quiet(NEXT_DISK_MS, Infinity), asked]);
  await server.quiet(ONCE_QUIET_MS, ONCE_WAIT_MS);
}

function resumeText({ discardTransfer }: ReceiveOptions, served: readonly Served[]): string {
  const without = discardTransfer ? 'without --discard-transfer ' : '';
  const left = served.filter(({ transfer }) => transfer.sealed === undefined);
  const journals = left.map(({ transfer }) => transfer.journal.path).join(', ');
  const what = served.length === 1 ? 'the transfer was' : 'all transfers were';
  return (
    `stopped before ${what} complete; run the same command again ${without}to resume ` +
    `(journal${left.length === 1 ? '' : 's'}: ${journals})`
  );
}

/** From a machine that ssh reaches. @returns the exit status. */
async function pullHere(options: PullOptions): Promise<number> {
  // No other start waits for what it needs.
  const [{ pull }, { PullHooks }, { PullScreen }] = await Promise.all([
    import('./pull/pull.ts'),
    import('./pull/pull-hooks.ts'),
    import('./pull/pull-screen.ts'),
  ]);
  process.title = `${PROCESS_NAME}: ${options.receiver.target} from ${options.source.login}`;
  const screen = await PullScreen.open({ out: openTextOutput(process.stdout), err: errors });
  const interruption = new AbortController();
  const { signal } = interruption;
  const received: { status?: number } = {};
  onStopSignal((status) => {
    received.status = status;
    const hint = 'run the same command again to resume';
    interruption.abort(new TransferError('interrupted', 'interrupted', { hint }));
  });
  // A lost terminal ends nothing.
  process.on('SIGHUP', () => {});
  try {
    const onProgressAsked = (tell: () => void): void => void onProgressSignal(tell);
    const hooks = new PullHooks(options, { screen, clock: systemClock });
    const { onTrouble, onLastWord } = hooks;
    const parts = { screen, clock: systemClock, signal, onProgressAsked, onTrouble, onLastWord };
    return await hooks.around(pull(options, parts), signal);
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
  if (command.kind === 'list') process.exit(await list(command.options, { print, say }));
  if (command.kind === 'check') process.exit(await check(command.options, { print, say }));
  if (isStoreCommand(command)) process.exit(await storeCommand(command));
  if (command.kind === 'pull') process.exit(await pullHere(command.options));
  if (command.kind === 'relay') {
    const { relay } = await import('../common/io/relay.ts');
    process.exit(await relay(command.options));
  }
  const log = makeLog(command.options.log, systemClock, (line) => errors.write(line));
  outliveTerminal(log);
  process.exit(await receive(command.options, log));
} catch (error) {
  if (error instanceof TransferError) process.exit(report(error, format));
  if (format === 'text') throw error;
  printEvent('bug', { message: error instanceof Error ? error.stack : String(error) });
  process.exit(EXIT_STATUS.bug);
}
