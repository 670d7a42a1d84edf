/** A `ddt-receive` under another program, strace(1) or faketime(1), or of another copy of the project. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseTicket } from '../../common/trust/ticket.ts';
import { TicketClient } from '../../scripts/ticket-client.ts';
import { OWN_HOST, SCRIPTS, bounded, environment } from './processes.ts';
import { start, type Ended, type Started } from './run.ts';

const START_TIMEOUT_MS = 30_000;

export interface WrappedOptions {
  readonly target: string;
  /** For the state and the ticket's file; must exist. */
  readonly folder: string;
  readonly options?: readonly string[];
  /** The folder of another copy's launchers. */
  readonly scripts?: string;
}

export interface Wrapping {
  /** Program and its arguments, which are followed by the command. */
  readonly under?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly options?: readonly string[];
}

/**
 * Started any number of times, each time in another wrapping; the port stays the same from the first ticket
 * on.
 */
export class WrappedReceiver implements AsyncDisposable {
  readonly stateDir: string;
  readonly ticketFile: string;
  readonly #options: WrappedOptions;
  #port = 0;
  #process: Started | undefined;
  #client: TicketClient | undefined;

  constructor(options: WrappedOptions) {
    this.#options = options;
    this.stateDir = join(options.folder, 'state');
    this.ticketFile = join(options.folder, 'ticket');
  }

  get process(): Started {
    assert(this.#process !== undefined, 'the receiver was started');
    return this.#process;
  }

  get port(): number {
    return this.#port;
  }

  /** For requests by hand. */
  get client(): TicketClient {
    assert(this.#client !== undefined, 'the receiver has printed a ticket');
    return this.#client;
  }

  /** Resolves when it runs; whether it prints a ticket is another matter. */
  async spawn({ under = [], env = {}, options = [] }: Wrapping = {}): Promise<Started> {
    const { scripts = SCRIPTS, target } = this.#options;
    const place = ['--listen', `${OWN_HOST}:${this.#port}`, '--state-dir', this.stateDir];
    const all = [...(this.#options.options ?? []), ...options];
    const line = [
      ...under,
      join(scripts, 'ddt-receive'),
      ...place,
      '--ticket-file',
      this.ticketFile,
      ...all,
      target,
    ];
    const [command = '', ...rest] = line;
    this.#client?.[Symbol.dispose]();
    this.#process = await start(command, rest, { env: environment(env) });
    return this.#process;
  }

  /** Resolves when the ticket is there. */
  async start(wrapping: Wrapping = {}): Promise<this> {
    await this.spawn(wrapping);
    return await this.listening();
  }

  /** @throws Error when it ends without a ticket. */
  async listening(): Promise<this> {
    await this.process.waitForLine(/^listening on /, START_TIMEOUT_MS);
    const ticket = (await readFile(this.ticketFile, 'utf8')).trim();
    this.#port = parseTicket(ticket).port;
    this.#client = new TicketClient(ticket);
    return this;
  }

  /** Blocks that a crash would not take. */
  async durableCount(): Promise<number> {
    const { durable, verified } = (await this.client.status()).blocks;
    return durable + verified;
  }

  /** Sends the signal and waits for the end. */
  async end(signal: NodeJS.Signals): Promise<Ended> {
    this.#client?.[Symbol.dispose]();
    this.process.kill(signal);
    return await bounded('the receiver to end', this.process.ended);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client?.[Symbol.dispose]();
    await this.#process?.[Symbol.asyncDispose]();
  }
}
