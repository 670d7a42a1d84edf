/** A machine that ssh reaches, here on loopback with a real sshd, and copies onto it and from it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { appendFile, chmod, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../../common/errors.ts';
import { programTrailer } from '../../common/program/program.ts';
import { startLoopbackSsh, type Elsewhere, type SshLines } from '../../scripts/bench/loopback-ssh.ts';
import { SCRIPTS, environment, until } from './processes.ts';
import { run, runOk, start, type Ended, type Started } from './run.ts';
import { tempDir } from './temp-dir.ts';

const START_MS_MAX = 60_000;
const SEND_MS_MAX = 90_000;
const LEFT_MS_MAX = 20_000;
/** What a run starts, on either side. */
export const OURS = /ddt-(receive|send)|^ssh[: ]/;
/** Nothing listens there: the receiver cannot be reached but through ssh. */
export const NOWHERE = ['--connect', '127.0.0.1:1'];
/** The same for a source on that machine. */
export const PULL_NOWHERE = ['--advertise', '127.0.0.1:1'];

export interface FarMachineOptions extends SshLines {
  readonly elsewhere?: Elsewhere;
  /** What stands between the server and the shell: gets the command as `$SSH_ORIGINAL_COMMAND`. */
  readonly shell?: string;
}

export class FarMachine implements AsyncDisposable {
  readonly folder: string;
  readonly configFile: string;
  readonly #stack: AsyncDisposableStack;

  private constructor(folder: string, configFile: string, stack: AsyncDisposableStack) {
    this.folder = folder;
    this.configFile = configFile;
    this.#stack = stack;
  }

  static async make({ elsewhere, shell, ...lines }: FarMachineOptions = {}): Promise<FarMachine> {
    await using stack = new AsyncDisposableStack();
    const { path } = stack.use(await tempDir());
    // A login that is not root gets into it, too.
    await chmod(path, 0o755);
    const server = [...(lines.server ?? [])];
    if (shell !== undefined) {
      const file = join(path, 'shell');
      await writeFile(file, shell, { mode: 0o755 });
      server.push(`ForceCommand ${file}`);
    }
    const signal = AbortSignal.timeout(START_MS_MAX);
    const config = await startLoopbackSsh(join(path, 'ssh'), signal, stack, elsewhere, { ...lines, server });
    for (const name of ['disks', 'tmp']) await mkdir(join(path, name));
    return new FarMachine(path, config, stack.move());
  }

  /** As {@link make}, with random bytes to copy. */
  static async withSource(bytes: number, options?: FarMachineOptions): Promise<FarMachine> {
    const machine = await FarMachine.make(options);
    const fill = 'head -c "$1" /dev/urandom >"$2"';
    await runOk('sh', ['-c', fill, 'sh', String(bytes), machine.source]);
    return machine;
  }

  get source(): string {
    return join(this.folder, 'disks/source');
  }

  get target(): string {
    return join(this.folder, 'disks/target');
  }

  /** Of programs and state. */
  get base(): string {
    return join(this.folder, 'base');
  }

  /** What `ddt-send` gets to reach it; the receiver runs from this checkout. */
  words(more: readonly string[], target = this.target): string[] {
    return [...this.#place(more), ...more, this.source, `loopback:${target}`];
  }

  #place(more: readonly string[]): string[] {
    const { configFile, base } = this;
    const program = more.some((word) => /^--(remote-)?program$/.test(word))
      ? []
      : ['--remote-program', join(SCRIPTS, 'ddt-receive')];
    const listen = more.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
    return ['--ssh', `ssh -F ${configFile}`, '--remote-dir', base, ...program, ...listen];
  }

  /** Starts `ddt-send` with several sources and as many targets. */
  async startSeveral(
    sources: readonly string[],
    targets: readonly string[],
    ...more: readonly string[]
  ): Promise<Started> {
    const words = [...this.#place(more), ...more, ...sources, `loopback:${targets.join(',')}`];
    const env = this.#environment();
    return this.#stack.use(await start(join(SCRIPTS, 'ddt-send'), words, { env }));
  }

  /** What `ddt-receive` gets to copy the source of that machine; the sender runs from this checkout. */
  pullWords(more: readonly string[], source = this.source, target = this.target): string[] {
    const { configFile, base, folder } = this;
    const program = more.some((word) => /^--(remote-)?program$/.test(word))
      ? []
      : ['--remote-program', join(SCRIPTS, 'ddt-send')];
    const listen = more.includes('--listen') ? [] : ['--listen', '127.0.0.1:0'];
    const place = ['--ssh', `ssh -F ${configFile}`, '--remote-dir', base, ...program, ...listen];
    return [...place, '--state-dir', join(folder, 'state'), ...more, target, `loopback:${source}`];
  }

  /** Runs a `ddt-receive` that pulls to its end. */
  async pull(...more: readonly string[]): Promise<Ended> {
    return await this.pullFrom(this.source, ...more);
  }

  async pullFrom(source: string, ...more: readonly string[]): Promise<Ended> {
    const options = { env: this.#environment(), timeoutMs: SEND_MS_MAX };
    return await run(join(SCRIPTS, 'ddt-receive'), this.pullWords(more, source), options);
  }

  async pullIn(env: NodeJS.ProcessEnv, ...more: readonly string[]): Promise<Ended> {
    const options = { env: this.#environment(env), timeoutMs: SEND_MS_MAX };
    return await run(join(SCRIPTS, 'ddt-receive'), this.pullWords(more), options);
  }

  /** The same onto another target, which may need variables. */
  async pullOnto(target: string, env: NodeJS.ProcessEnv): Promise<Ended> {
    const options = { env: this.#environment(env), timeoutMs: SEND_MS_MAX };
    return await run(join(SCRIPTS, 'ddt-receive'), this.pullWords([], this.source, target), options);
  }

  /** @param under what the command line starts with. */
  async startPull(more: readonly string[], under: readonly string[] = []): Promise<Started> {
    const options = { env: this.#environment(), under };
    return this.#stack.use(await start(join(SCRIPTS, 'ddt-receive'), this.pullWords(more), options));
  }

  /** Runs `ddt-send` to its end. */
  async send(...more: readonly string[]): Promise<Ended> {
    return await this.sendIn({}, ...more);
  }

  async sendIn(env: NodeJS.ProcessEnv, ...more: readonly string[]): Promise<Ended> {
    const options = { env: this.#environment(env), timeoutMs: SEND_MS_MAX };
    return await run(join(SCRIPTS, 'ddt-send'), this.words(more), options);
  }

  async startSend(...more: readonly string[]): Promise<Started> {
    return await this.startWith(this.words(more));
  }

  /** @param words of {@link words}. */
  async startWith(words: readonly string[]): Promise<Started> {
    const env = this.#environment();
    return this.#stack.use(await start(join(SCRIPTS, 'ddt-send'), words, { env }));
  }

  /** `ddt-send` on a terminal of its own. */
  async startOnTerminal(...more: readonly string[]): Promise<Started> {
    return await this.#startOnTerminal('ddt-send', this.words(more));
  }

  /** A `ddt-receive` that pulls, on a terminal of its own. */
  async startPullOnTerminal(...more: readonly string[]): Promise<Started> {
    return await this.#startOnTerminal('ddt-receive', this.pullWords(more));
  }

  async #startOnTerminal(name: string, words: readonly string[]): Promise<Started> {
    const command = [join(SCRIPTS, name), ...words.map((word) => `'${word}'`)].join(' ');
    return await start('script', ['-qec', command, '/dev/null'], { env: this.#environment() });
  }

  /** With a folder for temporary files of its own, which shows in the titles of ssh. */
  #environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return environment({ TMPDIR: join(this.folder, 'tmp'), ...more });
  }

  /** From now on it is reached through that one. */
  async jumpOver(jump: FarMachine): Promise<void> {
    const config = await readFile(this.configFile, 'utf8');
    await writeFile(this.configFile, config.replace('Host loopback\n', 'Host loopback\nProxyJump jump\n'));
    const near = await readFile(jump.configFile, 'utf8');
    await appendFile(this.configFile, near.replace('Host loopback\n', 'Host jump\n'));
  }

  /** Of its sshd. */
  async logins(): Promise<number> {
    return [...(await this.log()).matchAll(/^Accepted /gm)].length;
  }

  async log(): Promise<string> {
    return await readFile(join(this.folder, 'ssh/sshd-log'), 'utf8');
  }

  /** All processes that name this machine's folder on their command lines. */
  async processes(name: RegExp): Promise<{ id: number; title: string }[]> {
    const found: { id: number; title: string }[] = [];
    for (const id of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
      const text = await readFile(`/proc/${id}/cmdline`, 'utf8').catch(() => '');
      const title = text.replaceAll('\0', ' ').trim();
      if (title.includes(this.folder) && name.test(title)) found.push({ id: Number(id), title });
    }
    return found;
  }

  async receivers(): Promise<number[]> {
    return (await this.processes(/^ddt-receive: /)).map(({ id }) => id);
  }

  /** Waits for a receiver to run. */
  async receiver(): Promise<number> {
    let ids: number[] = [];
    await until('a receiver', async () => (ids = await this.receivers()).length > 0);
    return ids[0] ?? 0;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { id } of await this.processes(/^ddt-(receive|send)|^ssh: |^ssh /)) {
      try {
        process.kill(id, 'SIGKILL');
      } catch {
        // It has ended meanwhile.
      }
    }
    await this.#stack.disposeAsync();
  }
}

/** What shows that a run left nothing behind. The login of one that was killed ends some seconds later. */
export async function assertNothingLeft(machine: FarMachine): Promise<void> {
  const isQuiet = async (): Promise<boolean> => (await machine.processes(OURS)).length === 0;
  await until('the end of all processes', isQuiet, LEFT_MS_MAX).catch(() => {});
  assert.deepEqual(await machine.processes(OURS), []);
  assert(!existsSync(machine.base), 'the base folder is gone');
}

/**
 * What stands for the one file: it is called in the same way, and runs the code of this checkout.
 * @param paddingBytes which the shell never reads.
 */
export async function writeProgram(machine: FarMachine, body = '', paddingBytes = 0): Promise<string> {
  const path = join(machine.folder, 'ddt-linux');
  const choose = 'case $1 in send) name=ddt-send; shift ;; receive) name=ddt-receive; shift ;; esac';
  const script = `#!/bin/sh\n${body}\nname=ddt-receive\n${choose}\nexec '${SCRIPTS}'/$name "$@"\n`;
  const architecture = process.arch === 'arm64' ? 'arm64' : 'x64';
  await writeFile(
    path,
    Buffer.concat([Buffer.from(script), randomBytes(paddingBytes), programTrailer(architecture)]),
    { mode: 0o755 },
  );
  return path;
}

/** At least one; some end by themselves when another one does. */
export function killAll(ids: readonly number[]): void {
  assert(ids.length > 0, 'there is something to kill');
  for (const id of ids) {
    try {
      process.kill(id, 'SIGKILL');
    } catch (error) {
      // It was about to end.
      if (errnoOf(error) !== 'ESRCH') throw error;
    }
  }
}
