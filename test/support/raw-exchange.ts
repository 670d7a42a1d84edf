/** Bytes as they are, over TLS: what no HTTP client would send. */
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { once } from 'node:events';

export interface RawExchange {
  /** All that came back, as Latin-1. */
  readonly text: string;
  /** Status numbers of the answers, 100 too, in order. */
  readonly statuses: number[];
  /** Bytes of ours that the system took before the connection ended. */
  readonly sentBytes: number;
  /** Whether it was the server that ended it. */
  readonly isClosedByServer: boolean;
}

export interface RawOptions {
  /** Stop when this has come; else when the server closes the connection. */
  readonly until?: RegExp;
  /** Give up, without an error, after this long. */
  readonly timeoutMs?: number;
}

/** A TLS connection that trusts anybody. */
export async function connectRaw(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

/** Sends the pieces one after the other and collects what comes back. */
export async function rawExchange(
  port: number,
  pieces: Buffer | string | Iterable<Buffer | string>,
  options: RawOptions = {},
): Promise<RawExchange> {
  const socket = await connectRaw(port);
  let text = '';
  let isClosedByServer = false;
  const ended = Promise.withResolvers<void>();
  socket.setEncoding('latin1').on('data', (piece: string) => {
    text += piece;
    if (options.until?.test(text) === true) ended.resolve();
  });
  const close = (): void => {
    isClosedByServer = true;
    ended.resolve();
  };
  socket.on('end', close).on('close', close);
  const timer = setTimeout(ended.resolve, options.timeoutMs ?? 10_000);
  const list = typeof pieces === 'string' || Buffer.isBuffer(pieces) ? [pieces] : pieces;
  const sending = sendAll(socket, list, () => isClosedByServer);
  await ended.promise;
  clearTimeout(timer);
  const sentBytes = socket.bytesWritten - socket.writableLength;
  const closed = isClosedByServer;
  socket.destroy();
  await sending;
  return { text, statuses: statusesIn(text), sentBytes, isClosedByServer: closed };
}

async function sendAll(
  socket: TLSSocket,
  pieces: Iterable<Buffer | string>,
  isOver: () => boolean,
): Promise<void> {
  for (const piece of pieces) {
    if (isOver() || socket.destroyed) return;
    const isTaken = socket.write(piece);
    if (isTaken) await new Promise<void>((resolve) => setImmediate(resolve));
    else {
      const { promise, resolve } = Promise.withResolvers<void>();
      socket.on('drain', resolve).on('close', resolve);
      await promise;
      socket.off('drain', resolve).off('close', resolve);
    }
  }
}

function statusesIn(text: string): number[] {
  return [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map((match) => Number(match[1]));
}
