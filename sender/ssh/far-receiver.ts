/** The receiver on the far machine: brought, started or found, started again, ended, and removed. */
import { createHash } from 'node:crypto';
import { TransferError, isErrorCode, type ErrorCode } from '../../common/errors.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { isRecord } from '../../common/records.ts';
import { printable } from '../../common/text.ts';
import { parseTicket, type Ticket } from '../../common/trust/ticket.ts';
import { formatSize } from '../../common/units.ts';
import {
  chooseProgram,
  compressedFile,
  unsuitable,
  type FarProgram,
  type ProgramOptions,
} from '../../common/ssh/far-program.ts';
import {
  askScript,
  busyScript,
  folderOf,
  putScript,
  removeScript,
  startScript,
  stopScript,
  type FarPlaces,
} from '../../common/ssh/far-scripts.ts';
import type { SshClient } from '../../common/ssh/ssh-client.ts';

/** A receiver that no sender reaches within this time ends. */
export const SENDER_WITHIN_SECONDS = 45;
/** A person may be asked for a passphrase. */
const ASK_MS_MAX = 600_000;
const LOOK_MS_MAX = 60_000;
/** Reading the journal of a large disk. */
const START_MS_MAX = 180_000;
const STOP_MS_MAX = 60_000;
/** Even a slow line takes 50 MB in a day. */
const PUT_MS_MAX = 86_400_000;
const PUT_REPORT_MS = 5000;
/** The usual port, which firewalls are opened for; any other where it is taken. */
const LISTEN_USUAL = ':8443';
const LISTEN_FREE = ':0';

export interface FarReceiverOptions extends ProgramOptions {
  readonly path: string;
  /** The program and the transfer's folder stay. */
  readonly isKept: boolean;
  /** Of ddt-receive, for every start. */
  readonly always: readonly string[];
  /** The same, for the first start of a run: what they ask for must not happen twice. */
  readonly first: readonly string[];
  /** undefined: {@link LISTEN_USUAL}. */
  readonly listen: string | undefined;
}

export interface FarReceiverParts {
  readonly ssh: SshClient;
  readonly signal: AbortSignal;
  readonly say: (fact: string) => void;
}

/** Where the receiver listens, on its own machine. */
export interface FarPlace {
  readonly host: string;
  readonly port: number;
}

interface StartOutcome {
  readonly result: string;
  readonly ticket: string | undefined;
  readonly log: readonly string[];
}

export class FarReceiver {
  readonly #options: FarReceiverOptions;
  readonly #parts: FarReceiverParts;
  readonly #places: FarPlaces;
  #isBySudo = false;
  #program: FarProgram | undefined;
  #listen: string;
  #more: readonly string[] = [];
  #place: FarPlace = { host: '127.0.0.1', port: 0 };
  #isTouched = false;
  /** Nothing was known of this transfer there before this run. */
  #isFresh = false;
  /** The receiver that runs was started by this run. */
  #isStarter = false;

  constructor(options: FarReceiverOptions, parts: FarReceiverParts) {
    this.#options = options;
    this.#parts = parts;
    this.#listen = options.listen ?? LISTEN_USUAL;
    const transfer = createHash('sha256').update(options.path).digest('hex').slice(0, 16);
    this.#places = { base: options.base, transfer };
  }

  /** For a connection from its own machine. */
  get place(): FarPlace {
    return this.#place;
  }

  /** Words of sh that join standard input and output to {@link place}. */
  get relayCommand(): string {
    const { host, port } = this.#place;
    return `${this.#program?.command ?? ''} --relay ${formatHostPort(host, port)}`;
  }

  /** What has to be root there has to use sudo. */
  get isBySudo(): boolean {
    return this.#isBySudo;
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
    const said = await ssh.run(askScript(base), asked);
    const values = (name: string): string[] => valuesOf(said, name);
    const [os = '', user = '', root] = ['os', 'user', 'root'].map((name) => values(name)[0]);
    if (root !== 'yes' && root !== 'sudo') {
      throw unsuitable(
        `${user} is not root at ${ssh.login}, and sudo asks for a password`,
        `log in as root, or let ${user} use sudo without a password`,
      );
    }
    this.#isBySudo = root === 'sudo';
    const installed = values('path').map((text) => {
      const [path = '', ...version] = text.split(' ');
      return { path, version: version.join(' ') };
    });
    const facts = { os, programs: values('program'), installed };
    this.#program = await chooseProgram(facts, this.#options);
    const rights = this.#isBySudo ? `${printable(user)} with sudo` : 'root';
    if (mayAsk) say(`login    ${ssh.login}: ${printable(os)}, ${rights}`);
    await this.#bring(this.#program);
  }

  /**
   * @param mayOverwrite asked when the target is not empty, with what the receiver says of it.
   * @throws TransferError of the receiver when it refuses.
   */
  async start(mayOverwrite: (refusal: TransferError) => Promise<boolean>): Promise<Ticket> {
    const { first, always } = this.#options;
    for (let hasStopped = false; ;) {
      const outcome = await this.#try([...always, ...first, ...this.#more]);
      if (outcome.result === 'running' && first.length > 0) {
        // It runs without these options.
        await this.#refuseBusy(outcome, hasStopped);
        await this.#run(stopScript(this.#places), STOP_MS_MAX);
        hasStopped = true;
        continue;
      }
      if (outcome.result !== 'failed') return this.#ticketOf(outcome);
      const { error, isContent } = refusalOf(outcome.log, this.#parts.ssh.login);
      if (
        error.code === 'listen-failed' &&
        this.#listen === LISTEN_USUAL &&
        this.#options.listen === undefined
      ) {
        this.#listen = LISTEN_FREE;
      } else if (isContent && this.#more.length === 0 && (await mayOverwrite(error))) {
        this.#more = ['--overwrite-target'];
      } else throw error;
    }
  }

  /** @param isBack the sender of the one that was stopped has started it again. */
  async #refuseBusy({ ticket = '' }: StartOutcome, isBack: boolean): Promise<void> {
    const said = await this.#run(busyScript(parseTicket(ticket).port), LOOK_MS_MAX);
    if (!isBack && !said.includes('busy=yes')) return;
    const { login } = this.#parts.ssh;
    const message = `another ddt-send is sending to ${this.#options.path} at ${login}`;
    throw new TransferError('state-refused', message, {
      hint: 'wait until it has finished, or end it; then run the same command again',
    });
  }

  /** After it was killed, or its machine was started again. Finds it if it still runs. */
  async startAgain(): Promise<{ readonly ticket: Ticket; readonly hasStarted: boolean }> {
    await this.prepare(false);
    const outcome = await this.#try([...this.#options.always, ...this.#more]);
    const hasStarted = outcome.result === 'listening';
    if (outcome.result !== 'failed') return { ticket: this.#ticketOf(outcome), hasStarted };
    throw refusalOf(outcome.log, this.#parts.ssh.login).error;
  }

  /** See {@link Far.leave}. Also when the run has been interrupted. @returns what is still there. */
  async leave(outcome: 'untouched' | 'open' | 'recorded' | 'complete'): Promise<string[]> {
    if (!this.#isTouched) return [];
    const { digest } = this.#program ?? {};
    const program = digest === undefined ? [] : [`${this.#places.base}/bin/${digest}`];
    const all = [folderOf(this.#places), ...program];
    // One that was running may be another sender's.
    const isOthers = outcome === 'untouched' && !this.#isStarter && !this.#isFresh;
    if (outcome === 'open' || isOthers) return all;
    const stop = stopScript(this.#places);
    const isOurs = outcome === 'complete' ? !this.#options.isKept : outcome === 'untouched' && this.#isFresh;
    if (isOurs) return valuesOf(await this.#end(stop + removeScript(this.#places, digest)), 'left');
    await this.#end(stop);
    return all;
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
        `the program cannot be put into ${base}/bin at ${ssh.login}: ${reason}`,
        'name another folder there with --remote-dir, or a program that is installed with --remote-program',
      );
    } finally {
      clearInterval(report);
    }
  }

  async #try(options: readonly string[]): Promise<StartOutcome> {
    this.#isTouched = true;
    const command = this.#program?.command ?? '';
    const own = ['--once', '--sender-within', `${SENDER_WITHIN_SECONDS}s`, '--listen', this.#listen];
    const script = startScript(this.#places, command, [...own, ...options, '--', this.#options.path]);
    const said = await this.#run(script, START_MS_MAX);
    const [result = 'failed'] = valuesOf(said, 'result');
    if (said.includes('state=new')) this.#isFresh = true;
    if (result === 'listening') this.#isStarter = true;
    return { result, ticket: valuesOf(said, 'ticket')[0], log: valuesOf(said, 'log') };
  }

  #ticketOf({ ticket: text = '', log }: StartOutcome): Ticket {
    const ticket = parseTicket(text);
    const listen = log.map((line) => memberOf(line, 'listen')).find((found) => found !== undefined);
    const host = isRecord(listen) && typeof listen['host'] === 'string' ? listen['host'] : '';
    // Of one that was running already, only the port is known.
    const isEvery = host === '' || host === '::' || host === '0.0.0.0';
    this.#place = { host: isEvery ? '127.0.0.1' : host, port: ticket.port };
    return ticket;
  }

  async #run(script: string, timeoutMs: number): Promise<string[]> {
    const { ssh, signal } = this.#parts;
    return await ssh.run(script, { isBySudo: this.#isBySudo, timeoutMs, signal });
  }

  async #end(script: string): Promise<string[]> {
    const options = { isBySudo: this.#isBySudo, timeoutMs: STOP_MS_MAX };
    return await this.#parts.ssh.run(script, { ...options, signal: AbortSignal.timeout(STOP_MS_MAX) });
  }
}

function valuesOf(said: readonly string[], name: string): string[] {
  return said.filter((line) => line.startsWith(`${name}=`)).map((line) => line.slice(name.length + 1));
}

function memberOf(line: string, name: string): unknown {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value[name] : undefined;
  } catch {
    return undefined;
  }
}

/** Why a receiver did not start: in its own words, which are not ours. */
function refusalOf(log: readonly string[], login: string): { error: TransferError; isContent: boolean } {
  const failed = log.find((line) => memberOf(line, 'level') === 'error') ?? '';
  const [message, hint, code] = ['message', 'hint', 'code'].map((name) => memberOf(failed, name));
  const last = log.filter((line) => line.trim() !== '').at(-1) ?? 'nothing';
  const text = printable(typeof message === 'string' ? message : last).slice(0, 500);
  const advice = typeof hint === 'string' ? ` (${printable(hint).slice(0, 500)})` : '';
  const known: ErrorCode = isErrorCode(code) ? code : 'machine-unsuitable';
  return {
    error: new TransferError(known, `the receiver at ${login} says: ${text}${advice}`),
    isContent: memberOf(failed, 'isContent') === true,
  };
}
