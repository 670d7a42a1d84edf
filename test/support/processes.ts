/** Both commands as real processes over real TLS: started, watched, killed and started again. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { parseTicket } from '../../common/trust/ticket.ts';
import { TicketClient, type Answer } from '../../scripts/ticket-client.ts';
import { run, runOk, start, type Ended, type Started } from './run.ts';

export const SCRIPTS = resolve(import.meta.dirname, '../../scripts');
export const KIB = 1024;
export const MIB = 1024 * KIB;

const START_TIMEOUT_MS = 30_000;
const WAIT_TIMEOUT_MS = 30_000;
const POLL_MS = 5;

/**
 * An address of this test's own: nothing else listens there, and as connections leave from 127.0.0.1 none of
 * them can take the port of a receiver that is down for a moment.
 */
export const OWN_HOST = ((pid) => `127.${((pid >> 16) & 63) + 1}.${(pid >> 8) & 255}.${pid & 255}`)(
  process.pid,
);

/** This process's environment without what would change the commands. */
export function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const without = { DDT_TICKET: undefined, NODE_TLS_REJECT_UNAUTHORIZED: undefined };
  return { ...process.env, ...without, NODE_TEST_CONTEXT: undefined, NODE_OPTIONS: undefined, ...more };
}

export interface ReceiverOptions {
  readonly target: string;
  /** For the state and the ticket's file; must exist. */
  readonly folder: string;
  readonly options?: readonly string[];
  /** 0, a free one, unless given; it stays the same from the first start on. */
  readonly port?: number;
  /** Where the command is; default: here. */
  readonly scripts?: string;
}

/** A `ddt-receive` that can be ended and started again with the same command. */
export class Receiver implements AsyncDisposable {
  readonly host = OWN_HOST;
  readonly stateDir: string;
  readonly ticketFile: string;
  readonly #options: ReceiverOptions;
  #port: number;
  #process: Started | undefined;
  #client: TicketClient | undefined;
  #ticket = '';

  /** It is not running yet. */
  constructor(options: ReceiverOptions) {
    this.#options = options;
    this.#port = options.port ?? 0;
    this.stateDir = join(options.folder, 'state');
    this.ticketFile = join(options.folder, 'ticket');
  }

  /** Resolves when the ticket is there. @param more options for this start alone. */
  async start(...more: readonly string[]): Promise<this> {
    const place = ['--listen', `${this.host}:${this.#port}`, '--state-dir', this.stateDir];
    const { options = [], target, scripts = SCRIPTS } = this.#options;
    const all = [...place, '--ticket-file', this.ticketFile, ...options, ...more, target];
    this.#process = await start(join(scripts, 'ddt-receive'), all, { env: environment() });
    await this.#process.waitForLine(/^listening on /, START_TIMEOUT_MS);
    const ticket = (await readFile(this.ticketFile, 'utf8')).trim();
    this.#ticket = ticket;
    this.#port = parseTicket(ticket).port;
    this.#client = new TicketClient(ticket);
    return this;
  }

  get port(): number {
    return this.#port;
  }

  get ticket(): string {
    return this.#ticket;
  }

  get pin(): string {
    return parseTicket(this.#ticket).pin;
  }

  get token(): string {
    return parseTicket(this.#ticket).token;
  }

  get process(): Started {
    assert(this.#process !== undefined, 'the receiver was started');
    return this.#process;
  }

  /** Any HTTP status is an answer. @throws Error of the connection. */
  async request(method: string, path: string, body?: Buffer): Promise<Answer> {
    assert(this.#client !== undefined, 'the receiver was started');
    return await this.#client.request(method, path, body);
  }

  async status(): Promise<TransferStatus> {
    assert(this.#client !== undefined, 'the receiver was started');
    return await this.#client.status();
  }

  /** Blocks that a crash would not take. */
  async durableCount(): Promise<number> {
    const { durable, verified } = (await this.status()).blocks;
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

export async function startReceiver(options: ReceiverOptions): Promise<Receiver> {
  const receiver = new Receiver(options);
  try {
    return await receiver.start();
  } catch (error) {
    await receiver[Symbol.asyncDispose]();
    throw error;
  }
}

/** A `ddt-receive` that is expected to refuse; it is killed if it does not. */
export async function runReceiver(options: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
  return await run(join(SCRIPTS, 'ddt-receive'), options, {
    env: environment(env),
    timeoutMs: START_TIMEOUT_MS,
  });
}

export async function startSender(options: readonly string[], env?: NodeJS.ProcessEnv): Promise<Started> {
  return await start(join(SCRIPTS, 'ddt-send'), options, { env: environment(env) });
}

/** `ddt-send` to its end. */
export async function runSender(options: readonly string[], env?: NodeJS.ProcessEnv): Promise<Ended> {
  return await run(join(SCRIPTS, 'ddt-send'), options, { env: environment(env) });
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
}

/** Runs `ddt-send --progress json`. @returns its last event. @throws AssertionError unless it exits 0. */
export async function sendAll(...options: readonly string[]): Promise<Done> {
  return doneOf(await runSender(['--progress', 'json', ...options]));
}

/** The event at the end of a run with `--progress json`. @throws AssertionError unless it exited 0. */
export function doneOf(ended: Ended): Done {
  assert.deepEqual([ended.status, ended.signal], [0, null], ended.stderr);
  const event = eventsOf(ended.stdout).at(-1);
  assert.equal(event?.['event'], 'done');
  return event as unknown as Done;
}

/** One object a line. @throws AssertionError, SyntaxError when a line is not one. */
export function eventsOf(stdout: string): Record<string, unknown>[] {
  assert.match(stdout, /^(.+\n)*$/, 'whole lines');
  return stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Ticket for the same receiver by way of another address, in a file. */
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

/** Judged by cmp(1) and sha256sum(1), not by our own code. */
export async function assertEqualFiles(one: string, other: string): Promise<void> {
  await runOk('cmp', [one, other]);
  assert.equal(await sha256sum(one), await sha256sum(other));
}

/** Lower-case hex of a file's or device's content. */
export async function sha256sum(path: string): Promise<string> {
  return (await runOk('sha256sum', ['--', path])).slice(0, 64);
}

/** Asks again and again. @throws Error when `timeoutMs` go by. */
export async function until(
  what: string,
  isTrue: () => Promise<boolean> | boolean,
  timeoutMs = WAIT_TIMEOUT_MS,
): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!(await isTrue())) {
    if (performance.now() > endMs) throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
    await delay(POLL_MS);
  }
}

/** @throws Error when it takes longer than `timeoutMs`. */
export async function bounded<Result>(
  what: string,
  promise: Promise<Result>,
  timeoutMs = WAIT_TIMEOUT_MS,
): Promise<Result> {
  const controller = new AbortController();
  const timeout = delay(timeoutMs, undefined, { signal: controller.signal }).then(() => {
    throw new Error(`waited ${timeoutMs} ms in vain for ${what}`);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    controller.abort();
    timeout.catch(() => {});
  }
}
