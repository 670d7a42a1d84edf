/** Real processes: run to their end, or watched while they run. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { basename } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { errnoOf } from '../../common/errors.ts';

const TIMEOUT_MS_DEFAULT = 60_000;
const LAST_LINES = 3;

/** A process ended as it should not have, or something took too long: no bug of the program that waited. */
export class ProcessFailure extends Error {
  /** Of the process; undefined when it was killed or never ended. */
  readonly status: number | undefined;

  constructor(message: string, status?: number) {
    super(message);
    this.status = status;
  }
}

export interface StartOptions {
  /** Replaces this process's own. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** What the command line starts with: `ip netns exec <name>`. */
  readonly under?: readonly string[];
}

export interface RunOptions extends StartOptions {
  /** Written to standard input, which is then closed. */
  readonly input?: string | Uint8Array;
  /** The process group is killed with SIGKILL after this time; default one minute. */
  readonly timeoutMs?: number;
  /** Sends SIGTERM to the process group; `run` then rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Either `status` or `signal` is null. */
export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever its status. @throws Error only if it cannot be started (ENOENT). */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const { input, timeoutMs = TIMEOUT_MS_DEFAULT, signal, ...rest } = options;
  signal?.throwIfAborted();
  await using started = await start(command, args, rest);
  const stop = (): void => started.killGroup('SIGTERM');
  signal?.addEventListener('abort', stop);
  started.stdin.end(input);
  const timer = setTimeout(() => started.killGroup('SIGKILL'), timeoutMs);
  try {
    const ended = await started.ended;
    signal?.throwIfAborted();
    return ended;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', stop);
  }
}

/** As {@link run}. @returns standard output. @throws ProcessFailure unless the status is 0. */
export async function runOk(command: string, args: readonly string[], options?: RunOptions): Promise<string> {
  const ended = await run(command, args, options);
  if (ended.status === 0) return ended.stdout;
  const { status, signal, stderr } = ended;
  const how = signal ?? `status ${status}`;
  throw new ProcessFailure(`${basename(command)} ${args.join(' ')}: ${how}: ${stderr}`, status ?? 1);
}

/** The end of what a process wrote, in one line, standard error if it wrote any. */
export function lastWords({ stdout, stderr }: Pick<Ended, 'stdout' | 'stderr'>): string {
  const text = stderr.trim() === '' ? stdout : stderr;
  return text.trim().split('\n').slice(-LAST_LINES).join(' · ');
}

/** A process under observation. Disposing it kills it, with all that it started, and waits for its end. */
export interface Started extends AsyncDisposable {
  readonly pid: number;
  readonly isRunning: boolean;
  readonly stdin: Writable;
  /** All that it has written so far. */
  readonly stdout: string;
  readonly stderr: string;
  /** Never rejects. */
  readonly ended: Promise<Ended>;
  /**
   * The first line, on either output, past or future, that matches.
   * @throws ProcessFailure with both outputs when the process ends or the time is up without one.
   */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** Only sends the signal; await `ended` for the end. */
  kill(signal: NodeJS.Signals): void;
  /** To the process and to all that it started: a child that lives on would hold its outputs open. */
  killGroup(signal: NodeJS.Signals): void;
}

/** @throws Error when the program cannot be started. */
export async function start(
  command: string,
  args: readonly string[],
  { under = [], ...options }: StartOptions = {},
): Promise<Started> {
  const [program = '', ...rest] = [...under, command, ...args];
  const child = spawn(program, rest, { ...options, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
  await once(child, 'spawn');
  return new ObservedProcess(child);
}

class ObservedProcess implements Started {
  stdout = '';
  stderr = '';
  readonly pid: number;
  readonly stdin: Writable;
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #onChange = new Set<() => void>();
  #hasEnded = false;

  constructor(child: ChildProcessByStdio<Writable, Readable, Readable>) {
    this.#child = child;
    this.pid = child.pid ?? -1;
    this.stdin = child.stdin;
    // It may close its input before it has read all of it: its status counts, not our EPIPE.
    child.stdin.on('error', () => {});
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#changed(() => (this.stdout += text)));
    child.stderr.setEncoding('utf8').on('data', (text: string) => this.#changed(() => (this.stderr += text)));
    this.ended = new Promise((resolve) => {
      child.once('close', (status, signal) => {
        this.#changed(() => (this.#hasEnded = true));
        resolve({ status, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  #changed(apply: () => void): void {
    apply();
    for (const listener of this.#onChange) listener();
  }

  async waitForLine(pattern: RegExp, timeoutMs = TIMEOUT_MS_DEFAULT): Promise<RegExpMatchArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpMatchArray>();
    const fail = (why: string): void =>
      reject(new ProcessFailure(`${why} without a line like ${pattern}\n${this.stdout}\n${this.stderr}`));
    const look = (): void => {
      const match = this.#lines()
        .map((line) => pattern.exec(line))
        .find((found) => found !== null);
      if (match !== undefined) resolve(match);
      else if (this.#hasEnded) fail('ended');
    };
    const timer = setTimeout(() => fail(`waited ${timeoutMs} ms`), timeoutMs);
    this.#onChange.add(look);
    try {
      look();
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#onChange.delete(look);
    }
  }

  /** Whole lines only, until it ends: the rest of one may be still to come. */
  #lines(): string[] {
    return [this.stdout, this.stderr].flatMap((text) => {
      const lines = text.split('\n');
      return this.#hasEnded ? lines : lines.slice(0, -1);
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  killGroup(signal: NodeJS.Signals): void {
    if (this.#hasEnded) return;
    try {
      // `detached` made it the leader of a process group, which outlives it.
      process.kill(-this.pid, signal);
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.killGroup('SIGKILL');
    await this.ended;
  }
}
