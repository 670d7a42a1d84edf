/**
 * Bytes that were written to a socket and that the peer has not acknowledged yet, as the kernel counts them.
 */
import { readFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { SingleFlight } from '../../../common/single-flight.ts';
import type { Carrier } from '../../../common/ssh/ssh-lane.ts';

/** proc_net_tcp(5): local and remote address:port in hex, state, tx_queue:rx_queue, five more, inode. */
const TCP_LINE =
  /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):(?:\S+\s+){5}(\d+)/gm;

/** By both ports, and by inode. */
type Table = ReadonlyMap<string, number>;

/**
 * For all connections of a run: the kernel's table lists every connection of the machine, and is read once
 * for all.
 */
export class UnackedBytes {
  readonly #ipv4 = new SingleFlight(async () => await readTable('/proc/self/net/tcp'));
  readonly #ipv6 = new SingleFlight(async () => await readTable('/proc/self/net/tcp6'));
  readonly #carriers = new WeakMap<Socket, Carrier>();

  /** This socket leads to another process of this machine. */
  carry(socket: Socket, carrier: Carrier): void {
    this.#carriers.set(socket, carrier);
  }

  /**
   * Bytes written say nothing on a slow line: the kernel's buffers take a block of megabytes at once, and
   * then no more for minutes.
   * @returns undefined if the connection is not in the table.
   */
  async of(socket: Socket): Promise<number | undefined> {
    const carrier = this.#carriers.get(socket);
    if (carrier !== undefined) {
      return await carrier.unackedBytes(socket, async (inode) => await this.#ofInode(inode));
    }
    const { localPort, remotePort, remoteFamily } = socket;
    const table = await (remoteFamily === 'IPv6' ? this.#ipv6 : this.#ipv4).run();
    return table.get(`${localPort} ${remotePort}`);
  }

  async #ofInode(inode: string): Promise<number | undefined> {
    return (await this.#ipv4.run()).get(inode) ?? (await this.#ipv6.run()).get(inode);
  }
}

async function readTable(path: string): Promise<Table> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const table = new Map<string, number>();
  for (const [, local = '', remote = '', unacked = '', inode = ''] of text.matchAll(TCP_LINE)) {
    table.set(`${parseInt(local, 16)} ${parseInt(remote, 16)}`, parseInt(unacked, 16));
    table.set(inode, parseInt(unacked, 16));
  }
  return table;
}

/** Bytes of one client that the other end's kernel has, over its successive connections. */
export class AcknowledgedBytes {
  readonly #unacked: UnackedBytes;
  #socket: Socket | undefined;
  #bytes = 0;
  #bytesBefore = 0;

  constructor(unacked: UnackedBytes) {
    this.#unacked = unacked;
  }

  /** As of the last {@link refresh}. Never shrinks. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Switches to a new connection. Bytes that the earlier one had not delivered are lost. */
  adopt(socket: Socket): void {
    this.#socket = socket;
    this.#bytesBefore = this.#bytes;
  }

  async refresh(): Promise<void> {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return;
    const unacked = (await this.#unacked.of(socket)) ?? 0;
    if (this.#socket !== socket) return;
    const acknowledged = this.#bytesBefore + socket.bytesWritten - socket.writableLength - unacked;
    this.#bytes = Math.max(this.#bytes, acknowledged);
  }
}
