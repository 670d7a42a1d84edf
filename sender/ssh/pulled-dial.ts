/**
 * How connections of a sender get to the ddt-receive that has started it: straight to its port, or each over
 * one that comes through ssh from there. Then this side waits for them on its loopback address.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { TransferError, reasonOf } from '../../common/errors.ts';
import { formatHostPort } from '../../common/host-port.ts';
import { LOGINS_MAX } from '../../common/ssh/lane-way.ts';
import type { Ticket } from '../../common/trust/ticket.ts';
import type { Dial } from '../client/connection/connector.ts';
import type { UnackedBytes } from '../client/connection/unacked-bytes.ts';
import { findDirect, transportTo, type DirectPlace, type Secure } from './direct-place.ts';

const LOOPBACK = '127.0.0.1';
/** A login on a slow line, after pauses. */
const WAIT_MS_MAX = 30_000;

export interface PulledDialParts {
  readonly ticket: Ticket;
  /** To try first. */
  readonly places: readonly DirectPlace[];
  readonly connections: number | 'auto';
  readonly unacked: UnackedBytes;
  readonly signal: AbortSignal;
  readonly say: (fact: string) => void;
  /** Asks the other side for connections. */
  readonly announce: (port: number, connections: number) => void;
}

export class PulledDial implements Disposable {
  readonly #parts: PulledDialParts;
  #direct: DirectPlace | undefined;
  #server: Server | undefined;
  readonly #waiting: Socket[] = [];
  readonly #takers: ((socket: Socket) => void)[] = [];

  private constructor(parts: PulledDialParts) {
    this.#parts = parts;
  }

  /** Finds a way, or waits for connections. */
  static async open(parts: PulledDialParts): Promise<PulledDial> {
    const dial = new PulledDial(parts);
    await dial.#choose();
    return dial;
  }

  get ticket(): Ticket {
    return this.#parts.ticket;
  }

  /** undefined: as many as help. */
  get connectionsMax(): number | undefined {
    return this.#direct === undefined ? LOGINS_MAX : undefined;
  }

  readonly dial: Dial = async (secure) => {
    const { ticket } = this.#parts;
    if (this.#direct === undefined) return await this.#overNext(secure);
    try {
      return await secure(transportTo(this.#direct, ticket));
    } catch (error) {
      if (error instanceof TransferError) throw error;
      const at = formatHostPort(this.#direct.host, this.#direct.port ?? ticket.port);
      throw unreachable(`cannot reach the receiver at ${at}: ${reasonOf(error)}`, error);
    }
  };

  [Symbol.dispose](): void {
    this.#server?.close();
    for (const socket of this.#waiting) socket.destroy();
  }

  async #choose(): Promise<void> {
    const { ticket, places, connections, say, announce } = this.#parts;
    this.#direct = await findDirect(places, ticket);
    if (this.#direct !== undefined) {
      const { host, port = ticket.port } = this.#direct;
      say(`line     straight to ${formatHostPort(host, port)}`);
      return;
    }
    this.#server = createServer((socket) => this.#offer(socket)).listen(0, LOOPBACK);
    await once(this.#server, 'listening');
    const { port } = this.#server.address() as AddressInfo;
    announce(port, connections === 'auto' ? LOGINS_MAX : Math.min(connections, LOGINS_MAX));
    say(`line     through ssh: TCP ${ticket.port} of the receiver cannot be reached`);
  }

  #offer(socket: Socket): void {
    socket.on('error', () => {});
    const take = this.#takers.shift();
    if (take !== undefined) {
      take(socket);
      return;
    }
    this.#waiting.push(socket);
    // The receiver never speaks first: it has ended, or is somebody else's.
    socket.once('readable', () => {
      const at = this.#waiting.indexOf(socket);
      if (at < 0) return;
      this.#waiting.splice(at, 1);
      socket.destroy();
    });
  }

  async #overNext(secure: Secure): Promise<Socket> {
    const { unacked } = this.#parts;
    const line = await this.#next();
    try {
      const socket = await secure({ httpSocket: line });
      // It ends at the ssh server of this machine.
      unacked.carry(socket, { unackedBytes: async () => await unacked.of(line) });
      return socket;
    } catch (error) {
      line.destroy();
      // Any user of this machine can connect to the port: it need not be the other side.
      throw unreachable(`cannot reach the receiver through ssh: ${reasonOf(error)}`, error);
    }
  }

  async #next(): Promise<Socket> {
    const { signal } = this.#parts;
    signal.throwIfAborted();
    const waiting = this.#waiting.shift();
    waiting?.removeAllListeners('readable');
    if (waiting !== undefined) return waiting;
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    const fail = (): void => reject(unreachable('no connection comes through ssh', undefined));
    const timer = setTimeout(fail, WAIT_MS_MAX);
    signal.addEventListener('abort', fail);
    this.#takers.push(resolve);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', fail);
      const at = this.#takers.indexOf(resolve);
      if (at >= 0) this.#takers.splice(at, 1);
    }
  }
}

function unreachable(message: string, cause: unknown): TransferError {
  return new TransferError('connection-failed', message, { cause });
}
