/** The first part of an NBD connection: encryption, what the server can do, and the export that is wanted. */
import type { Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { TransferError, errnoOf, reasonOf } from '../errors.ts';
import { printable } from '../text.ts';
import { Incoming, notNbd } from './incoming.ts';
import {
  BASE_ALLOCATION,
  CAN_MULTI_CONN,
  FIXED_NEWSTYLE,
  GREETING_MAGIC,
  HAS_FLAGS,
  INFO_BLOCK_SIZE,
  INFO_EXPORT,
  NO_ZEROES,
  OPTION,
  OPTION_MAGIC,
  OPTION_REPLY_BYTES,
  READ_ONLY,
  REPLY_ACK,
  REPLY_INFO,
  REPLY_META_CONTEXT,
  SEND_FLUSH,
  SEND_WRITE_ZEROES,
  UNSUPPORTED,
  WANTS_TLS,
  decodeOptionReply,
  encodeOption,
  encodeText,
  optionErrorOf,
} from './nbd-wire.ts';

/** An option has one reply or a few; each says little. */
const REPLIES_MAX = 64;
const REPLY_BYTES_MAX = 16 * 1024;
/** What must be assumed of a server that does not say (doc/proto.md, Block size constraints). */
const PAYLOAD_BYTES_DEFAULT = 32 * 1024 * 1024;
/** The protocol wants no larger ones, and blocks of a transfer begin at multiples of it. */
const UNIT_BYTES_MAX = 64 * 1024;

export interface NbdTlsMaterial {
  readonly serverName: string;
  readonly ca: readonly string[];
  readonly certificate: Buffer | undefined;
  readonly key: Buffer | undefined;
}

/** What the server says of the export. */
export interface ExportFacts {
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
  readonly canFlush: boolean;
  readonly canWriteZeroes: boolean;
  /** A flush on one connection covers what was written on all. */
  readonly canMultiConn: boolean;
  readonly isStructured: boolean;
  /** Of {@link BASE_ALLOCATION}; undefined: the server does not say which parts read as zeros. */
  readonly contextId: number | undefined;
  /** Requests begin and end at multiples of it. */
  readonly unitBytes: number;
  readonly preferredBytes: number;
  readonly payloadBytesMax: number;
}

export interface Negotiated {
  /** With or without TLS. */
  readonly socket: Socket;
  readonly facts: ExportFacts;
  /** What has arrived after the handshake. */
  readonly rest: Buffer;
}

/**
 * @param socket connected; the caller destroys it on failure.
 * @throws TransferError `connection-failed`; Error of the connection.
 */
export async function negotiate(
  socket: Socket,
  exportName: string,
  tls: NbdTlsMaterial | undefined,
): Promise<Negotiated> {
  const plain = new Handshake(socket, exportName);
  await plain.greet();
  if (tls === undefined) return await plain.choose();
  const secured = await plain.secure(tls);
  // Nothing that was said before counts.
  return await new Handshake(secured, exportName).choose();
}

class Handshake {
  readonly #socket: Socket;
  readonly #exportName: string;
  readonly #incoming: Incoming;

  constructor(socket: Socket, exportName: string) {
    this.#socket = socket;
    this.#exportName = exportName;
    this.#incoming = new Incoming(socket);
  }

  async greet(): Promise<void> {
    const magic = await this.#incoming.take(8);
    if (!magic.equals(GREETING_MAGIC)) throw notNbd('its greeting is another one');
    const options = await this.#incoming.take(8);
    if (!options.equals(OPTION_MAGIC)) throw notNbd('it speaks the old style of the protocol');
    const flags = (await this.#incoming.take(2)).readUInt16BE();
    if ((flags & FIXED_NEWSTYLE) === 0) throw notNbd('it does not speak the fixed new style of the protocol');
    const own = Buffer.alloc(4);
    own.writeUInt32BE(FIXED_NEWSTYLE | (flags & NO_ZEROES));
    this.#socket.write(own);
  }

  /** Never continues without encryption. */
  async secure({ serverName, ca, certificate, key }: NbdTlsMaterial): Promise<Socket> {
    const refusal = await this.#ask(OPTION.startTls, Buffer.alloc(0), () => {});
    if (refusal !== undefined) {
      throw new TransferError('connection-failed', `the server does not encrypt: STARTTLS is ${refusal}`, {
        hint: 'start it with TLS: nbdkit --tls=require, qemu-nbd --tls-creds',
      });
    }
    // Somebody on the line could have put it there.
    if (this.#incoming.release().length > 0) throw notNbd('it continues without encryption after STARTTLS');
    const secured = connectTls({
      socket: this.#socket,
      servername: /^[\d.]+$|:/.test(serverName) ? '' : serverName,
      host: serverName,
      ca: [...ca],
      minVersion: 'TLSv1.2',
      ...(certificate !== undefined && { cert: certificate }),
      ...(key !== undefined && { key }),
    });
    await securedBy(secured);
    return secured;
  }

  async choose(): Promise<Negotiated> {
    const isStructured = (await this.#ask(OPTION.structuredReply, Buffer.alloc(0), () => {})) === undefined;
    const contextId = isStructured ? await this.#askContext() : undefined;
    const found: { size?: bigint; flags?: number; sizes?: readonly [number, number, number] } = {};
    const wanted = Buffer.alloc(4);
    wanted.writeUInt16BE(1, 0);
    wanted.writeUInt16BE(INFO_BLOCK_SIZE, 2);
    const refusal = await this.#ask(
      OPTION.go,
      Buffer.concat([encodeText(this.#exportName), wanted]),
      (type, data) => {
        if (type !== REPLY_INFO || data.length < 2) return;
        const kind = data.readUInt16BE();
        if (kind === INFO_EXPORT && data.length === 12) {
          [found.size, found.flags] = [data.readBigUInt64BE(2), data.readUInt16BE(10)];
        } else if (kind === INFO_BLOCK_SIZE && data.length === 14) {
          found.sizes = [data.readUInt32BE(2), data.readUInt32BE(6), data.readUInt32BE(10)];
        }
      },
    );
    const { size, flags, sizes } = found;
    if (refusal !== undefined) throw this.#refused(refusal);
    if (size === undefined || flags === undefined || (flags & HAS_FLAGS) === 0)
      throw notNbd('it does not say how large the export is');
    const limits = limitsOf(sizes);
    const facts = {
      sizeBytes: sizeOf(size, limits.unitBytes),
      isReadOnly: (flags & READ_ONLY) !== 0,
      canFlush: (flags & SEND_FLUSH) !== 0,
      canWriteZeroes: (flags & SEND_WRITE_ZEROES) !== 0,
      canMultiConn: (flags & CAN_MULTI_CONN) !== 0,
      isStructured,
      contextId,
      ...limits,
    };
    return { socket: this.#socket, facts, rest: this.#incoming.release() };
  }

  async #askContext(): Promise<number | undefined> {
    const count = Buffer.alloc(4);
    count.writeUInt32BE(1);
    const found: { id?: number } = {};
    const data = Buffer.concat([encodeText(this.#exportName), count, encodeText(BASE_ALLOCATION)]);
    await this.#ask(OPTION.setMetaContext, data, (type, reply) => {
      const isOurs = reply.length > 4 && reply.toString('utf8', 4) === BASE_ALLOCATION;
      if (type === REPLY_META_CONTEXT && isOurs) found.id = reply.readUInt32BE();
    });
    return found.id;
  }

  /** @returns the reason of a refusal. @throws TransferError, Error. */
  async #ask(
    option: number,
    data: Buffer,
    onReply: (type: number, data: Buffer) => void,
  ): Promise<string | undefined> {
    this.#socket.write(encodeOption(option, data));
    for (let replies = 0; replies < REPLIES_MAX; replies++) {
      const reply = decodeOptionReply(await this.#incoming.take(OPTION_REPLY_BYTES), option);
      if (reply === undefined) throw notNbd('its reply to an option is of another form');
      const { type, lengthBytes } = reply;
      if (lengthBytes > REPLY_BYTES_MAX) throw notNbd(`its reply to an option has ${lengthBytes} bytes`);
      const body = await this.#incoming.take(lengthBytes);
      const error = optionErrorOf(type);
      if (error !== undefined) {
        const said = printable(body.toString('utf8', 0, 256)).trim();
        return said === '' || error === WANTS_TLS || error === UNSUPPORTED ? error : `${error} (${said})`;
      }
      if (type === REPLY_ACK) return undefined;
      onReply(type, body);
    }
    throw notNbd('its reply to an option does not end');
  }

  #refused(reason: string): TransferError {
    const what =
      this.#exportName === '' ? 'the default export' : `the export '${printable(this.#exportName)}'`;
    const hint =
      reason === WANTS_TLS
        ? 'write nbds: instead of nbd:'
        : reason === UNSUPPORTED
          ? 'use a newer server, such as nbdkit or qemu-nbd'
          : 'nbdinfo --list shows the exports of a server';
    return new TransferError('connection-failed', `the server refuses ${what}: ${reason}`, { hint });
  }
}

async function securedBy(socket: TLSSocket): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', (error) => {
      const reason = reasonOf(error);
      // Of certificates the library has no short reasons.
      const text = reason === errnoOf(error) ? printable(error.message) : reason;
      const message = `cannot encrypt the connection: ${text}`;
      const hint = 'the certificate must be signed by an authority in tls-certificates, and name the host';
      reject(new TransferError('connection-failed', message, { cause: error, hint }));
    });
    socket.once('close', () => reject(new Error('the connection was closed')));
  });
}

function sizeOf(size: bigint, unitBytes: number): number {
  if (size <= BigInt(Number.MAX_SAFE_INTEGER) && size % BigInt(unitBytes) === 0n) return Number(size);
  throw notNbd(`it says that the export has ${size} bytes, in units of ${unitBytes}`);
}

/** @param sizes smallest, preferred and largest request. */
function limitsOf(
  sizes: readonly [number, number, number] | undefined,
): Pick<ExportFacts, 'unitBytes' | 'preferredBytes' | 'payloadBytesMax'> {
  if (sizes === undefined)
    return { unitBytes: 1, preferredBytes: 4096, payloadBytesMax: PAYLOAD_BYTES_DEFAULT };
  const [unitBytes, preferredBytes, largest] = sizes;
  const isPower = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));
  const isFine =
    isPower(unitBytes) &&
    unitBytes <= UNIT_BYTES_MAX &&
    isPower(preferredBytes) &&
    preferredBytes >= unitBytes &&
    largest >= unitBytes;
  if (!isFine) throw notNbd(`its block sizes make no sense: ${sizes.join(', ')}`);
  // 0xffffffff: no limit.
  const payloadBytesMax = Math.min(largest - (largest % unitBytes), PAYLOAD_BYTES_DEFAULT);
  return { unitBytes, preferredBytes, payloadBytesMax };
}
