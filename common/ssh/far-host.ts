/** A machine that ssh reaches: what it is, which rights the login has, and the program that is brought. */
import { printable } from '../text.ts';
import { formatSize } from '../units.ts';
import {
  chooseProgram,
  compressedFile,
  unsuitable,
  type FarProgram,
  type ProgramOptions,
  type Role,
} from './far-program.ts';
import { askScript, putScript } from './far-scripts.ts';
import type { SshClient } from './ssh-client.ts';

/** A person may be asked for a passphrase. */
const ASK_MS_MAX = 600_000;
export const LOOK_MS_MAX = 60_000;
/** Even a slow line takes 50 MB in a day. */
const PUT_MS_MAX = 86_400_000;
const PUT_REPORT_MS = 5000;

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
  #isBySudo = false;
  #program: FarProgram | undefined;
  #nearAddress: string | undefined;
  #isTouched = false;

  /** @param role what the program is to do there. */
  constructor(role: Role, options: FarHostOptions, parts: FarHostParts) {
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
    const { base } = this.#options;
    const said = await ssh.run(askScript(base, this.#role), asked);
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
    const installed = values('path').map((text) => {
      const [path = '', ...version] = text.split(' ');
      return { path, version: version.join(' ') };
    });
    const facts = { os, programs: values('program'), installed };
    this.#program = await chooseProgram(this.#role, facts, this.#options);
    const rights = this.#isBySudo ? `${printable(user)} with sudo` : 'root';
    if (mayAsk) say(`login    ${ssh.login}: ${printable(os)}, ${rights}`);
    await this.#bring(this.#program);
  }

  /** By root. @param signal in place of that of the run. @returns what the script says. */
  async run(script: string, timeoutMs: number, signal = this.#parts.signal): Promise<string[]> {
    return await this.#parts.ssh.run(script, { isBySudo: this.#isBySudo, timeoutMs, signal });
  }

  async #bring({ file, digest }: FarProgram): Promise<void> {
    if (file === undefined || digest === undefined) return;
    const { ssh, say, signal } = this.#parts;
    let read = 0;
    const size = formatSize(file.sizeBytes);
    say(`program  bringing dd-transfer ${file.version}, ${size}, compressed, to ${ssh.login}`);
    const report = setInterval(() => {
      say(`program  ${formatSize(read)} of ${size}`);
    }, PUT_REPORT_MS);
    try {
      const payload = compressedFile(file.path, (bytes) => (read = bytes));
      const { base, isKept } = this.#options;
      const options = { payload, isBySudo: this.#isBySudo, timeoutMs: PUT_MS_MAX, signal };
      this.#isTouched = true;
      const said = await ssh.run(putScript(base, digest, isKept), options);
      if (said.includes('put=done')) return;
      const reason = printable(valuesOf(said, 'refused')[0] ?? 'the login ended').trim();
      throw unsuitable(
        this.#role,
        `the program cannot be put into ${base}/bin at ${ssh.login}: ${reason}`,
        'name another folder there with --remote-dir, or a program that is installed with --remote-program',
      );
    } finally {
      clearInterval(report);
    }
  }
}

/** What a script has said with this name. */
export function valuesOf(said: readonly string[], name: string): string[] {
  return said.filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
}
