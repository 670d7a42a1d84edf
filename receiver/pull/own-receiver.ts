/**
 * The receiver of a run that pulls: a process of its own, for it gives up the rights of root, and ssh needs
 * them. It ends with this one.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { isSea } from 'node:sea';
import { createInterface } from 'node:readline';
import { TransferError } from '../../common/errors.ts';
import type { Trouble } from '../../common/hooks.ts';
import { LISTEN_FREE, LISTEN_USUAL } from '../../common/host-port.ts';
import { failureIn, memberOf } from '../../common/receiver-log.ts';
import { isRecord } from '../../common/records.ts';
import { parseTicket, type Ticket } from '../../common/trust/ticket.ts';

const TICKET = /^ticket: /;
const LOG_LINES_MAX = 20;
/** Flushing a slow disk may take longer; what is journalled is safe. */
const STOP_MS_MAX = 30_000;

export interface OwnReceiverOptions {
  readonly target: string;
  /** Options of ddt-receive, for every start. */
  readonly always: readonly string[];
  /** The same for the first start of a run: what they ask for must not happen twice. */
  readonly first: readonly string[];
  /** undefined: {@link LISTEN_USUAL}. */
  readonly listen: string | undefined;
}

export interface OwnReceiverParts {
  /** A warning or an error in its log. */
  readonly onWarning: (message: string) => void;
  /** The same, where people should know of it. */
  readonly onTrouble: (trouble: Trouble) => void;
  /** Whether what the target holds may be overwritten. */
  readonly mayOverwrite: (refusal: TransferError) => Promise<boolean>;
}

/** Where it listens, for a connection from this machine. */
interface Place {
  readonly host: string;
  readonly port: number;
}

export class OwnReceiver {
  readonly ticket: Ticket;
  /** As given to those who may write. */
  readonly ticketText: string;
  readonly place: Place;
  /** Its exit status; undefined: it was killed. Never rejects. */
  readonly ended: Promise<number | undefined>;
  readonly #child: ChildProcess;

  private constructor(process: Starting, ticketText: string, place: Place) {
    this.#child = process.child;
    this.ended = process.ended;
    this.ticketText = ticketText;
    this.ticket = parseTicket(ticketText);
    this.place = place;
  }

  /** @throws TransferError of the receiver when it refuses. */
  static async start(
    { target, always, first, listen }: OwnReceiverOptions,
    isFirst: boolean,
    { mayOverwrite, ...parts }: OwnReceiverParts,
  ): Promise<OwnReceiver> {
    const words = [...always, ...(isFirst ? first : []), '--', target];
    let more: readonly string[] = [];
    let at = listen ?? LISTEN_USUAL;
    for (;;) {
      const process = new Starting(['--listen', at, ...more, ...words], parts);
      const started = await process.started;
      if (started !== undefined) return new OwnReceiver(process, ...started);
      const { code, message, hint, isContent } = failureIn(process.log);
      const refusal = new TransferError(code, message, hint === undefined ? {} : { hint });
      if (code === 'listen-failed' && listen === undefined && at === LISTEN_USUAL) at = LISTEN_FREE;
      else if (isContent && more.length === 0 && (await mayOverwrite(refusal))) {
        more = ['--overwrite-target', ...(words.includes('--discard-transfer') ? ['--yes'] : [])];
      } else throw refusal;
    }
  }

  /** What is sealed stays so, and ends with 0. @returns as {@link ended}. */
  async stop(): Promise<number | undefined> {
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS_MAX);
    const status = await this.ended;
    clearTimeout(timer);
    return status;
  }
}

/** A process that may refuse. */
class Starting {
  readonly child: ChildProcess;
  readonly log: string[] = [];
  readonly ended: Promise<number | undefined>;
  /** undefined: it has ended instead. */
  readonly started: Promise<[string, Place] | undefined>;

  constructor(words: readonly string[], parts: Omit<OwnReceiverParts, 'mayOverwrite'>) {
    const [program = '', ...before] = ownCommand();
    const all = [...before, '--log', 'json', '--once', ...words];
    // In a group of its own no key reaches it; by the channel it notices the end of this process.
    const child = spawn(program, all, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true });
    this.child = child;
    this.ended = new Promise((resolve) => {
      child.once('error', () => resolve(undefined));
      child.once('close', (status) => resolve(status ?? undefined));
    });
    const ticket = Promise.withResolvers<string>();
    const place = Promise.withResolvers<Place>();
    const [out, err] = [child.stdout, child.stderr];
    if (out === null || err === null) throw new Error('its outputs are pipes');
    createInterface({ input: out }).on('line', (line) => {
      if (TICKET.test(line)) ticket.resolve(line.replace(TICKET, ''));
    });
    let isStarted = false;
    createInterface({ input: err }).on('line', (line) => {
      const listen = memberOf(line, 'listen');
      if (isRecord(listen)) place.resolve(placeOf(listen));
      this.log.push(line);
      if (this.log.length > LOG_LINES_MAX) this.log.shift();
      // The error that ends a start is thrown.
      if (isStarted || memberOf(line, 'level') === 'warning') report(line, parts);
    });
    this.started = Promise.race([
      Promise.all([ticket.promise, place.promise]),
      this.ended.then(() => undefined),
    ]);
    void this.started.then(() => (isStarted = true));
  }
}

function ownCommand(): string[] {
  return isSea()
    ? [process.execPath, 'receive']
    : [process.execPath, ...process.execArgv, process.argv[1] ?? ''];
}

function placeOf({ host, port }: Readonly<Record<string, unknown>>): Place {
  const isEvery = host === '::' || host === '0.0.0.0';
  return { host: isEvery ? '127.0.0.1' : String(host), port: Number(port) };
}

function report(line: string, { onWarning, onTrouble }: Omit<OwnReceiverParts, 'mayOverwrite'>): void {
  const [level, message, code] = ['level', 'message', 'code'].map((name) => memberOf(line, name));
  if (level === 'info') return;
  const isMessage = typeof level === 'string' && typeof message === 'string';
  onWarning(isMessage ? `${level}: ${message}` : line);
  // The error that ends it ends the run.
  if (isMessage && level === 'warning' && typeof code === 'string') onTrouble({ code, message });
}
