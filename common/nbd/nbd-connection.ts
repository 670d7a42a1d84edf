/** One connection to an NBD server, over which requests and replies cross. */
import { connect, type Socket } from 'node:net';
import { TransferError, reasonOf } from '../errors.ts';
import { Semaphore } from '../semaphore.ts';
import { negotiate, type ExportFacts, type NbdTlsMaterial } from './handshake.ts';
import { BrokenReply, Replies, isWhole, type Awaited, type Extent } from './replies.ts';
import { COMMAND, encodeRequest, type Command } from './nbd-wire.ts';
import type { NbdPlace } from './nbd-uri.ts';

/** For connecting, TLS and the handshake together. */
const OPEN_TIMEOUT_MS = 30_000;
/** Finds a server that has vanished while a request waits; one that takes long is waited for. */
const KEEP_ALIVE_MS = 10_000;
/** As many as nbdkit works on at once. */
const REQUESTS_MAX = 16;

/** The connection ended, or its server broke the protocol: nobody knows what was done of its requests. */
export class ConnectionLost extends Error {
  static {
    this.prototype.name = 'ConnectionLost';
  }
}

export interface ConnectOptions {
  readonly place: NbdPlace;
  readonly exportName: string;
  readonly tls: NbdTlsMaterial | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface RequestOptions {
  readonly command: Command;
  readonly offset?: number;
  readonly lengthBytes?: number;
  /** Sent with it. */
  readonly payload?: Buffer;
  /** Filled by the reply. */
  readonly into?: Buffer;
}

interface Waiting extends Awaited {
  readonly cookie: number;
  readonly settle: PromiseWithResolvers<void>;
  /** The socket reads from the payload until then. */
  isSent: boolean;
  isReplied: boolean;
}

export class NbdConnection {
  readonly facts: ExportFacts;
  /** Settles when the connection has ended, for whatever reason. */
  readonly ended: Promise<ConnectionLost>;
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  readonly #turns = new Semaphore(REQUESTS_MAX);
  readonly #end = Promise.withResolvers<ConnectionLost>();
  #lost: ConnectionLost | undefined;
  #cookie = 0;

  /** @throws TransferError `connection-failed`, Error of the connection. */
  static async open({ place, exportName, tls, signal }: ConnectOptions): Promise<NbdConnection> {
    signal?.throwIfAborted();
    const socket = connect({
      ...place,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => {});
    socket.on('error', failed.reject);
    const timer = setTimeout(() => {
      const seconds = OPEN_TIMEOUT_MS / 1000;
      failed.reject(new TransferError('connection-failed', `no answer of an NBD server for ${seconds} s`));
    }, OPEN_TIMEOUT_MS);
    const abort = (): void => failed.reject(new Error('given up'));
    signal?.addEventListener('abort', abort, { once: true });
    try {
      const {
        socket: own,
        facts,
        rest,
      } = await Promise.race([negotiate(socket, exportName, tls), failed.promise]);
      return new NbdConnection(own, facts, rest);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      socket.off('error', failed.reject).on('error', () => {});
    }
  }

  private constructor(socket: Socket, facts: ExportFacts, rest: Buffer) {
    this.#socket = socket;
    this.facts = facts;
    this.ended = this.#end.promise;
    const replies = new Replies(
      {
        find: (cookie) => {
          const waiting = this.#waiting.get(cookie);
          return waiting?.isReplied === true ? undefined : waiting;
        },
        onDone: (cookie) => this.#onReply(cookie),
      },
      facts,
    );
    const push = (chunk: Buffer): void => {
      try {
        if (this.#lost === undefined) replies.push(chunk);
      } catch (error) {
        if (!(error instanceof BrokenReply)) throw error;
        this.#lose(`the NBD server breaks the protocol: ${error.message}`);
      }
    };
    socket.on('error', (error) => this.#lose(reasonOf(error)));
    socket.on('close', () => this.#lose('the connection was closed'));
    socket.on('end', () => this.#lose('the connection was closed'));
    push(rest);
    socket.on('data', push);
    socket.resume();
  }

  get isLost(): boolean {
    return this.#lost !== undefined;
  }

  get load(): number {
    return this.#turns.takenCount + this.#turns.waitingCount;
  }

  /** @throws ConnectionLost, NbdError. @returns what the server says of a status. */
  async request(options: RequestOptions): Promise<readonly Extent[]> {
    using _turn = await this.#turns.take();
    if (this.#lost !== undefined) throw this.#lost;
    const { command, offset = 0, payload, into } = options;
    const lengthBytes = options.lengthBytes ?? payload?.length ?? into?.length ?? 0;
    this.#cookie = (this.#cookie + 1) % 0xffff_ffff;
    const cookie = this.#cookie;
    const waiting: Waiting = {
      cookie,
      command,
      offset,
      lengthBytes,
      into,
      parts: [],
      chunkCount: 0,
      extents: undefined,
      error: undefined,
      settle: Promise.withResolvers<void>(),
      isSent: false,
      isReplied: false,
    };
    this.#waiting.set(cookie, waiting);
    this.#send(waiting, encodeRequest({ command, cookie, offset, lengthBytes }), payload);
    await waiting.settle.promise;
    if (waiting.error !== undefined) throw waiting.error;
    return waiting.extents ?? [];
  }

  #send(waiting: Waiting, head: Buffer, payload: Buffer | undefined): void {
    const onSent = (): void => {
      waiting.isSent = true;
      this.#settle(waiting);
    };
    this.#socket.cork();
    this.#socket.write(head, payload === undefined ? onSent : undefined);
    if (payload !== undefined) this.#socket.write(payload, onSent);
    this.#socket.uncork();
  }

  #onReply(cookie: number): void {
    const waiting = this.#waiting.get(cookie);
    if (waiting === undefined) return;
    if (waiting.error === undefined) {
      if (waiting.into !== undefined && !isWhole(waiting))
        throw new BrokenReply('data is missing in a reply');
      if (waiting.command === COMMAND.blockStatus && waiting.extents === undefined)
        throw new BrokenReply('a reply without the status that was asked for');
    }
    // The next server may be better off.
    if (waiting.error?.code === 'ESHUTDOWN') return this.#lose('the server is shutting down');
    waiting.isReplied = true;
    this.#settle(waiting);
  }

  #settle({ cookie, isSent, isReplied, settle }: Waiting): void {
    if (!isSent || !isReplied) return;
    this.#waiting.delete(cookie);
    settle.resolve();
  }

  #lose(reason: string): void {
    if (this.#lost !== undefined) return;
    this.#socket.destroy();
    this.#giveUp(new ConnectionLost(reason));
  }

  /** Ends it at once: what waits for a reply fails. */
  cut(reason: string): void {
    this.#lose(reason);
  }

  /** Tells the server, and does not wait for it. */
  close(): void {
    if (this.#lost !== undefined) return;
    const head = encodeRequest({ command: COMMAND.disconnect, cookie: 0, offset: 0, lengthBytes: 0 });
    this.#socket.end(head, () => this.#socket.destroy());
    this.#giveUp(new ConnectionLost('it was closed'));
  }

  #giveUp(lost: ConnectionLost): void {
    this.#lost = lost;
    for (const { settle } of this.#waiting.values()) settle.reject(lost);
    this.#waiting.clear();
    this.#end.resolve(lost);
  }
}
