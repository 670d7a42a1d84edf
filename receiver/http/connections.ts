/**
 * Who may hold a connection. One is a stranger until its first good token: there are few at a time, for a
 * short time and few bytes, so that nobody without a ticket takes the place, the memory or the processor of a
 * sender. A connection that is closed here is destroyed: one that is only ended keeps its place until the
 * other side closes it.
 */
import type { Server } from 'node:https';
import type { Socket } from 'node:net';
import type { Clock } from '../../common/clock.ts';
import { TransferError } from '../../common/errors.ts';
import { formatDuration, formatSize } from '../../common/units.ts';
import { ConnectionQuota, QUOTA_LIMITS, networkOf, type QuotaLimits } from './connection-quota.ts';
import { peerAddress } from './sender-lease.ts';

export interface StrangerLimits extends QuotaLimits {
  /** At once; the oldest makes room. As many as a sender that comes back has lanes. */
  readonly strangersMax: number;
  /** Of one address, or one IPv6 network of 64 bits, that has never shown a good token. */
  readonly strangersPerAddressMax: number;
  /** For handshake and head: three times nine seconds, which is a slow line's full queue. */
  readonly strangerMs: number;
  /** As they travelled: a handshake takes 2 KiB, a head 16 KiB at most. */
  readonly strangerBytesMax: number;
  /** Of TLS messages without data (key updates, empty records) after the token. */
  readonly emptyBytesMax: number;
}

export const STRANGER_LIMITS: StrangerLimits = {
  ...QUOTA_LIMITS,
  strangersMax: 64,
  strangersPerAddressMax: 8,
  strangerMs: 30_000,
  strangerBytesMax: 64 * 1024,
  emptyBytesMax: 1024 * 1024,
};
/** Nothing calls back when TLS messages without data arrive: the counters of the sockets are read. */
const SWEEP_MS = 100;
/** Connections with a token are looked at in one of so many sweeps. */
const KNOWN_SWEEPS = 10;
/** A TLS record of one byte of data has 22 bytes beside it. */
const RECORD_BYTES_PER_BYTE = 23;

interface Connection {
  readonly raw: Socket;
  readonly address: string;
  readonly network: string;
  readonly sinceMs: number;
  tls: Socket | undefined;
  isKnown: boolean;
  /** Its tokens allow only to read. */
  isReader: boolean;
  hasAsked: boolean;
  rawBytes: number;
  dataBytes: number;
  emptyBytes: number;
}

export interface ConnectionsOptions {
  readonly clock: Clock;
  /** With a good token, at once. */
  readonly connectionsMax: number;
  /** A connection was closed, or not taken. */
  readonly onRefused: (address: string, reason: string) => void;
  readonly limits?: Partial<StrangerLimits>;
}

export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #limits: StrangerLimits;
  readonly #quota: ConnectionQuota;
  /** Oldest first. */
  readonly #strangers = new Set<Connection>();
  readonly #known = new Set<Connection>();
  /** By both ends' addresses. */
  readonly #byEnds = new Map<string, Connection>();
  readonly #ofTls = new WeakMap<Socket, Connection>();
  #timer: NodeJS.Timeout | undefined;
  #sweeps = 0;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#limits = { ...STRANGER_LIMITS, ...options.limits };
    this.#quota = new ConnectionQuota(this.#limits);
  }

  get knownCount(): number {
    return this.#known.size;
  }

  /**
   * The server's connections are counted here, before TLS sees them.
   * @param ready a listening socket accepts at once; nothing that arrives is looked at before this.
   */
  guard(server: Server, ready: Promise<void> = Promise.resolve()): void {
    const startTls = server.listeners('connection');
    server.removeAllListeners('connection');
    const start = async (raw: Socket): Promise<void> => {
      await ready;
      for (const listener of startTls) Reflect.apply(listener, server, [raw]);
    };
    server.on('connection', (raw: Socket) => {
      if (this.#admit(raw)) void start(raw);
    });
    server.on('secureConnection', (tls: Socket) => {
      const connection = this.#byEnds.get(endsOf(tls));
      if (connection === undefined) return;
      connection.tls = tls;
      this.#ofTls.set(tls, connection);
    });
  }

  isKnown(tls: Socket): boolean {
    return this.#ofTls.get(tls)?.isKnown === true;
  }

  /**
   * It has shown a good token. Those that allow only to read have half of the places at most, so that they
   * keep no sender out.
   * @throws TransferError `busy` when all places are taken.
   */
  recognize(tls: Socket, isWriter: boolean): void {
    const connection = this.#ofTls.get(tls);
    // One that is closed already needs no place.
    if (connection === undefined || connection.raw.destroyed) return;
    if (connection.isKnown) {
      if (isWriter) connection.isReader = false;
      return;
    }
    this.#quota.befriend(connection.network, this.#options.clock.monotonicMs());
    const { connectionsMax } = this.#options;
    if (this.#known.size >= connectionsMax || (!isWriter && !this.#hasRoomForReader)) {
      this.#options.onRefused(connection.address, `all ${connectionsMax} connections are in use`);
      throw new TransferError('busy', `all ${connectionsMax} connections of the receiver are in use`);
    }
    this.#strangers.delete(connection);
    this.#known.add(connection);
    connection.isKnown = true;
    connection.isReader = !isWriter;
    connection.rawBytes = connection.raw.bytesRead;
    connection.dataBytes = tls.bytesRead;
  }

  get #hasRoomForReader(): boolean {
    const readers = [...this.#known].filter(({ isReader }) => isReader).length;
    return readers < Math.max(1, Math.floor(this.#options.connectionsMax / 2));
  }

  /**
   * A stranger has one request, however many it sends at once; for the others this waits until the token of
   * the first one has been looked at.
   */
  onRequest(tls: Socket, answer: () => void): void {
    const connection = this.#ofTls.get(tls);
    if (connection === undefined) return;
    const isFirst = !connection.hasAsked;
    connection.hasAsked = true;
    if (isFirst || connection.isKnown) answer();
    else
      setImmediate(() => {
        if (connection.isKnown) answer();
        else if (!connection.raw.destroyed) this.#refuse(connection, 'a second request without a token');
      });
  }

  /** Only those with a token are waited for when the server closes. */
  dropStrangers(): void {
    for (const connection of this.#strangers) this.#drop(connection);
  }

  #admit(raw: Socket): boolean {
    raw.on('error', () => {});
    const address = peerAddress(raw);
    const network = networkOf(address);
    const sinceMs = this.#options.clock.monotonicMs();
    const reason = this.#quota.take(network, sinceMs)
      ? this.#makeRoom(network)
      : 'too many connections in a short time';
    if (reason !== undefined) {
      raw.resetAndDestroy();
      this.#options.onRefused(address, reason);
      return false;
    }
    const counts = { rawBytes: 0, dataBytes: 0, emptyBytes: 0 };
    const state = { tls: undefined, isKnown: false, isReader: false, hasAsked: false };
    const connection: Connection = { raw, address, network, sinceMs, ...state, ...counts };
    this.#strangers.add(connection);
    const ends = endsOf(raw);
    this.#byEnds.set(ends, connection);
    raw.once('close', () => {
      this.#strangers.delete(connection);
      this.#known.delete(connection);
      if (this.#byEnds.get(ends) === connection) this.#byEnds.delete(ends);
      if (this.#byEnds.size > 0) return;
      clearInterval(this.#timer);
      this.#timer = undefined;
    });
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MS).unref();
    return true;
  }

  /** @returns why there is no room for another stranger. */
  #makeRoom(network: string): string | undefined {
    const { strangersMax, strangersPerAddressMax } = this.#limits;
    const isFamiliar = this.#quota.isFamiliar(network);
    const own = [...this.#strangers].filter((other) => other.network === network);
    const [oldestOwn] = own;
    if (!isFamiliar && oldestOwn !== undefined && own.length >= strangersPerAddressMax) {
      this.#refuse(oldestOwn, `${strangersPerAddressMax} newer connections of this address have no token`);
    }
    if (this.#strangers.size < strangersMax) return undefined;
    const all = [...this.#strangers];
    const [oldest] = all;
    const victim =
      all.find((other) => !this.#quota.isFamiliar(other.network)) ?? (isFamiliar ? oldest : undefined);
    const reason = `${strangersMax} others have no token either`;
    if (victim === undefined) return reason;
    this.#refuse(victim, reason);
    return undefined;
  }

  #sweep(): void {
    const { strangerMs, strangerBytesMax } = this.#limits;
    const nowMs = this.#options.clock.monotonicMs();
    for (const connection of this.#strangers) {
      if (nowMs - connection.sinceMs > strangerMs) {
        this.#refuse(connection, `no token within ${formatDuration(strangerMs)}`);
      } else if (connection.raw.bytesRead > strangerBytesMax) {
        this.#quota.punish(connection.network);
        this.#refuse(connection, `no token in ${formatSize(strangerBytesMax)}`);
      }
    }
    if (++this.#sweeps % KNOWN_SWEEPS === 0) for (const connection of this.#known) this.#weigh(connection);
  }

  /** What arrives without data, beyond what the smallest records need. */
  #weigh(connection: Connection): void {
    const { raw, tls } = connection;
    const rawBytes = raw.bytesRead;
    const dataBytes = tls?.bytesRead ?? 0;
    const dataWithRecords = (dataBytes - connection.dataBytes) * RECORD_BYTES_PER_BYTE;
    const empty = rawBytes - connection.rawBytes - dataWithRecords;
    connection.emptyBytes = Math.max(0, connection.emptyBytes + empty);
    connection.rawBytes = rawBytes;
    connection.dataBytes = dataBytes;
    const { emptyBytesMax } = this.#limits;
    if (connection.emptyBytes <= emptyBytesMax) return;
    this.#refuse(connection, `${formatSize(emptyBytesMax)} of TLS messages without data`);
  }

  #refuse(connection: Connection, reason: string): void {
    this.#drop(connection);
    this.#options.onRefused(connection.address, reason);
  }

  #drop(connection: Connection): void {
    this.#strangers.delete(connection);
    this.#known.delete(connection);
    connection.raw.destroy();
  }
}

/** The same of a raw socket and of the TLS socket over it. */
function endsOf({ remoteAddress, remotePort, localAddress }: Socket): string {
  return `${remoteAddress} ${remotePort} ${localAddress}`;
}
