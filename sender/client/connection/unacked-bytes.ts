/**
 * What the kernel has not got rid of yet, of all connections at once: bytes that were written to a socket and
 * that the peer has not acknowledged.
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';

/** proc_net_tcp(5): local and remote address:port in hex, state, tx_queue:rx_queue. */
const TCP_LINE = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/gm;

type Table = ReadonlyMap<string, number>;

/**
 * One look at the table of connections serves all who ask while it is taken: it has a line for each
 * connection of the machine, and there are up to 64 lanes.
 */
export class UnackedBytes {
  readonly #looks = new Map<string, Promise<Table>>();

  /**
   * A block of megabytes fits into the kernel's buffers, so that nothing else moves for minutes on a slow
   * line.
   * @returns bytes, or undefined where the connection is not found.
   */
  async unacknowledgedBytes({ localPort, remotePort, remoteFamily }: Socket): Promise<number | undefined> {
    const path = remoteFamily === 'IPv6' ? '/proc/self/net/tcp6' : '/proc/self/net/tcp';
    return (await this.#look(path)).get(`${localPort} ${remotePort}`);
  }

  async #look(path: string): Promise<Table> {
    const under = this.#looks.get(path);
    if (under !== undefined) return await under;
    const look = readTable(path);
    this.#looks.set(path, look);
    try {
      return await look;
    } finally {
      this.#looks.delete(path);
    }
  }
}

async function readTable(path: string): Promise<Table> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const table = new Map<string, number>();
  for (const [, local = '', remote = '', queued = ''] of text.matchAll(TCP_LINE)) {
    table.set(`${parseInt(local, 16)} ${parseInt(remote, 16)}`, parseInt(queued, 16));
  }
  return table;
}

/** Bytes of one client that have reached the other end's kernel, over its connections one after the other. */
export class AcknowledgedBytes {
  readonly #queues: UnackedBytes;
  #socket: Socket | undefined;
  #bytes = 0;
  #bytesBefore = 0;

  constructor(queues: UnackedBytes) {
    this.#queues = queues;
  }

  /** When it was looked at last. Never shrinks. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A new connection; what an earlier one has not got rid of is lost. */
  adopt(socket: Socket): void {
    this.#socket = socket;
    this.#bytesBefore = this.#bytes;
  }

  async look(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return;
    const queued = (await this.#queues.unacknowledgedBytes(socket)) ?? 0;
    if (this.#socket !== socket) return;
    const arrived = this.#bytesBefore + socket.bytesWritten - socket.writableLength - queued;
    this.#bytes = Math.max(this.#bytes, arrived);
  }
}
