/** A machine that ssh reaches: what it is, which rights the login has, and the program that is brought. */
import { TransferError } from '../errors.ts';
import { printable } from '../text.ts';
import { bringProgram } from './bring-program.ts';
import { chooseProgram, unsuitable, type FarProgram, type ProgramOptions, type Role } from './far-program.ts';
import { askScript, askTargetScript, valuesOf } from './far-scripts.ts';
import type { SshClient } from './ssh-client.ts';

/** A person may be asked for a passphrase. */
const ASK_MS_MAX = 600_000;
export const LOOK_MS_MAX = 60_000;

/** A disk there that is to be written. */
export interface FarTarget {
  readonly path: string;
  /** null: not known yet. */
  readonly sourceSizeBytes: number | null;
}

export interface FarHostOptions extends ProgramOptions {
  /** The program stays. */
  readonly isKept: boolean;
}

export interface FarHostParts {
  readonly ssh: SshClient;
  readonly signal: AbortSignal;
  readonly say: (fact: string) => void;
}

export class FarHost {
  readonly #role: Role;
  readonly #options: FarHostOptions;
  readonly #parts: FarHostParts;
  readonly #targets: readonly FarTarget[];
  #isBySudo = false;
  #program: FarProgram | undefined;
  #nearAddress: string | undefined;
  #boot: string | undefined;
  #hasRebooted = false;
  #isTouched = false;

  /** @param role what the program is to do there. @param targets looked at before it is brought. */
  constructor(role: Role, options: FarHostOptions, parts: FarHostParts, targets: readonly FarTarget[] = []) {
    this.#targets = targets;
    this.#role = role;
    this.#options = options;
    this.#parts = parts;
  }

  /** Words of sh that start the program there, its options to follow. */
  get command(): string {
    return this.#program?.command ?? '';
  }

  /** Of the file that was brought; undefined: it was there. */
  get digest(): string | undefined {
    return this.#program?.digest;
  }

  /** What has to be root there has to use sudo. */
  get isBySudo(): boolean {
    return this.#isBySudo;
  }

  /** Where the login comes from, as that machine sees it. */
  get nearAddress(): string | undefined {
    return this.#nearAddress;
  }

  /** The machine was started again since the first look: names of its disks may have changed. */
  get hasRebooted(): boolean {
    return this.#hasRebooted;
  }

  /** Something was brought. */
  get isTouched(): boolean {
    return this.#isTouched;
  }

  /**
   * Looks at the machine and brings the program.
   * @param mayAsk ssh may ask its questions.
   * @throws TransferError `login-refused`, `machine-unsuitable`, `connection-failed`.
   */
  async prepare(mayAsk: boolean): Promise<void> {
    const { ssh, say, signal } = this.#parts;
    const asked = { mayAsk, timeoutMs: mayAsk ? ASK_MS_MAX : LOOK_MS_MAX, signal };
    const { base, isKept } = this.#options;
    const about = this.#targets.map(({ path }, at) => askTargetScript(path, at));
    const said = await ssh.run(askScript(base, this.#role) + about.join(''), asked);
    const values = (name: string): string[] => valuesOf(said, name);
    const [os = '', user = '', root, from] = ['os', 'user', 'root', 'from'].map((name) => values(name)[0]);
    if (root !== 'yes' && root !== 'sudo') {
      throw unsuitable(
        this.#role,
        `${user} is not root at ${ssh.login}, and sudo asks for a password`,
        `log in as root, or let ${user} use sudo without a password`,
      );
    }
    this.#isBySudo = root === 'sudo';
    this.#nearAddress = from === '' ? undefined : from;
    const [boot = ''] = values('boot');
    if (this.#boot !== undefined && boot !== this.#boot) this.#hasRebooted = true;
    this.#boot = boot;
    const installed = values('path').map((text) => {
      const [path = '', ...version] = text.split(' ');
      return { path, version: version.join(' ') };
    });
    const facts = { os, programs: values('program'), installed };
    this.#program = await chooseProgram(this.#role, facts, this.#options);
    const rights = this.#isBySudo ? `${printable(user)} with sudo` : 'root';
    if (mayAsk) say(`login    ${ssh.login}: ${printable(os)}, ${rights}`);
    const { file } = this.#program;
    if (file === undefined) return;
    for (const [at, target] of this.#targets.entries()) {
      this.#refuseTarget((name) => values(`${name}${at}`), target);
    }
    this.#isTouched = true;
    const { isBySudo } = this;
    await bringProgram(file, { role: this.#role, ssh, base, isKept, isBySudo, signal, say });
  }

  /** By root. @param signal in place of that of the run. @returns what the script says. */
  async run(script: string, timeoutMs: number, signal = this.#parts.signal): Promise<string[]> {
    return await this.#parts.ssh.run(script, { isBySudo: this.#isBySudo, timeoutMs, signal });
  }

  /** What the receiver would refuse, before much is brought for nothing. */
  #refuseTarget(values: (name: string) => string[], { path, sourceSizeBytes }: FarTarget): void {
    const target = `${path} at ${this.#parts.ssh.login}`;
    const [nowhere] = values('nowhere');
    if (nowhere !== undefined) {
      throw new TransferError('target-refused', `cannot write to ${target}: ${printable(nowhere)}`);
    }
    const mounted = values('mounted').find((place) => place !== '');
    if (mounted !== undefined) {
      const message = `cannot write to ${target}: it is mounted, or a part of it, on ${printable(mounted)}`;
      throw new TransferError('target-refused', message);
    }
    const [size] = values('size').map(Number);
    if (size === undefined || !(size < (sourceSizeBytes ?? 0))) return;
    const sizes = `it has ${size} bytes, the source has ${sourceSizeBytes}`;
    throw new TransferError('target-too-small', `${target} is too small: ${sizes}`);
  }
}
