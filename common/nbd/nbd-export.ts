/**
 * An export of an NBD server as a disk: read, written and flushed at any offset, over several connections
 * where the server allows that, and over new ones when they end. A request that was in flight is then sent
 * again; what was written and not flushed may be lost with the server, which the next flush says.
 */
import { once } from 'node:events';
import { open, type FileHandle } from 'node:fs/promises';
import { connect } from 'node:net';
import { basename, dirname } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { abortable } from '../abortable.ts';
import { TransferError, errnoOf, reasonOf } from '../errors.ts';
import { SingleFlight } from '../single-flight.ts';
import { reopenPathOf } from '../system-tools.ts';
import { formatDuration } from '../units.ts';
import type { ExportFacts, NbdTlsMaterial } from './handshake.ts';
import { ConnectionLost, NbdConnection, type RequestOptions } from './nbd-connection.ts';
import type { NbdAddress } from './nbd-uri.ts';
import { COMMAND, STATE_ZERO } from './nbd-wire.ts';
import { loadTls } from './tls-material.ts';

/** Where the server has no say: several are worked on at once. */
const REQUEST_BYTES = 1024 * 1024;
/** More do not help a server on one machine. */
const CONNECTIONS_MAX = 4;
/** Between two attempts to find a lost server; doubled each time. */
const RECONNECT_DELAY_MS_MIN = 250;
const RECONNECT_DELAY_MS_MAX = 10_000;
/** How long a server may take for what is in flight when it is not waited for any more. */
const LAST_REPLIES_MS_MAX = 5000;
/** A connection that lasted longer was a good one. */
const STEADY_MS = 5000;
/** A zero that is written is sent with the data around it; a longer run has a request of its own. */
const ZEROES_BYTES_MAX = 1024 * 1024 * 1024;

/** `name` is for messages. */
export type NbdOptions = NbdAddress;

/** Gets a sentence when the server is gone, and when it is back. */
export type TellOutage = (sentence: string, isGone: boolean) => void;

/** How connections are made, without what needs the rights of the start. */
interface Way {
  readonly options: NbdOptions;
  readonly tls: NbdTlsMaterial | undefined;
  /** Of the socket. */
  readonly folder: FileHandle | undefined;
}

export class NbdExport implements AsyncDisposable {
  readonly facts: ExportFacts;
  readonly #way: Way;
  #connections: NbdConnection[];
  readonly #reconnecting = new SingleFlight(async () => await this.#reconnect());
  readonly #closing = new AbortController();
  #tell: TellOutage = () => {};
  #lossCount = 0;
  #connectedMs = 0;
  /** Before the next attempt to connect. */
  #delayMs = 0;
  /** Something was written since the last flush began. */
  #isDirty = false;
  /** Writes in flight: parts of them may be done. */
  #changing = 0;
  /** Some of what was written may be lost. */
  #isDoubtful = false;
  /** The server came back with another export. */
  #changed: Error | undefined;
  #lastReplies: NodeJS.Timeout | undefined;

  /** @throws TransferError `connection-failed`, `usage`. */
  static async open(options: NbdOptions): Promise<NbdExport> {
    const { tls, place, name } = options;
    let folder: FileHandle | undefined;
    try {
      if ('path' in place) folder = await open(dirname(place.path), 'r');
      const way = { options, tls: tls && (await loadTls(tls)), folder };
      const opened = new NbdExport(way, await connectTo(way));
      await opened.#connectMore();
      return opened;
    } catch (error) {
      await folder?.close();
      throw cannotConnect(name, error);
    }
  }

  private constructor(way: Way, first: NbdConnection) {
    this.#way = way;
    this.#connections = [];
    this.facts = first.facts;
    this.#add(first);
  }

  get name(): string {
    return this.#way.options.name;
  }

  get sizeBytes(): number {
    return this.facts.sizeBytes;
  }

  /** How often a connection was lost: the server may be another process since. */
  get lossCount(): number {
    return this.#lossCount;
  }

  reportOutages(tell: TellOutage): void {
    this.#tell = tell;
  }

  /**
   * Fills `into` from `offset`, however long the server is away.
   * @throws NbdError, Error when the export has changed; the signal's reason.
   */
  async read(into: Buffer, offset: number, signal?: AbortSignal): Promise<void> {
    const { unitBytes } = this.facts;
    const start = offset - (offset % unitBytes);
    const end = Math.ceil((offset + into.length) / unitBytes) * unitBytes;
    if (start === offset && end === offset + into.length) {
      await this.#inPieces(offset, into.length, async (at, lengthBytes) => {
        const place = into.subarray(at - offset, at - offset + lengthBytes);
        await this.#request({ command: COMMAND.read, offset: at, into: place }, signal);
      });
      return;
    }
    const around = Buffer.alloc(Math.min(end, this.sizeBytes) - start);
    await this.read(around, start, signal);
    around.copy(into, 0, offset - start);
  }

  /** @param bytes left alone until it resolves. @throws NbdError, Error. */
  async write(bytes: Buffer, offset: number): Promise<void> {
    const { unitBytes } = this.facts;
    const wholeBytes = bytes.length - (bytes.length % unitBytes);
    await this.#inPieces(offset, wholeBytes, async (at, lengthBytes) => {
      const payload = bytes.subarray(at - offset, at - offset + lengthBytes);
      await this.#change({ command: COMMAND.write, offset: at, payload });
    });
    if (wholeBytes === bytes.length) return;
    // What follows in the unit stays.
    const at = offset + wholeBytes;
    const unit = Buffer.alloc(Math.min(unitBytes, this.sizeBytes - at));
    await this.read(unit, at);
    bytes.copy(unit, 0, wholeBytes);
    await this.#change({ command: COMMAND.write, offset: at, payload: unit });
  }

  /**
   * Makes whole units read as zeros, where the server can do that without data.
   * @returns how many bytes from `offset` on are zeros now. @throws NbdError, Error.
   */
  async writeZeroes(offset: number, lengthBytes: number): Promise<number> {
    const { canWriteZeroes, unitBytes } = this.facts;
    const wholeBytes = lengthBytes - (lengthBytes % unitBytes);
    if (!canWriteZeroes) return 0;
    for (let done = 0; done < wholeBytes;) {
      const some = Math.min(wholeBytes - done, ZEROES_BYTES_MAX);
      await this.#change({ command: COMMAND.writeZeroes, offset: offset + done, lengthBytes: some });
      done += some;
    }
    return wholeBytes;
  }

  /**
   * The server's word: what it does not say counts as data.
   * @returns the next part from `offset` on that is all zeros, or all else. @throws NbdError, Error.
   */
  async zeroRun(offset: number, lengthBytes: number): Promise<{ lengthBytes: number; isZero: boolean }> {
    const { contextId, unitBytes } = this.facts;
    const wholeBytes = Math.min(lengthBytes - (lengthBytes % unitBytes), ZEROES_BYTES_MAX);
    if (contextId === undefined || wholeBytes === 0 || offset % unitBytes !== 0)
      return { lengthBytes, isZero: false };
    const status = { command: COMMAND.blockStatus, offset, lengthBytes: wholeBytes };
    const extents = await this.#request(status);
    const isZero = ((extents[0]?.state ?? 0) & STATE_ZERO) !== 0;
    let end = 0;
    for (const extent of extents) {
      if (((extent.state & STATE_ZERO) !== 0) !== isZero) break;
      end += extent.lengthBytes;
    }
    return { lengthBytes: Math.min(end, wholeBytes), isZero };
  }

  /**
   * What was written before this call is on stable storage, as the server says.
   * @throws Error if any of it may be lost; the next flush says nothing about it any more.
   */
  async flush(): Promise<void> {
    if (this.#isDoubtful) throw this.#lostWrites();
    const losses = this.#lossCount;
    this.#isDirty = false;
    try {
      await this.#send({ command: COMMAND.flush });
    } catch (error) {
      this.#isDirty = true;
      throw error instanceof ConnectionLost ? this.#lostWrites() : error;
    }
    if (this.#lossCount !== losses) throw this.#lostWrites();
  }

  /** What waits for a lost server fails, now and later; what waits for one that is there, in a while. */
  stopWaiting(): void {
    const reason = 'it is not waited for any more';
    this.#closing.abort(new Error(reason));
    this.#lastReplies ??= setTimeout(() => {
      for (const connection of this.#connections) connection.cut(reason);
    }, LAST_REPLIES_MS_MAX).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#lastReplies);
    this.#closing.abort(new Error('it was closed'));
    for (const connection of this.#connections) connection.close();
    await this.#way.folder?.close();
  }

  /**
   * Whether this process may connect again, with the rights that it has now.
   * @throws Error with the reason.
   */
  async checkReach(): Promise<void> {
    const { folder, options } = this.#way;
    if (folder === undefined || !('path' in options.place)) return;
    const { path } = options.place;
    const socket = connect(`${reopenPathOf(folder)}/${basename(path)}`);
    try {
      await once(socket, 'connect').catch((error: unknown) => {
        throw new Error(`with fewer, it could not connect to ${path} again: ${reasonOf(error)}`);
      });
    } finally {
      socket.destroy();
    }
  }

  #lostWrites(): Error {
    this.#isDoubtful = false;
    return new Error('the connection to the NBD server was lost before everything was flushed');
  }

  async #inPieces(
    offset: number,
    lengthBytes: number,
    work: (at: number, lengthBytes: number) => Promise<void>,
  ): Promise<void> {
    const { payloadBytesMax, preferredBytes } = this.facts;
    const pieceBytes = Math.min(payloadBytesMax, Math.max(REQUEST_BYTES, preferredBytes));
    const end = offset + lengthBytes;
    const starts: number[] = [];
    for (let at = offset; at < end; at += pieceBytes - (at % pieceBytes)) starts.push(at);
    const pieces = starts.map(async (at, index) => await work(at, (starts[index + 1] ?? end) - at));
    // Nothing may still be using the caller's buffer when this settles.
    for (const piece of await Promise.allSettled(pieces)) if (piece.status === 'rejected') throw piece.reason;
  }

  async #change(options: RequestOptions): Promise<void> {
    this.#changing++;
    try {
      await this.#request(options);
      this.#isDirty = true;
    } finally {
      this.#changing--;
    }
  }

  /** Sends it again when the connection is lost. */
  async #request(options: RequestOptions, signal?: AbortSignal): ReturnType<NbdConnection['request']> {
    for (;;) {
      try {
        return await this.#send(options, signal);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        this.#closing.signal.throwIfAborted();
      }
    }
  }

  async #send(options: RequestOptions, signal?: AbortSignal): ReturnType<NbdConnection['request']> {
    signal?.throwIfAborted();
    if (this.#connections.length === 0) await abortable(this.#reconnecting.run(), signal);
    if (this.#changed !== undefined) throw this.#changed;
    const [first, ...more] = this.#connections;
    if (first === undefined) throw new ConnectionLost('there is no connection');
    const connection = more.reduce((best, other) => (other.load < best.load ? other : best), first);
    return await connection.request(options);
  }

  #add(connection: NbdConnection): void {
    this.#connections.push(connection);
    this.#connectedMs = performance.now();
    void connection.ended.then((lost) => this.#onLost(connection, lost));
  }

  #onLost(connection: NbdConnection, lost: ConnectionLost): void {
    this.#connections = this.#connections.filter((each) => each !== connection);
    if (this.#closing.signal.aborted) return;
    this.#lossCount++;
    this.#isDoubtful ||= this.#isDirty || this.#changing > 0;
    this.#isDirty = false;
    if (this.#connections.length > 0) return;
    this.#tell(`${this.name} is gone: ${lost.message}; trying again`, true);
    this.#reconnecting.run().catch(() => {});
  }

  /** Until the server is back, or nobody waits for it any more. */
  async #reconnect(): Promise<void> {
    const { signal } = this.#closing;
    const beganMs = performance.now();
    // A server that breaks every connection is not asked all the time.
    const isSteady = beganMs - this.#connectedMs > STEADY_MS;
    if (isSteady) this.#delayMs = 0;
    while (this.#connections.length === 0) {
      await delay(this.#delayMs, undefined, { signal });
      this.#delayMs = Math.min(RECONNECT_DELAY_MS_MAX, Math.max(RECONNECT_DELAY_MS_MIN, this.#delayMs * 2));
      try {
        const connection = await connectTo(this.#way, signal);
        this.#changed = changeBetween(this.facts, connection.facts, this.name);
        this.#add(connection);
      } catch {
        signal.throwIfAborted();
      }
    }
    if (this.#changed !== undefined) return;
    this.#tell(`${this.name} is back after ${formatDuration(performance.now() - beganMs)}`, false);
    await this.#connectMore();
  }

  /** As many as the server takes. */
  async #connectMore(): Promise<void> {
    if (!this.facts.canMultiConn) return;
    while (this.#connections.length < CONNECTIONS_MAX) {
      const more = await connectTo(this.#way, this.#closing.signal).catch(() => undefined);
      if (more === undefined) return;
      if (!more.facts.canMultiConn || more.facts.sizeBytes !== this.facts.sizeBytes) return more.close();
      this.#add(more);
    }
  }
}

async function connectTo({ options, tls, folder }: Way, signal?: AbortSignal): Promise<NbdConnection> {
  const { place, exportName } = options;
  if (folder === undefined || !('path' in place))
    return await NbdConnection.open({ place, exportName, tls, signal });
  // The way to its folder may be closed by now; or the folder is another one, made by the next server.
  const path = `${reopenPathOf(folder)}/${basename(place.path)}`;
  try {
    return await NbdConnection.open({ place: { path }, exportName, tls, signal });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return await NbdConnection.open({ place, exportName, tls, signal });
  }
}

function cannotConnect(name: string, error: unknown): TransferError {
  const hint = error instanceof TransferError ? error.hint : undefined;
  const reason = error instanceof TransferError ? error.message : reasonOf(error);
  return new TransferError('connection-failed', `cannot open ${name}: ${reason}`, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}

/** Requests are made for the export as it was. */
function changeBetween(before: ExportFacts, now: ExportFacts, name: string): Error | undefined {
  const isSame =
    before.sizeBytes === now.sizeBytes &&
    before.unitBytes >= now.unitBytes &&
    before.payloadBytesMax <= now.payloadBytesMax &&
    before.isReadOnly === now.isReadOnly &&
    (!before.canFlush || now.canFlush) &&
    (!before.canWriteZeroes || now.canWriteZeroes) &&
    before.contextId === now.contextId;
  if (isSame) return undefined;
  const sizes = `it had ${before.sizeBytes} bytes and has ${now.sizeBytes} now`;
  const what = before.sizeBytes === now.sizeBytes ? 'its server has other abilities now' : sizes;
  return new Error(`${name} is another export since the connection was lost: ${what}`);
}
