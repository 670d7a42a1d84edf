/**
 * The system's ssh, with all of its configuration, keys and questions. One login a run is kept as a master
 * connection of our own, over which everything but the lanes goes.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readdir, rm, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { TransferError, errnoOf } from '../errors.ts';
import { printable } from '../text.ts';
import type { Destination } from './destination.ts';

/** A name of a Unix socket has 107 bytes, of which ssh needs 17 for a temporary one. */
const FOLDER_LENGTH_MAX = 60;
/** From the last use of the master to its end, also after a run that was killed. */
const MASTER_SECONDS = 10;
const CONNECT_SECONDS = 20;
const OUTPUT_BYTES_MAX = 1024 * 1024;
const COMPLAINT_BYTES_MAX = 64 * 1024;
/**
 * Takes a script from standard input, and leaves what follows it to the script. Every login shell understands
 * these quotes, and there is no limit on the length.
 */
const READ_SCRIPT_COMMAND = `sh -c 'IFS= read -r n; eval "$(dd bs=1 count=$n 2>/dev/null)"'`;

export interface ScriptOptions {
  /** Standard input of the script. */
  readonly payload?: Readable;
  /** By sudo, for a login that is not root. */
  readonly isBySudo?: boolean;
  /** ssh may ask its questions at the terminal. */
  readonly mayAsk?: boolean;
  /** A connection of its own, for which nothing can be asked, in place of that of the master. */
  readonly isOwn?: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface SshParts {
  /** `ssh`, or what `--ssh` says. */
  readonly command: string;
  readonly destination: Destination;
  /** Gets each line that ssh prints while somebody may have to react to it. */
  readonly onWords: (line: string) => void;
  /** What runs there may log in elsewhere with the keys of this machine's agent. */
  readonly isAgentForwarded?: boolean;
}

export class SshClient implements AsyncDisposable {
  readonly #parts: SshParts;
  readonly #folder: string;
  /** Keeps the master in use: it ends with us. */
  #holder: ChildProcess | undefined;

  private constructor(parts: SshParts, folder: string) {
    this.#parts = parts;
    this.#folder = folder;
  }

  static async open(parts: SshParts): Promise<SshClient> {
    const place = tmpdir().length > FOLDER_LENGTH_MAX ? '/tmp' : tmpdir();
    await removeAbandoned(place);
    return new SshClient(parts, await mkdtemp(join(place, `ddt-ssh-${process.pid}-`)));
  }

  get login(): string {
    return this.#parts.destination.login;
  }

  /**
   * @param isOwn a connection of its own, for which nothing can be asked; otherwise that of the master.
   * @param to `host:port` as the far machine has it; undefined: it runs a script, {@link scriptBytes}.
   */
  laneCommand(isOwn: boolean, to: string | undefined, isBySudo: boolean): Command {
    const way = isOwn
      ? ['-o', 'ControlMaster=no', '-o', 'ControlPath=none']
      : ['-o', 'ControlMaster=no', '-o', `ControlPath=${this.#controlPath}`];
    const words = [...way, '-o', 'BatchMode=yes'];
    return to === undefined
      ? this.#command(words, readScript(isBySudo))
      : this.#command([...words, '-W', to], []);
  }

  /**
   * @param script for sh; what it prints with `say` comes back.
   * @throws TransferError `connection-failed` when ssh fails, `no-progress` when it takes too long.
   */
  async run(script: string, options: ScriptOptions): Promise<string[]> {
    const { payload, isBySudo = false, mayAsk = false, isOwn = false, timeoutMs, signal } = options;
    signal.throwIfAborted();
    const control = isOwn
      ? ['-o', 'ControlMaster=no', '-o', 'ControlPath=none']
      : ['-o', 'ControlMaster=auto', '-o', `ControlPath=${this.#controlPath}`];
    const keep = isOwn ? [] : ['-o', `ControlPersist=${MASTER_SECONDS}`];
    const ask = mayAsk ? [] : ['-o', 'BatchMode=yes'];
    const { program, args } = this.#command([...control, ...keep, ...ask], readScript(isBySudo));
    // ssh asks at the terminal only from the group of processes in its foreground.
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: !mayAsk });
    const stop = (): void => void child.kill();
    signal.addEventListener('abort', stop);
    const timer = setTimeout(stop, timeoutMs);
    try {
      const mark = `ddt-${randomBytes(12).toString('hex')}`;
      const text = scriptBytes(`${PREAMBLE.replaceAll('MARK', mark)}${script}\n`);
      const fed = feed(child, text, payload);
      const { output, complaint, status } = await outcomeOf(child, mayAsk ? this.#parts.onWords : undefined);
      signal.throwIfAborted();
      await fed;
      const lines = this.#linesOf(output, mark);
      if (lines === undefined) throw loginFailure(this.login, this.#byHand, status, complaint || output);
      if (!isOwn) this.#hold();
      return lines;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', stop);
    }
  }

  /**
   * Over the login that is there, for as long as the script runs: it reads what is written to standard input.
   * @param script for sh.
   */
  start(script: string, isBySudo: boolean): ChildProcess {
    const { program, args } = this.laneCommand(false, undefined, isBySudo);
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    child.stdin.on('error', () => {});
    child.stdin.write(scriptBytes(script));
    return child;
  }

  /** The name by which ssh's configuration reaches the machine; undefined behind a jump host. */
  async hostName(): Promise<string | undefined> {
    const { program, args } = this.#command(['-G'], []);
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'], detached: true });
    const { output } = await outcomeOf(child, undefined);
    if (/^proxy(jump|command) (?!none$)/m.test(output)) return undefined;
    return /^hostname (\S+)$/m.exec(output)?.[1];
  }

  /** Whether a login asks no question. It is tried. */
  async canLogInAlone(): Promise<boolean> {
    const way = ['-o', 'ControlMaster=no', '-o', 'ControlPath=none', '-o', 'BatchMode=yes'];
    const { program, args } = this.#command(way, ['true']);
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true });
    const { complaint } = await outcomeOf(child, undefined);
    return !isNotLetIn(complaint);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#holder?.kill();
    const { program, args } = this.#command(['-o', `ControlPath=${this.#controlPath}`, '-O', 'exit'], []);
    const child = spawn(program, args, { stdio: 'ignore', detached: true });
    await new Promise((resolve) => child.once('error', resolve).once('exit', resolve));
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #controlPath(): string {
    return join(this.#folder, 'master');
  }

  get #byHand(): string {
    const { command, destination } = this.#parts;
    const port = destination.port === undefined ? '' : ` -p ${destination.port}`;
    return `${command}${port} ${destination.login}`;
  }

  #command(words: readonly string[], remote: readonly string[]): Command {
    const { command, destination, isAgentForwarded = false } = this.#parts;
    const port = destination.port === undefined ? [] : ['-p', String(destination.port)];
    const fixed = ['-T', isAgentForwarded ? '-A' : '-a', '-x', ...FIXED.flatMap((option) => ['-o', option])];
    const all = [...fixed, ...words, ...port, destination.login, ...remote];
    return { program: '/bin/sh', args: ['-c', `exec ${command} "$@"`, 'ssh', ...all] };
  }

  #linesOf(output: string, mark: string): string[] | undefined {
    const begin = output.indexOf(`${mark} begin\n`);
    if (begin < 0) return undefined;
    const lines = output.slice(begin).split('\n');
    return lines.filter((line) => line.startsWith(`${mark}=`)).map((line) => line.slice(mark.length + 1));
  }

  /** Somebody who has answered a question at the login is not asked again while the line holds. */
  #hold(): void {
    if (this.#holder !== undefined) return;
    const way = ['-o', 'ControlMaster=no', '-o', `ControlPath=${this.#controlPath}`, '-o', 'BatchMode=yes'];
    const { program, args } = this.#command(way, ['cat >/dev/null']);
    const holder = spawn(program, args, { stdio: ['pipe', 'ignore', 'ignore'], detached: true });
    holder.stdin?.on('error', () => {});
    const forget = (): void => {
      if (this.#holder === holder) this.#holder = undefined;
    };
    holder.once('error', forget).once('exit', forget);
    this.#holder = holder;
  }
}

/** What runs that were killed have left: empty, when their master has ended too. */
async function removeAbandoned(place: string): Promise<void> {
  for (const name of await readdir(place).catch(() => [])) {
    const [, processId] = /^ddt-ssh-(\d+)-/.exec(name) ?? [];
    if (processId !== undefined && isGone(Number(processId))) {
      await rmdir(join(place, name)).catch(() => {});
    }
  }
}

function isGone(processId: number): boolean {
  try {
    process.kill(processId, 0);
    return false;
  } catch (error) {
    return errnoOf(error) === 'ESRCH';
  }
}

/** A script as {@link READ_SCRIPT_COMMAND} takes it. */
export function scriptBytes(script: string): Buffer {
  const bytes = Buffer.from(script);
  return Buffer.concat([Buffer.from(`${bytes.length}\n`), bytes]);
}

function readScript(isBySudo: boolean): [string] {
  return [isBySudo ? `sudo -n ${READ_SCRIPT_COMMAND}` : READ_SCRIPT_COMMAND];
}

/** A program and its arguments. */
export interface Command {
  readonly program: string;
  readonly args: readonly string[];
}

/** What of somebody's configuration would be in the way. Data that TLS has encrypted does not shrink. */
const FIXED = [
  'RemoteCommand=none',
  'ClearAllForwardings=yes',
  'PermitLocalCommand=no',
  'Compression=no',
  `ConnectTimeout=${CONNECT_SECONDS}`,
  'ServerAliveInterval=20',
  'ServerAliveCountMax=3',
];

/** Login shells print what they like before it. */
const PREAMBLE = `
LC_ALL=C; export LC_ALL
say() { printf '%s\\n' "MARK=$*"; }
printf '\\n%s\\n' 'MARK begin'
`;

/** The script, and what it reads. That it is closed early shows in the outcome. */
async function feed(child: ChildProcess, script: Buffer, payload: Readable | undefined): Promise<void> {
  const { stdin } = child;
  if (stdin === null) return;
  stdin.on('error', () => {});
  if (payload === undefined) {
    stdin.end(script);
    return;
  }
  stdin.write(script);
  await pipeline(payload, stdin).catch(() => {});
}

interface Outcome {
  readonly output: string;
  readonly complaint: string;
  readonly status: number | undefined;
}

async function outcomeOf(
  child: ChildProcess,
  onWords: ((line: string) => void) | undefined,
): Promise<Outcome> {
  let output = '';
  let complaint = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output = (output + text).slice(-OUTPUT_BYTES_MAX);
  });
  if (child.stderr !== null) {
    // The master may keep it open for longer than this command takes: nobody waits for its end.
    createInterface({ input: child.stderr }).on('line', (line) => {
      complaint = `${complaint}${line}\n`.slice(-COMPLAINT_BYTES_MAX);
      onWords?.(line);
    });
  }
  const ended = new Promise<void>((resolve) => {
    if (child.stdout === null) resolve();
    else child.stdout.once('close', resolve);
  });
  const status = await new Promise<number | undefined>((resolve) => {
    child.once('error', () => resolve(undefined));
    child.once('exit', (code) => resolve(code ?? undefined));
  });
  await ended;
  return { output, complaint, status };
}

/** The status of ssh itself (ssh(1)); any other is that of what was run. */
const SSH_FAILED = 255;
/** Of a shell that cannot run a program. */
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

/** What ssh says when a question would have to be answered, or the answer was no. */
const NOT_LET_IN = /permission denied|host key verification failed|too many authentication failures/i;

export function isNotLetIn(complaint: string): boolean {
  return NOT_LET_IN.test(complaint);
}

/** The last thing that ssh has said, which is why it ended. */
export function lastLineOf(complaint: string): string {
  return printable(complaint.trim().split('\n').at(-1)?.trim() ?? '').slice(0, 300);
}

/** @param byHand the same login, as a person types it. */
function loginFailure(
  login: string,
  byHand: string,
  status: number | undefined,
  complaint: string,
): TransferError {
  const said = lastLineOf(complaint) || `ssh ended with status ${status ?? 'unknown'}`;
  const reason = said.startsWith(`${login}: `) ? said.slice(login.length + 2) : said;
  const message = `cannot log in to ${login}: ${reason}`;
  if (/host key verification failed/i.test(complaint)) {
    const hint = `log in once by hand, and compare the fingerprint of its key: ${byHand}`;
    return new TransferError('login-refused', message, { hint });
  }
  const hint = `try it by hand: ${byHand} true`;
  if (isNotLetIn(complaint)) return new TransferError('login-refused', message, { hint });
  if (status === undefined || status === SSH_FAILED) {
    return new TransferError('connection-failed', message, { hint });
  }
  if (status === NOT_FOUND || status === NOT_EXECUTABLE) {
    const install = 'apt-get install openssh-client, here, or name another program with --ssh';
    return new TransferError('usage', message, { hint: install });
  }
  return new TransferError('machine-unsuitable', `cannot run a shell at ${login}: ${reason}`, { hint });
}
