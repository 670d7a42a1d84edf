/** A line to the receiver that the test owns: it counts, slows, holds, cuts, and lets an impostor answer. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import { createServer as createTlsServer } from 'node:tls';
import { setTimeout as delay } from 'node:timers/promises';
import { loadOrMakeIdentity } from '../../receiver/identity/certificate.ts';
import { OWN_HOST } from './processes.ts';
import { tempDir } from './temp-dir.ts';

/** Timers are no finer; shorter waits are saved up. */
const WAIT_MS_MIN = 5;

export interface RelayOptions {
  readonly to: { readonly host: string; readonly port: number };
  /** All connections share it, towards the receiver; answers do not wait. */
  readonly bytesPerSecond?: number;
  /** After this many bytes the line stands still until {@link Relay.release}. */
  readonly holdAtBytes?: number;
  /** Takes the connections from this one on, counted from 1; the earlier ones reach the receiver. */
  readonly impostor?: { readonly from: number; readonly take: (socket: Socket) => void };
}

export class Relay implements AsyncDisposable {
  /** Of TCP payload that came from the sender's side. */
  bytes = 0;
  connectionCount = 0;
  /** 0: no limit. May be changed while it runs. */
  bytesPerSecond: number;
  readonly #options: RelayOptions;
  readonly #server: Server;
  readonly #open = new Set<Socket>();
  #marks: { at: number; reached: () => void }[] = [];
  #freeAtMs = 0;
  #isReleased = false;
  readonly #released = Promise.withResolvers<void>();

  private constructor(options: RelayOptions) {
    this.#options = options;
    this.bytesPerSecond = options.bytesPerSecond ?? 0;
    this.#server = createServer((near) => this.#accept(near));
  }

  static async start(options: RelayOptions): Promise<Relay> {
    const relay = new Relay(options);
    relay.#server.listen(0, OWN_HOST);
    await once(relay.#server, 'listening');
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** Resolves when this many bytes in all have come. */
  async reach(bytes: number): Promise<void> {
    if (this.bytes >= bytes) return;
    await new Promise<void>((reached) => this.#marks.push({ at: bytes, reached }));
  }

  /** Whether the line stands still at {@link RelayOptions.holdAtBytes}. */
  get isHolding(): boolean {
    return !this.#isReleased && this.bytes >= (this.#options.holdAtBytes ?? Infinity);
  }

  /** Lets through what was held, and holds nothing any more. */
  release(): void {
    this.#isReleased = true;
    this.#released.resolve();
  }

  /** Ends all connections there are; new ones are taken as before. */
  cut(): void {
    for (const socket of this.#open) socket.destroy();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.cut();
    await closed;
  }

  #accept(near: Socket): void {
    this.connectionCount++;
    near.on('error', () => {});
    this.#keep(near);
    const { impostor, to } = this.#options;
    if (impostor !== undefined && this.connectionCount >= impostor.from) {
      impostor.take(near);
      return;
    }
    const far = connect(to);
    this.#keep(far);
    // A connection that dies, as when one side is killed, concerns its two ends only.
    void Promise.allSettled([
      pipeline(near, (pieces: AsyncIterable<Buffer>) => this.#inTurn(pieces), far),
      pipeline(far, near),
    ]);
  }

  #keep(socket: Socket): void {
    this.#open.add(socket);
    socket.once('close', () => this.#open.delete(socket));
  }

  async *#inTurn(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      this.bytes += piece.length;
      for (const mark of this.#marks) if (this.bytes >= mark.at) mark.reached();
      this.#marks = this.#marks.filter(({ at }) => at > this.bytes);
      if (this.isHolding) await this.#released.promise;
      if (this.bytesPerSecond > 0) {
        const nowMs = performance.now();
        this.#freeAtMs = Math.max(this.#freeAtMs, nowMs) + (piece.length / this.bytesPerSecond) * 1000;
        if (this.#freeAtMs - nowMs > WAIT_MS_MIN) await delay(this.#freeAtMs - nowMs);
      }
      yield piece;
    }
  }
}

export interface Impostor {
  readonly pin: string;
  connectionCount: number;
  /** Decrypted: bytes of requests. */
  requestBytes: number;
  readonly take: (socket: Socket) => void;
}

/** A TLS server with a key of its own that listens to whoever talks to it; it needs no closing. */
export async function makeImpostor(): Promise<Impostor> {
  await using folder = await tempDir();
  const { certificatePem, keyPem, pin } = await loadOrMakeIdentity(folder.path, {});
  const server = createTlsServer({ cert: certificatePem, key: keyPem, minVersion: 'TLSv1.3' });
  const impostor: Impostor = {
    pin,
    connectionCount: 0,
    requestBytes: 0,
    take: (socket) => {
      impostor.connectionCount++;
      server.emit('connection', socket);
    },
  };
  server.on('tlsClientError', () => {});
  server.on('secureConnection', (socket) => {
    socket.on('error', () => {});
    socket.on('data', (piece: Buffer) => (impostor.requestBytes += piece.length));
  });
  return impostor;
}
