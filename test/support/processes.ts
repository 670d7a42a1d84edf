/** Both commands as real processes over real TLS: started, watched, killed and restarted. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { parseTicket } from '../../common/trust/ticket.ts';
import { ProcessFailure, run, runOk, start, type Ended, type Started } from './run.ts';
import { TicketClient, type HttpResponse } from './ticket-client.ts';

export const SCRIPTS = resolve(import.meta.dirname, '../../scripts');
/** Where `ddt-send` and `ddt-receive` are; other ones than those of the source tree, to test the one file. */
export const PROGRAMS = process.env['DDT_TEST_PROGRAMS'] ?? SCRIPTS;
export const KIB = 1024;
export const MIB = 1024 * KIB;

/** The ticket file is complete by then. */
const LISTENING = /^listening on /;
const START_TIMEOUT_MS = 30_000;
const WAIT_TIMEOUT_MS = 30_000;
const POLL_MS = 5;

/**
 * A loopback address that only this process uses: nothing else listens there, and since connections leave
 * from 127.0.0.1, none of them can take the port of a receiver while it is down.
 */
export const OWN_HOST = ((pid) => `127.${((pid >> 16) & 63) + 1}.${(pid >> 8) & 255}.${pid & 255}`)(
  process.pid,
);

/** This process's environment without the variables that would change the commands. */
export function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const without = { DDT_TICKET: undefined, NODE_TLS_REJECT_UNAUTHORIZED: undefined };
  return { ...process.env, ...without, NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: undefined, ...more };
}

/** How one start differs from the others: under strace(1) or faketime(1), with further options. */
export interface Wrapping {
  /** What the command line starts with: `strace -o log`, `ip netns exec <name>`. */
  readonly under?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly options?: readonly string[];
}

export interface ReceiverOptions extends Wrapping {
  readonly target: string;
  /** Further targets. */
  readonly more?: readonly string[];
  /** Of the state folder and the ticket file; must exist. */
  readonly folder: string;
  /** Default {@link OWN_HOST}. */
  readonly host?: string;
  /** Default a free one, which is kept when the receiver is restarted. */
  readonly port?: number;
  /** The folder of the launchers; default this project's. */
  readonly scripts?: string;
}

/** A `ddt-receive` that can be stopped and restarted with the same command. */
export class Receiver implements AsyncDisposable {
  readonly host: string;
  readonly stateDir: string;
  readonly ticketFile: string;
  readonly #options: ReceiverOptions;
  #port: number;
  #process: Started | undefined;
  #client: TicketClient | undefined;
  #tickets: readonly string[] = [];

  /** It is not running yet. */
  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.host = options.host ?? OWN_HOST;
    this.#port = options.port ?? 0;
    this.stateDir = join(options.folder, 'state');
    this.ticketFile = join(options.folder, 'ticket');
  }

  /** Resolves when it listens. */
  async start(wrapping: Wrapping = {}): Promise<this> {
    await this.spawn(wrapping);
    return await this.listening();
  }

  /** Resolves when the process runs, whether or not it will ever listen. */
  async spawn(wrapping: Wrapping = {}): Promise<Started> {
    const { target, more = [], scripts = PROGRAMS, ...always } = this.#options;
    const place = ['--listen', `${this.host}:${this.#port}`, '--state-dir', this.stateDir];
    const options = [...(always.options ?? []), ...(wrapping.options ?? [])];
    const all = [...place, '--ticket-file', this.ticketFile, ...options, target, ...more];
    this.#client?.[Symbol.dispose]();
    this.#process = await start(join(scripts, 'ddt-receive'), all, {
      env: environment({ ...always.env, ...wrapping.env }),
      under: [...(wrapping.under ?? []), ...(always.under ?? [])],
    });
    return this.#process;
  }

  /** @throws ProcessFailure when it ends first. */
  async listening(): Promise<this> {
    await this.process.waitForLine(LISTENING, START_TIMEOUT_MS);
    this.#tickets = (await readFile(this.ticketFile, 'utf8')).trim().split('\n');
    this.#port = parseTicket(this.ticket).port;
    this.#client = new TicketClient(this.ticket);
    return this;
  }

  get port(): number {
    return this.#port;
  }

  /** Of the first target. */
  get ticket(): string {
    return this.#tickets[0] ?? '';
  }

  /** Of all targets. */
  get tickets(): readonly string[] {
    return this.#tickets;
  }

  get pin(): string {
    return parseTicket(this.ticket).pin;
  }

  get token(): string {
    return parseTicket(this.ticket).token;
  }

  get process(): Started {
    assert(this.#process !== undefined, 'the receiver has not been started');
    return this.#process;
  }

  get client(): TicketClient {
    assert(this.#client !== undefined, 'the receiver has not listened yet');
    return this.#client;
  }

  /** Resolves whatever the HTTP status. @throws Error of the connection. */
  async request(method: string, path: string, body?: Buffer): Promise<HttpResponse> {
    return await this.client.request(method, path, body);
  }

  async status(): Promise<TransferStatus> {
    return await this.client.status();
  }

  /** Blocks that would survive a crash. */
  async durableCount(): Promise<number> {
    return await this.client.durableCount();
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

export async function startReceiver(options: ReceiverOptions): Promise<Receiver> {
  const receiver = new Receiver(options);
  try {
    return await receiver.start();
  } catch (error) {
    await receiver[Symbol.asyncDispose]();
    throw error;
  }
}

/** A `ddt-receive` that is expected to refuse to start; killed if it does start. */
export async function runReceiver(options: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
  return await run(join(PROGRAMS, 'ddt-receive'), options, {
    env: environment(env),
    timeoutMs: START_TIMEOUT_MS,
  });
}

export async function startSender(options: readonly string[], env?: NodeJS.ProcessEnv): Promise<Started> {
  return await start(join(PROGRAMS, 'ddt-send'), options, { env: environment(env) });
}

/** Runs `ddt-send` to its end. */
export async function runSender(options: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
  return await run(join(PROGRAMS, 'ddt-send'), options, { env: environment(env) });
}

export interface Done {
  readonly event: 'done';
  readonly blocksTotal: number;
  readonly blocksSent: number;
  readonly blocksSkipped: number;
  readonly blocksZero: number;
  readonly blocksResent: number;
  readonly bytesWire: number;
  readonly seconds: number;
  readonly root: string;
  readonly readBack?: string;
}

/** Runs `ddt-send --progress json`. @returns its last event. @throws AssertionError unless it exits 0. */
export async function sendAll(...options: readonly string[]): Promise<Done> {
  return doneOf(await runSender(['--progress', 'json', ...options]));
}

/** The last event of a run with `--progress json`. @throws AssertionError unless it exited 0. */
export function doneOf(ended: Ended): Done {
  assert.deepEqual([ended.status, ended.signal], [0, null], ended.stderr);
  const event = eventsOf(ended.stdout).at(-1);
  assert.equal(event?.['event'], 'done');
  return event as unknown as Done;
}

/** One JSON object per line. @throws AssertionError, SyntaxError. */
export function eventsOf(stdout: string): Record<string, unknown>[] {
  assert.match(stdout, /^(.+\n)*$/, 'whole lines');
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Writes a ticket for the same receiver, reached through the relay. @returns `path`. */
export async function writeTicketVia(
  receiver: Receiver,
  relay: { readonly port: number },
  path: string,
): Promise<string> {
  await writeFile(path, receiver.ticket.replace(/\/\/[^/]+\/#/, `//${OWN_HOST}:${relay.port}/#`), {
    mode: 0o600,
  });
  return path;
}

/** Compares with cmp(1) and sha256sum(1), not with our own code. */
export async function assertEqualFiles(one: string, other: string): Promise<void> {
  await runOk('cmp', [one, other]);
  assert.equal(await sha256sum(one), await sha256sum(other));
}

/** Lower-case hex of a file's or device's content. */
export async function sha256sum(path: string): Promise<string> {
  return (await runOk('sha256sum', ['--', path])).slice(0, 64);
}

/** Polls. @throws ProcessFailure after `timeoutMs`. */
export async function until(
  what: string,
  isTrue: () => Promise<boolean> | boolean,
  timeoutMs = WAIT_TIMEOUT_MS,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw timedOut(what, timeoutMs);
    await delay(POLL_MS);
  }
}

/** @throws ProcessFailure when it takes longer than `timeoutMs`. */
export async function bounded<Result>(
  what: string,
  promise: Promise<Result>,
  timeoutMs = WAIT_TIMEOUT_MS,
): Promise<Result> {
  const controller = new AbortController();
  const timeout = delay(timeoutMs, undefined, { signal: controller.signal }).then(() => {
    throw timedOut(what, timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    controller.abort();
    timeout.catch(() => {});
  }
}

function timedOut(what: string, timeoutMs: number): ProcessFailure {
  return new ProcessFailure(`waited ${timeoutMs} ms for ${what}`);
}
