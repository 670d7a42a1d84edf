/** The receiver on the far machine: brought, started or found, started again, ended, and removed. */
import { dirname } from 'node:path/posix';
import { TransferError } from '../../common/errors.ts';
import { BLOCK_SIZE_BYTES_MAX } from '../../common/geometry.ts';
import { LISTEN_FREE, LISTEN_USUAL, formatHostPort } from '../../common/host-port.ts';
import { failureIn, memberOf } from '../../common/receiver-log.ts';
import { isRecord } from '../../common/records.ts';
import {
  FarHost,
  LOOK_MS_MAX,
  type FarHostOptions,
  type FarHostParts,
  type FarTarget,
} from '../../common/ssh/far-host.ts';
import {
  busyScript,
  removeScript,
  startScript,
  stateDirOf,
  stopScript,
  valuesOf,
  type FarPlaces,
} from '../../common/ssh/far-scripts.ts';
import { printable } from '../../common/text.ts';
import { parseTicket, type Ticket } from '../../common/trust/ticket.ts';

/** A receiver that no sender reaches within this time ends. */
export const SENDER_WITHIN_SECONDS = 45;
/** Reading the journal of a large disk. */
const START_MS_MAX = 180_000;
const STOP_MS_MAX = 60_000;
/** What ddt-receive takes without `--memory`, and the least that it needs for each of many targets. */
const MEMORY_BYTES_USUAL = 256 * 1024 * 1024;
const MEMORY_BYTES_PER_TARGET = 2 * BLOCK_SIZE_BYTES_MAX;

/** `isKept`: the folders of the transfers stay, too. */
export interface FarReceiverOptions extends FarHostOptions {
  /** At least one. */
  readonly targets: readonly FarTarget[];
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

/** One for each target, in their order. */
export type Tickets = readonly [Ticket, ...Ticket[]];

interface StartOutcome {
  readonly result: string;
  /** One for each target. */
  readonly tickets: readonly string[];
  /** Of one that runs: as the start that began it has given {@link FarReceiver}'s. */
  readonly kind: string | undefined;
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
  /** Of its process, and of its journals. */
  #run: string | undefined;
  #journals: readonly string[] = [];
  /** No sender had claimed any target before this run. */
  #isFresh = true;
  #newTargets: readonly string[] = [];
  /** The receiver that runs was started by this run. */
  #isStarter = false;

  constructor(options: FarReceiverOptions, parts: FarHostParts) {
    this.#options = options;
    this.#host = new FarHost('receive', options, parts, options.targets);
    this.#login = parts.ssh.login;
    this.#listen = options.listen ?? LISTEN_USUAL;
    this.#places = { base: options.base, targets: options.targets.map(({ path }) => path) };
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
  async start(mayOverwrite: (refusal: TransferError) => Promise<boolean>): Promise<Tickets> {
    const { first, always } = this.#options;
    for (let hasStopped = false; ;) {
      const outcome = await this.#try([...always, ...first, ...this.#more]);
      if (outcome.result === 'running' && (first.length > 0 || outcome.kind !== this.#kind)) {
        // It runs with other options.
        await this.#refuseBusy(outcome, hasStopped);
        await this.#host.run(stopScript(this.#run ?? ''), STOP_MS_MAX);
        hasStopped = true;
        continue;
      }
      if (outcome.result !== 'failed') return this.#ticketsOf(outcome);
      const { error, isContent } = this.#refusalOf(outcome);
      if (
        error.code === 'listen-failed' &&
        this.#listen === LISTEN_USUAL &&
        this.#options.listen === undefined
      ) {
        this.#listen = LISTEN_FREE;
      } else if (isContent && this.#more.length === 0 && (await mayOverwrite(error))) {
        this.#more = ['--overwrite-target', ...(first.includes('--discard-transfer') ? ['--yes'] : [])];
      } else throw error;
    }
  }

  /** @param isBack the sender of the one that was stopped has started it again. */
  async #refuseBusy({ tickets: [ticket = ''] }: StartOutcome, isBack: boolean): Promise<void> {
    const said = await this.#host.run(busyScript(parseTicket(ticket).port), LOOK_MS_MAX);
    if (!isBack && !said.includes('busy=yes')) return;
    const message = `another ddt-send is sending to ${this.#places.targets.join(' or ')} at ${this.#login}`;
    throw new TransferError('state-refused', message, {
      hint: 'wait until it has finished, or end it; then run the same command again',
    });
  }

  /** After it was killed, or its machine was started again. Finds it if it still runs. */
  async startAgain(): Promise<{ readonly ticket: Ticket; readonly hasStarted: boolean }> {
    await this.prepare(false);
    const outcome = await this.#try([...this.#options.always, ...this.#more]);
    const hasStarted = outcome.result === 'listening';
    if (outcome.result !== 'failed') {
      const [ticket] = this.#ticketsOf(outcome);
      return { ticket, hasStarted };
    }
    throw this.#refusalOf(outcome).error;
  }

  /** See {@link Far.leave}. Also when the run has been interrupted. @returns what is still there. */
  async leave(outcome: 'untouched' | 'open' | 'recorded' | 'complete'): Promise<string[]> {
    if (!this.#isTouched && !this.#host.isTouched) return [];
    const { digest } = this.#host;
    const program = digest === undefined ? [] : [`${this.#places.base}/bin/${digest}`];
    const run = this.#journals.length > 0 ? this.#journals : [this.#run ?? []].flat();
    const all = [...run, ...program];
    // One that was running may be another sender's.
    const isOthers = outcome === 'untouched' && !this.#isStarter && !this.#isFresh;
    if (outcome === 'open' || isOthers) return all;
    const stop = stopScript(this.#run ?? `${stateDirOf(this.#places.base)}/run-none`);
    const isOurs = outcome === 'complete' ? !this.#options.isKept : outcome === 'untouched' && this.#isFresh;
    const newTargets = outcome === 'untouched' ? this.#newTargets : [];
    const remove = removeScript(this.#places, { journals: this.#journals, digest, newTargets });
    if (isOurs) return valuesOf(await this.#end(stop + remove), 'left');
    await this.#end(stop);
    return all;
  }

  /** @param isAgain its program, or its folder, was removed meanwhile, and is there again. */
  async #try(options: readonly string[], isAgain = false): Promise<StartOutcome> {
    this.#isTouched = true;
    const own = ['--once', '--sender-within', `${SENDER_WITHIN_SECONDS}s`, '--listen', this.#listen];
    const memoryBytes = this.#places.targets.length * MEMORY_BYTES_PER_TARGET;
    if (memoryBytes > MEMORY_BYTES_USUAL) own.push('--memory', String(memoryBytes));
    const script = startScript(this.#places, this.#host.command, [...own, ...options], this.#kind);
    const said = await this.#host.run(script, START_MS_MAX);
    const [result = 'failed'] = valuesOf(said, 'result');
    const [missing] = valuesOf(said, 'missing');
    [this.#run] = valuesOf(said, 'run');
    this.#newTargets = [...new Set([...this.#newTargets, ...valuesOf(said, 'new')])];
    if (missing !== undefined && this.#options.remoteProgram !== undefined) {
      throw this.#notStarted('there is no such program');
    }
    if (missing !== undefined && !isAgain) {
      // The end of another run has removed it in the moment since it was seen.
      await this.prepare(false);
      return await this.#try(options, true);
    }
    if (result === 'listening') this.#isStarter = true;
    if (result !== 'failed') this.#noteStart(valuesOf(said, 'start'));
    // Of one that runs it was so at its start only.
    if (result === 'running') this.#isFresh = false;
    const [kind] = valuesOf(said, 'kind');
    return { result, tickets: valuesOf(said, 'ticket'), kind, log: valuesOf(said, 'log') };
  }

  /** @param lines of its log, one for each target. */
  #noteStart(lines: readonly string[]): void {
    const listen = memberOf(lines[0] ?? '', 'listen');
    const listenHost = isRecord(listen) && typeof listen['host'] === 'string' ? listen['host'] : '';
    const isEvery = listenHost === '' || listenHost === '::' || listenHost === '0.0.0.0';
    this.#place = { ...this.#place, host: isEvery ? '127.0.0.1' : listenHost };
    const state = `${stateDirOf(this.#places.base)}/`;
    this.#journals = lines.flatMap((line) => {
      const journal = memberOf(line, 'journal');
      return typeof journal === 'string' && journal.startsWith(state) ? [dirname(journal)] : [];
    });
    if (lines.some((line) => isRecord(memberOf(line, 'transfer')))) this.#isFresh = false;
  }

  /** Of the options that hold for as long as it runs: one that has others is started again. */
  get #kind(): string {
    const { always, listen } = this.#options;
    const lasting = always.filter((word) => word !== '--overwrite-target');
    return [...lasting, ...(listen === undefined ? [] : ['--listen', listen])].join(' ');
  }

  /** Why it did not start: in its own words, which are not ours. */
  #refusalOf({ log }: StartOutcome): { error: TransferError; isContent: boolean } {
    if (!log.some((line) => memberOf(line, 'level') === 'error')) {
      const said = log.find((line) => line.trim() !== '') ?? 'it says nothing';
      throw this.#notStarted(printable(said).slice(0, 500));
    }
    const { code, message, hint, isContent } = failureIn(log);
    const advice = hint === undefined ? '' : ` (${hint})`;
    // Of what was typed here, --format is that of the source.
    const said = `${message}${advice}`.replaceAll('--format', '--target-format');
    const text = `the receiver at ${this.#login} says: ${said}`;
    return { error: new TransferError(code, text), isContent };
  }

  #notStarted(reason: string): TransferError {
    const { remoteProgram } = this.#options;
    const name = remoteProgram ?? 'the program that was brought, or is installed,';
    const message = `cannot start ${name} at ${this.#login}: ${reason}`;
    const hint = 'name a ddt-receive there with --remote-program, or leave that out to have it brought';
    return new TransferError('machine-unsuitable', message, remoteProgram === undefined ? {} : { hint });
  }

  #ticketsOf({ tickets: [first = '', ...more] }: StartOutcome): Tickets {
    const ticket = parseTicket(first);
    this.#place = { ...this.#place, port: ticket.port };
    return [ticket, ...more.map((text) => parseTicket(text))];
  }

  async #end(script: string): Promise<string[]> {
    return await this.#host.run(script, STOP_MS_MAX, AbortSignal.timeout(STOP_MS_MAX));
  }
}
