/** `--on-done`, `--on-trouble`, `--bell`: how people learn of it who are not looking. No failure matters. */
import { spawn, type ChildProcess } from 'node:child_process';
import { abortable } from './abortable.ts';
import type { Clock } from './clock.ts';
import { TransferError, reasonOf } from './errors.ts';
import { toolPath } from './system-tools.ts';
import { printable, redact } from './text.ts';
import { formatDuration, parseDuration } from './units.ts';

/** Options of the commands, as commander takes them. */
export const ON_DONE = ['--on-done <command>', 'have the shell run this when the copy is complete'] as const;
export const ON_TROUBLE = [
  '--on-trouble <command>',
  'the same when it needs somebody, or has failed',
] as const;
export const TROUBLE_AFTER = [
  '--trouble-after <duration>',
  'how long without data is trouble (default: 5m)',
] as const;
export const BELL = ['--bell', "ring the terminal's bell at both"] as const;

const TROUBLE_AFTER_MS = 300_000;
/** Between two calls for the same trouble. */
const TROUBLE_INTERVAL_MS = 3_600_000;
const TIME_LIMIT_MS = 60_000;
/** From SIGTERM to SIGKILL. */
const KILL_AFTER_SECONDS = 2;
/** How timeout(1) ends when the time is up: with this status, or killed with the command, if that stays. */
const TIME_IS_UP: readonly (number | null)[] = [124, null];
/** A command that has ended may have left something behind that holds its output open. */
const OUTPUT_WAIT_MS = 200;
const OUTPUT_CHARACTERS_MAX = 4096;
/** Far less than a program can take, and enough for any message. */
const VALUE_CHARACTERS_MAX = 1000;

export interface HookOptions {
  readonly onDone: string | undefined;
  readonly onTrouble: string | undefined;
  readonly troubleAfterMs: number;
  readonly isBell: boolean;
}

/** Something that a person should know of. */
export interface Trouble {
  /** Of an error, or one of those in docs/guide/notifications.md. */
  readonly code: string;
  readonly message: string;
  readonly hint?: string | undefined;
  readonly source?: string | undefined;
  readonly target?: string | undefined;
}

/** How it has ended. */
export interface Ending extends Trouble {
  readonly result: 'verified' | 'unproven' | 'sealed' | 'failed';
  /** Exit status; undefined: the process continues. */
  readonly status?: number | undefined;
  /** Path of the receipt. */
  readonly receipt?: string | undefined;
}

type Occasion = Omit<Ending, 'result'> & { readonly result: Ending['result'] | 'trouble' };

export interface HookParts {
  readonly program: 'ddt-send' | 'ddt-receive' | 'ddt-fleet';
  readonly clock: Clock;
  readonly warn: (warning: string) => void;
  /** Writes to the terminal; undefined: there is none. */
  readonly ring: (() => void) | undefined;
  /** Of one call. */
  readonly timeLimitMs?: number;
}

/** Runs the commands one after another, beside the copy. */
export class Hooks {
  readonly #options: HookOptions;
  readonly #parts: HookParts;
  readonly #reportedMs = new Map<string, number>();
  #running = Promise.resolve();

  constructor(options: HookOptions, parts: HookParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /** While the copy continues; the same trouble once an hour. */
  trouble(trouble: Trouble): void {
    const key = JSON.stringify([trouble.code, trouble.target]);
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs - (this.#reportedMs.get(key) ?? -Infinity) < TROUBLE_INTERVAL_MS) return;
    this.#reportedMs.set(key, nowMs);
    this.#tell({ ...trouble, result: 'trouble' });
  }

  ended(ending: Ending): void {
    this.#tell(ending);
  }

  /** The process ends at once: the command runs on, within its time. */
  endedNow(ending: Ending): void {
    this.#ring();
    const { option, command } = this.#commandFor(ending);
    if (command !== undefined) void this.#run(option, command, ending, 'ignore');
  }

  /** Resolves when all commands have ended, or nobody wants to wait for them. */
  async finish(signal?: AbortSignal): Promise<void> {
    await abortable(this.#running, signal).catch(() => {});
  }

  #tell(occasion: Occasion): void {
    this.#ring();
    const { option, command } = this.#commandFor(occasion);
    if (command === undefined) return;
    this.#running = this.#running.then(async () => await this.#run(option, command, occasion));
  }

  #ring(): void {
    if (this.#options.isBell) this.#parts.ring?.();
  }

  #commandFor({ result }: Occasion): { option: string; command: string | undefined } {
    const { onDone, onTrouble } = this.#options;
    return result === 'trouble' || result === 'failed'
      ? { option: '--on-trouble', command: onTrouble }
      : { option: '--on-done', command: onDone };
  }

  /** @param output `ignore`: a pipe that nobody reads any more would end the command when it writes. */
  async #run(
    option: string,
    command: string,
    occasion: Occasion,
    output: 'pipe' | 'ignore' = 'pipe',
  ): Promise<void> {
    const { timeLimitMs = TIME_LIMIT_MS, warn } = this.#parts;
    const env = this.#environment(occasion);
    const reason = await runCommand(command, { env, output, timeLimitMs });
    if (reason !== undefined) warn(`${option}: ${reason}; the copy is not affected`);
  }

  #environment(occasion: Occasion): NodeJS.ProcessEnv {
    const { result, status, code, message, hint, source, target, receipt } = occasion;
    const own = {
      DDT_PROGRAM: this.#parts.program,
      DDT_RESULT: result,
      DDT_STATUS: status,
      DDT_CODE: code,
      DDT_MESSAGE: message,
      DDT_HINT: hint,
      DDT_SOURCE: source,
      DDT_TARGET: target,
      DDT_RECEIPT: receipt,
    };
    const values = Object.entries(own).map(([name, value]) => [name, safe(String(value ?? ''))] as const);
    // The ticket is nothing for a command that may print its environment.
    const { DDT_TICKET: _ticket, ...inherited } = process.env;
    return { ...inherited, PATH: toolPath(process.env['PATH']), ...Object.fromEntries(values) };
  }
}

/**
 * @param raw as commander names them. @param isForOthers trouble is reported to a command elsewhere.
 * @throws TransferError `usage`.
 */
export function readHooks(
  raw: Readonly<Record<string, string | boolean | undefined>>,
  isForOthers = false,
): HookOptions {
  const text = (name: string): string | undefined => {
    const value = raw[name];
    return typeof value === 'string' ? value : undefined;
  };
  const [onDone, onTrouble, after] = [text('onDone'), text('onTrouble'), text('troubleAfter')];
  const isBell = raw['bell'] === true;
  for (const [option, command] of [
    ['--on-done', onDone],
    ['--on-trouble', onTrouble],
  ] as const) {
    if (command?.trim() === '') throw new TransferError('usage', `${option} has no command`);
  }
  if (after !== undefined && onTrouble === undefined && !isBell && !isForOthers)
    throw new TransferError('usage', '--trouble-after is only for --on-trouble and --bell');
  const troubleAfterMs = after === undefined ? TROUBLE_AFTER_MS : parseDuration(after, '--trouble-after');
  return { onDone, onTrouble, troubleAfterMs, isBell };
}

/** One line, whatever the other side or a disk has put into it: many programs take a second one for more. */
function safe(text: string): string {
  // Cut before: a surrogate pair may be cut in two.
  return printable(redact(text).slice(0, VALUE_CHARACTERS_MAX));
}

interface CommandOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly output: 'pipe' | 'ignore';
  readonly timeLimitMs: number;
}

/**
 * In a group of its own without a terminal: Ctrl-C does not reach it, and it cannot ask. timeout(1) ends the
 * whole group, also when this process is gone by then.
 * @returns why it failed.
 */
async function runCommand(command: string, options: CommandOptions): Promise<string | undefined> {
  const { env, timeLimitMs } = options;
  const limits = ['-k', String(KILL_AFTER_SECONDS), String(timeLimitMs / 1000)];
  let output = '';
  let status: number | null;
  try {
    const child = spawn('timeout', [...limits, '/bin/sh', '-c', command], {
      env,
      stdio: ['ignore', options.output, options.output],
      detached: true,
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        output = (output + text).slice(-OUTPUT_CHARACTERS_MAX);
      });
    }
    status = await endOf(child);
  } catch (error) {
    return `cannot run timeout, which is part of coreutils: ${reasonOf(error)}`;
  }
  if (status === 0) return undefined;
  const last = printable(output.trimEnd().split('\n').at(-1) ?? '');
  const what = TIME_IS_UP.includes(status)
    ? `the command did not end within ${formatDuration(timeLimitMs)}, and was stopped`
    : `the command ended with status ${status}`;
  return last === '' ? what : `${what}: ${last}`;
}

/** Of the command, not of what it leaves running. @returns the status. @throws Error if it did not start. */
async function endOf(child: ChildProcess): Promise<number | null> {
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', resolve);
  });
  // The last of its output.
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, OUTPUT_WAIT_MS).unref())]);
  child.stdout?.destroy();
  child.stderr?.destroy();
  return status;
}
