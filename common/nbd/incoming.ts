/** The bytes of a socket in the order in which they are asked for, before requests and replies cross. */
import type { Socket } from 'node:net';
import { TransferError } from '../errors.ts';

/** More than a server may send before it is asked. */
const UNREAD_BYTES_MAX = 256 * 1024;

export class Incoming {
  readonly #socket: Socket;
  #chunks: Buffer[] = [];
  #lengthBytes = 0;
  #error: Error | undefined;
  #changed = Promise.withResolvers<void>();
  readonly #stop: () => void;

  constructor(socket: Socket) {
    this.#socket = socket;
    const fail = (error: Error): void => {
      this.#error ??= error;
      this.#changed.resolve();
    };
    const onData = (chunk: Buffer): void => {
      this.#chunks.push(chunk);
      this.#lengthBytes += chunk.length;
      if (this.#lengthBytes > UNREAD_BYTES_MAX) fail(new Error('it sends more than it was asked for'));
      this.#changed.resolve();
    };
    const onClose = (): void => fail(new Error('the connection was closed'));
    socket.on('data', onData).on('error', fail).on('close', onClose).on('end', onClose);
    this.#stop = () => {
      socket.off('data', onData).off('error', fail).off('close', onClose).off('end', onClose);
    };
  }

  /** The next bytes. @throws Error when the connection ends before them. */
  async take(lengthBytes: number): Promise<Buffer> {
    while (this.#lengthBytes < lengthBytes) {
      if (this.#error !== undefined) throw this.#error;
      this.#changed = Promise.withResolvers<void>();
      await this.#changed.promise;
    }
    const all = Buffer.concat(this.#chunks);
    this.#chunks = [all.subarray(lengthBytes)];
    this.#lengthBytes = all.length - lengthBytes;
    return all.subarray(0, lengthBytes);
  }

  /**
   * Leaves the socket to somebody else, paused.
   * @returns what has arrived and was not taken. @throws Error when the connection has ended.
   */
  release(): Buffer {
    this.#stop();
    this.#socket.pause();
    if (this.#error !== undefined) throw this.#error;
    return Buffer.concat(this.#chunks);
  }
}

/** A sentence about a server that breaks the protocol. */
export function notNbd(what: string): TransferError {
  return new TransferError('connection-failed', `no NBD server of today answers there: ${what}`);
}
