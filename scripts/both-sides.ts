/** Both commands as real processes over real TLS, for the scripts that show and measure them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { errnoOf, exitStatusOf, TransferError } from '../common/errors.ts';

export const SCRIPTS = resolve(import.meta.dirname);
/** On Debian 13 and Fedora /tmp is memory; these scripts are about disks. */
export const TEMPORARY = process.env['TMPDIR'] ?? '/var/tmp';

const MEMORY_EVERY_MS = 50;
const START_TIMEOUT_MS = 20_000;

/** Something did not hold; the message is for the person who ran the script. */
export class Failure extends Error {
  readonly exitStatus: number;
  constructor(message: string, exitStatus = 1, options: ErrorOptions = {}) {
    super(message, options);
    this.exitStatus = exitStatus;
  }
}

/** How a process ended, and all it said. `peakMemoryBytes` is the kernel's VmHWM, looked at as it ran. */
export interface ProcessEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly lines: readonly string[];
  readonly errors: readonly string[];
  readonly seconds: number;
  readonly peakMemoryBytes: number;
}

/** A child that is killed when it goes out of scope. The launchers `exec`: the pid is that of Node itself. */
export class OwnProcess implements AsyncDisposable {
  readonly ended: Promise<ProcessEnd>;
  readonly lines: string[] = [];
  readonly errors: string[] = [];
  readonly #child: ChildProcess;
  #peakMemoryBytes = 0;

  constructor(command: string, parameters: readonly string[]) {
    // Detached makes it the head of a process group, so that a pipeline dies as a whole.
    const child = spawn(command, parameters, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.#child = child;
    createInterface({ input: child.stdout }).on('line', (line) => this.lines.push(line));
    createInterface({ input: child.stderr }).on('line', (line) => this.errors.push(line));
    const timer = setInterval(() => this.#sampleMemory(), MEMORY_EVERY_MS);
    this.ended = this.#watch(command, performance.now()).finally(() => clearInterval(timer));
    // Whoever awaits it gets the rejection; until then it must not end this process.
    void this.ended.catch(() => {});
  }

  /** @param prefix what the command line begins with: `ip netns exec …`; may be empty. */
  static within(prefix: readonly string[], command: readonly string[]): OwnProcess {
    const [program = '', ...parameters] = [...prefix, ...command];
    return new OwnProcess(program, parameters);
  }

  async #watch(command: string, startedMs: number): Promise<ProcessEnd> {
    try {
      await once(this.#child, 'close');
    } catch (error) {
      throw new Failure(
        `cannot start ${command}: ${error instanceof Error ? error.message : String(error)}`,
        2,
        {
          cause: error,
        },
      );
    }
    const { exitCode: status, signalCode: signal } = this.#child;
    const seconds = (performance.now() - startedMs) / 1000;
    const { lines, errors } = this;
    return { status, signal, lines, errors, seconds, peakMemoryBytes: this.#peakMemoryBytes };
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Sends the signal to the process and to those that it started. */
  kill(signal: NodeJS.Signals): void {
    this.#sampleMemory();
    const { pid } = this.#child;
    if (pid === undefined || !this.isRunning) return;
    try {
      process.kill(-pid, signal);
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }

  #sampleMemory(): void {
    try {
      const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(
        readFileSync(`/proc/${this.#child.pid}/status`, 'utf8'),
      )?.[1];
      this.#peakMemoryBytes = Math.max(this.#peakMemoryBytes, Number(kibibytes ?? 0) * 1024);
    } catch {
      // The process is gone: the last sample stands.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill('SIGKILL');
    await this.ended.catch(() => {});
  }
}

/**
 * Runs a command to its end.
 * @throws Failure with its last words unless it exits 0; the signal's reason when aborted, after killing it.
 */
export async function run(
  command: string,
  parameters: readonly string[],
  signal: AbortSignal,
): Promise<ProcessEnd> {
  signal.throwIfAborted();
  await using child = new OwnProcess(command, parameters);
  const onAbort = (): void => child.kill('SIGTERM');
  signal.addEventListener('abort', onAbort);
  try {
    const end = await child.ended;
    signal.throwIfAborted();
    if (end.status === 0) return end;
    const words = (end.errors.length > 0 ? end.errors : end.lines).slice(-3).join(' · ');
    throw new Failure(
      `${basename(command)} ended with ${end.signal ?? end.status}: ${words}`,
      end.status ?? 1,
    );
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

export interface ReceiverOptions {
  /** For state and ticket; one folder, one receiver. */
  readonly folder: string;
  readonly target: string;
  readonly parameters?: readonly string[];
  /** Where it listens; default 127.0.0.1. */
  readonly address?: string;
  /** What its command line begins with: `ip netns exec …`. */
  readonly within?: readonly string[];
  readonly signal: AbortSignal;
}

export interface RunningReceiver {
  readonly process: OwnProcess;
  readonly ticketFile: string;
  readonly ticket: string;
}

/**
 * Starts `ddt-receive` on a free port and waits for its ticket; `stack` stops it.
 * @throws Failure with what it said when it ends first or does not come up.
 */
export async function startReceiver(
  options: ReceiverOptions,
  stack: AsyncDisposableStack,
): Promise<RunningReceiver> {
  const ticketFile = join(options.folder, 'ticket');
  const { address = '127.0.0.1', within = [] } = options;
  const place = ['--listen', `${address}:0`, '--advertise', address, '--state-dir'];
  const files = [join(options.folder, 'state'), '--ticket-file', ticketFile];
  const parameters = [...place, ...files, ...(options.parameters ?? []), options.target];
  const receiver = stack.use(OwnProcess.within(within, [join(SCRIPTS, 'ddt-receive'), ...parameters]));
  await until('ddt-receive to print its ticket', options.signal, START_TIMEOUT_MS, async () => {
    if (!receiver.isRunning) {
      const { errors, status } = await receiver.ended;
      throw new Failure(`ddt-receive ended with ${status}: ${errors.join(' · ')}`);
    }
    return [...receiver.lines, ...receiver.errors].some((line) => line.startsWith('listening on '));
  });
  return { process: receiver, ticketFile, ticket: (await readFile(ticketFile, 'utf8')).trim() };
}

/** Asks every 20 ms. @throws Failure when it takes too long, the signal's reason when aborted. */
export async function until(
  what: string,
  signal: AbortSignal,
  timeoutMs: number,
  isTrue: () => Promise<boolean> | boolean,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    signal.throwIfAborted();
    if (performance.now() > endMs) throw new Failure(`waited ${timeoutMs / 1000} s in vain for ${what}`);
    await delay(20);
  }
  signal.throwIfAborted();
}

/**
 * Runs a script's work and sets the exit status. What the world did is told in one sentence, a bug by its
 * stack.
 * @param work gets a signal that Ctrl-C and its like abort, so that scopes end in order and clean up.
 */
export async function runScript(name: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  try {
    await work(interruption());
  } catch (error) {
    if (!(error instanceof Error) || errnoOf(error) === undefined) {
      if (!(error instanceof Failure || error instanceof TransferError)) throw error;
    }
    process.stderr.write(`${name}: error: ${error.message}\n`);
    if (error instanceof Failure) process.exitCode = error.exitStatus;
    else process.exitCode = error instanceof TransferError ? exitStatusOf(error.kind) : 1;
  }
}

function interruption(): AbortSignal {
  const controller = new AbortController();
  for (const [name, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.once(name, () =>
      controller.abort(new Failure('interrupted; everything temporary is removed', 128 + number)),
    );
  }
  return controller.signal;
}
