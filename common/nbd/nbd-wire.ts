/** What travels between an NBD client and its server: numbers of the NBD project's doc/proto.md. Pure. */

/** The longest string that the protocol allows. */
export const EXPORT_NAME_BYTES_MAX = 4096;

export const GREETING_MAGIC = Buffer.from('NBDMAGIC');
export const OPTION_MAGIC = Buffer.from('IHAVEOPT');
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;

/** Handshake flags of the server; the client's have the same numbers. */
export const FIXED_NEWSTYLE = 1;
export const NO_ZEROES = 2;

export const OPTION = { startTls: 5, go: 7, structuredReply: 8, setMetaContext: 10 } as const;
export const REPLY_ACK = 1;
export const REPLY_INFO = 3;
export const REPLY_META_CONTEXT = 4;
const REPLY_ERROR = 0x8000_0000;
/** Of {@link REPLY_INFO}. */
export const INFO_EXPORT = 0;
export const INFO_BLOCK_SIZE = 3;
/** Which parts of the export read as zeros. */
export const BASE_ALLOCATION = 'base:allocation';

/** Transmission flags. */
export const HAS_FLAGS = 1;
export const READ_ONLY = 2;
export const SEND_FLUSH = 4;
export const SEND_WRITE_ZEROES = 64;
export const CAN_MULTI_CONN = 256;

export const COMMAND = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  writeZeroes: 6,
  blockStatus: 7,
} as const;
export type Command = (typeof COMMAND)[keyof typeof COMMAND];

const REQUEST_MAGIC = 0x25609513;
export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const SIMPLE_REPLY_BYTES = 16;
export const STRUCTURED_REPLY_BYTES = 20;

export const CHUNK_DONE = 1;
export const CHUNK = { none: 0, offsetData: 1, offsetHole: 2, blockStatus: 5 } as const;
/** Types with this bit are errors. */
export const CHUNK_ERROR = 0x8000;
export const CHUNK_ERROR_OFFSET = 0x8002;

/** In a status of {@link BASE_ALLOCATION}: reads as zeros. */
export const STATE_ZERO = 2;

const ERRNOS: Readonly<Record<number, string>> = {
  1: 'EPERM',
  5: 'EIO',
  12: 'ENOMEM',
  22: 'EINVAL',
  28: 'ENOSPC',
  75: 'EOVERFLOW',
  95: 'ENOTSUP',
  108: 'ESHUTDOWN',
};

/** What the server answers to a request; its `code` is that of the system's errors. */
export class NbdError extends Error {
  static {
    this.prototype.name = 'NbdError';
  }
  readonly code: string;

  constructor(number: number, text: string) {
    super(text);
    // A number that the protocol does not have counts as this one.
    this.code = ERRNOS[number] ?? 'EINVAL';
  }
}

export interface Request {
  readonly command: Command;
  readonly cookie: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

export function encodeRequest({ command, cookie, offset, lengthBytes }: Request): Buffer {
  const head = Buffer.alloc(REQUEST_BYTES);
  head.writeUInt32BE(REQUEST_MAGIC, 0);
  head.writeUInt16BE(command, 6);
  head.writeUInt32BE(cookie, 12);
  head.writeBigUInt64BE(BigInt(offset), 16);
  head.writeUInt32BE(lengthBytes, 24);
  return head;
}

export function encodeOption(option: number, data: Buffer): Buffer {
  const head = Buffer.alloc(16);
  OPTION_MAGIC.copy(head);
  head.writeUInt32BE(option, 8);
  head.writeUInt32BE(data.length, 12);
  return Buffer.concat([head, data]);
}

/** A string with its length before it. */
export function encodeText(text: string): Buffer {
  const bytes = Buffer.from(text);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(bytes.length);
  return Buffer.concat([head, bytes]);
}

export const OPTION_REPLY_BYTES = 20;

export interface OptionReply {
  readonly type: number;
  readonly lengthBytes: number;
}

/** @returns undefined if it is not the head of a reply to this option. */
export function decodeOptionReply(head: Buffer, option: number): OptionReply | undefined {
  if (head.readBigUInt64BE(0) !== OPTION_REPLY_MAGIC || head.readUInt32BE(8) !== option) return undefined;
  return { type: head.readUInt32BE(12), lengthBytes: head.readUInt32BE(16) };
}

/** What a reply refuses with; undefined of any other reply. */
export function optionErrorOf(type: number): string | undefined {
  if (type < REPLY_ERROR) return undefined;
  const reasons: Readonly<Record<number, string>> = {
    1: 'unsupported',
    2: 'forbidden',
    3: 'invalid',
    4: 'not supported on its platform',
    5: 'it wants TLS',
    6: 'there is no such export',
    7: 'it is shutting down',
    8: 'it wants block sizes',
    9: 'too large',
  };
  return reasons[type - REPLY_ERROR] ?? `error ${type - REPLY_ERROR}`;
}
/** Of {@link optionErrorOf}. */
export const UNSUPPORTED = 'unsupported';
export const WANTS_TLS = 'it wants TLS';
