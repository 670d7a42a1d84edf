/** The receiver on the far machine: brought, started or found, started again, ended, and removed. */
import { createHash } from 'node:crypto';
import { TransferError } from '../../common/errors.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { failureIn, memberOf } from '../../common/receiver-log.ts';
import { isRecord } from '../../common/records.ts';
import {
  FarHost,
  LOOK_MS_MAX,
  valuesOf,
  type FarHostOptions,
  type FarHostParts,
} from '../../common/ssh/far-host.ts';
import {
  busyScript,
  folderOf,
  removeScript,
  startScript,
  stopScript,
  type FarPlaces,
} from '../../common/ssh/far-scripts.ts';
import { parseTicket, type Ticket } from '../../common/trust/ticket.ts';

/** A receiver that no sender reaches within this time ends. */
export const SENDER_WITHIN_SECONDS = 45;
/** Reading the journal of a large disk. */
const START_MS_MAX = 180_000;
const STOP_MS_MAX = 60_000;
/** The usual port, which firewalls are opened for; any other where it is taken. */
const LISTEN_USUAL = ':8443';
const LISTEN_FREE = ':0';

/** `isKept`: the transfer's folder stays, too. */
export interface FarReceiverOptions extends FarHostOptions {
  readonly path: string;
  /** Of ddt-receive, for every start. */
  readonly always: readonly string[];
  /** The same, for the first start of a run: what they ask for must not happen twice. */
  readonly first: readonly string[];
  /** undefined: {@link LISTEN_USUAL}. */
  readonly listen: string | undefined;
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
  readonly #host: FarHost;
  readonly #login: string;
  readonly #places: FarPlaces;
  #listen: string;
  #more: readonly string[] = [];
  #place: FarPlace = { host: '127.0.0.1', port: 0 };
  #isTouched = false;
  /** Nothing was known of this transfer there before this run. */
  #isFresh = false;
  /** The receiver that runs was started by this run. */
  #isStarter = false;

  constructor(options: FarReceiverOptions, parts: FarHostParts) {
    this.#options = options;
    this.#host = new FarHost('receive', options, parts);
    this.#login = parts.ssh.login;
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
    return `${this.#host.command} --relay ${formatHostPort(host, port)}`;
  }

  /** What has to be root there has to use sudo. */
  get isBySudo(): boolean {
    return this.#host.isBySudo;
  }

  /** As {@link FarHost.prepare}. */
  async prepare(mayAsk: boolean): Promise<void> {
    await this.#host.prepare(mayAsk);
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
        await this.#host.run(stopScript(this.#places), STOP_MS_MAX);
        hasStopped = true;
        continue;
      }
      if (outcome.result !== 'failed') return this.#ticketOf(outcome);
      const { error, isContent } = refusalOf(outcome.log, this.#login);
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
    const said = await this.#host.run(busyScript(parseTicket(ticket).port), LOOK_MS_MAX);
    if (!isBack && !said.includes('busy=yes')) return;
    const message = `another ddt-send is sending to ${this.#options.path} at ${this.#login}`;
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
    throw refusalOf(outcome.log, this.#login).error;
  }

  /** See {@link Far.leave}. Also when the run has been interrupted. @returns what is still there. */
  async leave(outcome: 'untouched' | 'open' | 'recorded' | 'complete'): Promise<string[]> {
    if (!this.#isTouched && !this.#host.isTouched) return [];
    const { digest } = this.#host;
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

  async #try(options: readonly string[]): Promise<StartOutcome> {
    this.#isTouched = true;
    const own = ['--once', '--sender-within', `${SENDER_WITHIN_SECONDS}s`, '--listen', this.#listen];
    const script = startScript(this.#places, this.#host.command, [
      ...own,
      ...options,
      '--',
      this.#options.path,
    ]);
    const said = await this.#host.run(script, START_MS_MAX);
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

  async #end(script: string): Promise<string[]> {
    return await this.#host.run(script, STOP_MS_MAX, AbortSignal.timeout(STOP_MS_MAX));
  }
}

/** Why a receiver did not start: in its own words, which are not ours. */
function refusalOf(log: readonly string[], login: string): { error: TransferError; isContent: boolean } {
  const { code, message, hint, isContent } = failureIn(log);
  const advice = hint === undefined ? '' : ` (${hint})`;
  return { error: new TransferError(code, `the receiver at ${login} says: ${message}${advice}`), isContent };
}
