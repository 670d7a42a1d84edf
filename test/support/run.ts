/** Real processes: run to their end, or kept under observation while they live. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { errnoOf } from '../../common/errors.ts';

export interface RunOptions {
  /** Written to standard input, which is closed then. */
  readonly input?: string | Uint8Array;
  /** Instead of this process's own. */
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Then it is killed with SIGKILL; default one minute. */
  readonly timeoutMs?: number;
}

/** Either `status` or `signal` is null. */
export interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const TIMEOUT_MS_DEFAULT = 60_000;

/** Runs a program to its end, whatever its status. @throws Error only when it cannot be started (ENOENT). */
export async function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ended> {
  const { input, timeoutMs = TIMEOUT_MS_DEFAULT, ...rest } = options;
  await using started = await start(command, args, rest);
  started.stdin.end(input);
  const timer = setTimeout(() => started.killAll(), timeoutMs);
  try {
    return await started.ended;
  } finally {
    clearTimeout(timer);
  }
}

/** As {@link run}. @returns standard output. @throws Error unless the status is 0. */
export async function runOk(command: string, args: readonly string[], options?: RunOptions): Promise<string> {
  const { status, signal, stdout, stderr } = await run(command, args, options);
  if (status !== 0)
    throw new Error(`${command} ${args.join(' ')}: ${signal ?? `status ${status}`}: ${stderr}`);
  return stdout;
}

/** A process under observation; killed, with all that it started, and awaited when it is disposed. */
export interface Started extends AsyncDisposable {
  readonly pid: number;
  readonly stdin: Writable;
  /** All that it has written until now. */
  readonly stdout: string;
  readonly stderr: string;
  /** Never rejects. */
  readonly ended: Promise<Ended>;
  /**
   * The first line, on either output, earlier or later, that matches.
   * @throws Error with both outputs when the process ends or the time is over without one.
   */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<RegExpMatchArray>;
  /** Sends the signal; who wants to know the end awaits `ended`. */
  kill(signal: NodeJS.Signals): void;
  /** SIGKILL for it and whatever it started: a child that lives on would hold its outputs open. */
  killAll(): void;
}

/** @throws Error when the program cannot be started. */
export async function start(
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<Started> {
  const child = spawn(command, args, { ...options, detached: true, stdio: ['pipe', 'pipe', 'pipe'] });
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
    // It may close its input before it has read all: its status tells, not our EPIPE.
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

  #changed(apply: () => void): void {
    apply();
    for (const listener of this.#onChange) listener();
  }

  async waitForLine(pattern: RegExp, timeoutMs = TIMEOUT_MS_DEFAULT): Promise<RegExpMatchArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpMatchArray>();
    const fail = (why: string): void =>
      reject(new Error(`${why} without a line like ${pattern}\n${this.stdout}\n${this.stderr}`));
    const look = (): void => {
      const match = this.#lines()
        .map((line) => pattern.exec(line))
        .find((found) => found !== null);
      if (match !== undefined) resolve(match);
      else if (this.#hasEnded) fail('ended');
    };
    const timer = setTimeout(() => fail(`${timeoutMs} ms went by`), timeoutMs);
    this.#onChange.add(look);
    try {
      look();
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#onChange.delete(look);
    }
  }

  /** Whole lines only, until it ends: the rest of one may still come. */
  #lines(): string[] {
    return [this.stdout, this.stderr].flatMap((text) => {
      const lines = text.split('\n');
      return this.#hasEnded ? lines : lines.slice(0, -1);
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  killAll(): void {
    if (this.#hasEnded) return;
    try {
      // `detached` made it the leader of a process group, which outlives it.
      process.kill(-this.pid, 'SIGKILL');
    } catch (error) {
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.killAll();
    await this.ended;
  }
}
