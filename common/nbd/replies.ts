/**
 * Reads the replies of an NBD server as their bytes come, and puts data where the request wants it. Whatever
 * a reply claims is compared with its request first: nothing is written anywhere else, and nothing is
 * collected without a bound.
 */
import assert from 'node:assert/strict';
import {
  CHUNK,
  CHUNK_DONE,
  CHUNK_ERROR,
  CHUNK_ERROR_OFFSET,
  COMMAND,
  NbdError,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_BYTES,
  STRUCTURED_REPLY_MAGIC,
  type Command,
} from './nbd-wire.ts';
import { printable } from '../text.ts';

/** Of one request; a server sends one for each hole, of 512 bytes or more. */
const CHUNKS_MAX = 16 * 1024;
const ERROR_BYTES_MAX = 6 + 8 + 4096;
/** qemu-nbd sends up to 2047 extents, of eight bytes. */
const STATUS_BYTES_MAX = 1024 * 1024;
const EXTENT_BYTES = 8;
/** Length of the error code and of the length of its text. */
const ERROR_HEAD_BYTES = 6;

/** A part of the export with one status. */
export interface Extent {
  readonly lengthBytes: number;
  readonly state: number;
}

/** A request without its reply. */
export interface Awaited {
  readonly command: Command;
  readonly offset: number;
  readonly lengthBytes: number;
  /** For the data; as long as the request. */
  readonly into: Buffer | undefined;
  /** Parts of it that have come. */
  readonly parts: [start: number, end: number][];
  chunkCount: number;
  extents: readonly Extent[] | undefined;
  error: NbdError | undefined;
}

export interface ReplyEvents {
  /** @returns undefined: no such request waits. */
  readonly find: (cookie: number) => Awaited | undefined;
  readonly onDone: (cookie: number, request: Awaited) => void;
}

/** The server breaks the protocol: nothing that follows can be understood. */
export class BrokenReply extends Error {
  static {
    this.prototype.name = 'BrokenReply';
  }
}

export class Replies {
  readonly #events: ReplyEvents;
  readonly #isStructured: boolean;
  readonly #contextId: number | undefined;
  readonly #head = Buffer.alloc(STRUCTURED_REPLY_BYTES + 12);
  #into: Buffer;
  #filled = 0;
  #then: () => void = () => this.#onMagic();

  constructor(
    events: ReplyEvents,
    { isStructured, contextId }: { isStructured: boolean; contextId: number | undefined },
  ) {
    this.#events = events;
    this.#isStructured = isStructured;
    this.#contextId = contextId;
    this.#into = this.#head.subarray(0, SIMPLE_REPLY_BYTES);
  }

  /** @throws BrokenReply. */
  push(chunk: Buffer): void {
    for (let at = 0; at < chunk.length;) {
      const taken = chunk.copy(this.#into, this.#filled, at);
      at += taken;
      this.#filled += taken;
      if (this.#filled === this.#into.length) this.#then();
    }
  }

  /** @param into filled before `then` is called; empty: it is called at once. */
  #expect(into: Buffer, then: () => void): void {
    [this.#into, this.#filled, this.#then] = [into, 0, then];
    if (into.length === 0) then();
  }

  #expectReply(): void {
    this.#expect(this.#head.subarray(0, SIMPLE_REPLY_BYTES), () => this.#onMagic());
  }

  #onMagic(): void {
    const magic = this.#head.readUInt32BE();
    if (magic === SIMPLE_REPLY_MAGIC) this.#onSimple();
    else if (magic === STRUCTURED_REPLY_MAGIC && this.#isStructured) {
      const rest = this.#head.subarray(SIMPLE_REPLY_BYTES, STRUCTURED_REPLY_BYTES);
      this.#expect(rest, () => this.#onChunk());
    } else throw new BrokenReply(`a reply begins with ${magic.toString(16)}`);
  }

  #requestOf(cookie: bigint): [number, Awaited] {
    const number = cookie <= 0xffff_ffffn ? Number(cookie) : -1;
    const request = this.#events.find(number);
    if (request === undefined) throw new BrokenReply('it replies to a request that was not sent');
    return [number, request];
  }

  #onSimple(): void {
    const number = this.#head.readUInt32BE(4);
    const [cookie, request] = this.#requestOf(this.#head.readBigUInt64BE(8));
    if (request.chunkCount > 0) throw new BrokenReply('it replies twice to one request');
    if (number !== 0) request.error = new NbdError(number, 'the server refuses it');
    const { command, into } = request;
    const hasData = number === 0 && command === COMMAND.read;
    const mustBeStructured =
      command === COMMAND.blockStatus || (this.#isStructured && command === COMMAND.read);
    if (number === 0 && mustBeStructured) throw new BrokenReply('a simple reply where it promised another');
    if (!hasData) {
      this.#expectReply();
      this.#events.onDone(cookie, request);
      return;
    }
    assert(into !== undefined);
    this.#expect(into, () => {
      request.parts.push([0, request.lengthBytes]);
      this.#expectReply();
      this.#events.onDone(cookie, request);
    });
  }

  #onChunk(): void {
    const [flags, type] = [this.#head.readUInt16BE(4), this.#head.readUInt16BE(6)];
    const [cookie, request] = this.#requestOf(this.#head.readBigUInt64BE(8));
    const lengthBytes = this.#head.readUInt32BE(16);
    if (++request.chunkCount > CHUNKS_MAX) throw new BrokenReply('its reply to a request does not end');
    const end = (): void => {
      this.#expectReply();
      if ((flags & CHUNK_DONE) !== 0) this.#events.onDone(cookie, request);
    };
    if ((type & CHUNK_ERROR) !== 0) this.#onErrorChunk(request, { type, lengthBytes, end });
    else if (type === CHUNK.none) {
      if (lengthBytes !== 0 || (flags & CHUNK_DONE) === 0) throw new BrokenReply('an empty part with data');
      end();
    } else if (type === CHUNK.blockStatus) this.#onStatus(request, lengthBytes, end);
    else if (type === CHUNK.offsetData || type === CHUNK.offsetHole) {
      this.#onDataChunk(request, { isHole: type === CHUNK.offsetHole, lengthBytes, end });
    } else throw new BrokenReply(`a part of an unknown kind ${type}`);
  }

  #onDataChunk(
    request: Awaited,
    { isHole, lengthBytes, end }: { isHole: boolean; lengthBytes: number; end: () => void },
  ): void {
    const { into } = request;
    const headBytes = isHole ? 12 : 8;
    const isFine = isHole ? lengthBytes === headBytes : lengthBytes > headBytes;
    if (into === undefined || !isFine) throw new BrokenReply('data that was not asked for');
    const head = this.#head.subarray(STRUCTURED_REPLY_BYTES, STRUCTURED_REPLY_BYTES + headBytes);
    this.#expect(head, () => {
      const start = Number(head.readBigUInt64BE()) - request.offset;
      const dataBytes = isHole ? head.readUInt32BE(8) : lengthBytes - headBytes;
      if (start < 0 || dataBytes === 0 || start + dataBytes > request.lengthBytes)
        throw new BrokenReply('data outside of what was asked for');
      request.parts.push([start, start + dataBytes]);
      const place = into.subarray(start, start + dataBytes);
      if (isHole) {
        place.fill(0);
        end();
      } else this.#expect(place, end);
    });
  }

  #onStatus(request: Awaited, lengthBytes: number, end: () => void): void {
    const extentBytes = lengthBytes - 4;
    const isFine =
      request.command === COMMAND.blockStatus &&
      request.extents === undefined &&
      extentBytes > 0 &&
      extentBytes % EXTENT_BYTES === 0 &&
      lengthBytes <= STATUS_BYTES_MAX;
    if (!isFine) throw new BrokenReply('a status of another form');
    const body = Buffer.alloc(lengthBytes);
    this.#expect(body, () => {
      if (body.readUInt32BE() !== this.#contextId) throw new BrokenReply('a status that was not asked for');
      const extents: Extent[] = [];
      for (let at = 4; at < lengthBytes; at += EXTENT_BYTES) {
        const extent = { lengthBytes: body.readUInt32BE(at), state: body.readUInt32BE(at + 4) };
        if (extent.lengthBytes === 0) throw new BrokenReply('a status of nothing');
        extents.push(extent);
      }
      request.extents = extents;
      end();
    });
  }

  #onErrorChunk(
    request: Awaited,
    { type, lengthBytes, end }: { type: number; lengthBytes: number; end: () => void },
  ): void {
    const leastBytes = ERROR_HEAD_BYTES + (type === CHUNK_ERROR_OFFSET ? 8 : 0);
    if (lengthBytes < leastBytes || lengthBytes > ERROR_BYTES_MAX)
      throw new BrokenReply('an error of another form');
    const body = Buffer.alloc(lengthBytes);
    this.#expect(body, () => {
      const [number, textBytes] = [body.readUInt32BE(), body.readUInt16BE(4)];
      if (number === 0 || textBytes + leastBytes > lengthBytes)
        throw new BrokenReply('an error of another form');
      const text = printable(body.toString('utf8', ERROR_HEAD_BYTES, ERROR_HEAD_BYTES + textBytes));
      request.error ??= new NbdError(number, text === '' ? 'the server refuses it' : text);
      end();
    });
  }
}

/** Whether the parts are all of the request, each once. */
export function isWhole({ parts, lengthBytes }: Pick<Awaited, 'parts' | 'lengthBytes'>): boolean {
  let end = 0;
  for (const [from, to] of parts.toSorted((one, other) => one[0] - other[0])) {
    if (from !== end) return false;
    end = to;
  }
  return end === lengthBytes;
}
