/** Machines that have sources: one login each, and the program that is brought there once for all jobs. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { reasonOf } from '../common/errors.ts';
import type { Destination } from '../common/ssh/destination.ts';
import { FarHost, type FarHostOptions } from '../common/ssh/far-host.ts';
import { markedScript, removeProgramScript, valuesOf } from '../common/ssh/far-scripts.ts';
import { SshClient, scriptBytes } from '../common/ssh/ssh-client.ts';
import { shellWord } from '../common/text.ts';

const LEAVE_MS_MAX = 60_000;

export interface SourceHostsOptions extends FarHostOptions {
  /** What is run instead of `ssh`, by the shell. */
  readonly sshCommand: string;
  /** The machine may use the keys in the agent of this one, as long as its sender runs. */
  readonly isAgentForwarded: boolean;
}

export interface SourceHostsParts {
  readonly signal: AbortSignal;
  /** A fact, or what ssh says, for people. */
  readonly say: (fact: string) => void;
}

interface Machine {
  readonly ssh: SshClient;
  readonly host: FarHost;
}

/** A process there, and the line after which its output begins. */
export interface StartedThere {
  readonly child: ChildProcess;
  readonly mark: string;
}

export class SourceHosts implements AsyncDisposable {
  readonly #options: SourceHostsOptions;
  readonly #parts: SourceHostsParts;
  readonly #machines = new Map<string, Promise<Machine>>();

  constructor(options: SourceHostsOptions, parts: SourceHostsParts) {
    this.#options = options;
    this.#parts = parts;
  }

  /**
   * @param words of ddt-send.
   * @throws TransferError `login-refused`, `machine-unsuitable`, `connection-failed`.
   */
  async start(destination: Destination, words: readonly string[]): Promise<StartedThere> {
    const { ssh, host } = await this.#open(destination);
    const mark = `ddt-${randomBytes(12).toString('hex')}`;
    const command = [host.command, ...words.map((word) => shellWord(word))].join(' ');
    // A login of its own: a server takes only so many at once over one connection.
    const { program, args } = ssh.laneCommand(true, undefined, host.isBySudo);
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
    child.stdin.on('error', () => {});
    child.stdin.write(scriptBytes(markedScript(command, mark)));
    return { child, mark };
  }

  /** Removes what was brought, and closes the logins. */
  async [Symbol.asyncDispose](): Promise<void> {
    const all = await Promise.allSettled(this.#machines.values());
    const opened = all.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    await Promise.all(opened.map(async (machine) => await this.#leave(machine)));
  }

  /** Once for all jobs; after a failure again. */
  async #open(destination: Destination): Promise<Machine> {
    const name = `${destination.login} ${destination.port ?? ''}`;
    const known = this.#machines.get(name);
    if (known !== undefined) return await known;
    const opening = this.#prepare(destination);
    this.#machines.set(name, opening);
    opening.catch(() => this.#machines.delete(name));
    return await opening;
  }

  async #prepare(destination: Destination): Promise<Machine> {
    const { sshCommand, isAgentForwarded } = this.#options;
    const { signal, say } = this.#parts;
    const parts = { command: sshCommand, destination, onWords: say, isAgentForwarded };
    const ssh = await SshClient.open(parts);
    const host = new FarHost('send', this.#options, { ssh, signal, say });
    try {
      await host.prepare(false);
      return { ssh, host };
    } catch (error) {
      // A part of the program may be there.
      await this.#leave({ ssh, host });
      throw error;
    }
  }

  async #leave({ ssh, host }: Machine): Promise<void> {
    const { base, isKept } = this.#options;
    try {
      if (host.isTouched && host.digest !== undefined && !isKept) {
        const script = removeProgramScript(base, host.digest);
        const said = await host.run(script, LEAVE_MS_MAX, AbortSignal.timeout(LEAVE_MS_MAX));
        const left = valuesOf(said, 'left');
        if (left.length > 0) this.#parts.say(`left     at ${ssh.login}: ${left.join(', ')}`);
      }
    } catch (error) {
      this.#parts.say(`warning: cannot tidy up at ${ssh.login}: ${reasonOf(error)}`);
    } finally {
      await ssh[Symbol.asyncDispose]();
    }
  }
}
