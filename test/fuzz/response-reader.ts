/** Responses of a server, taken from the bytes of a connection strictly: what is not HTTP/1.1 is an error. */
import type { TLSSocket } from 'node:tls';

export interface RawResponse {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

const HEAD_END = Buffer.from('\r\n\r\n');
/** Of a head, and of a body. */
const BYTES_MAX = 32 * 1024 * 1024;

export class MalformedResponse extends Error {}

export class ResponseReader {
  #bytes: Buffer = Buffer.alloc(0);
  #isClosed = false;
  #wake: () => void = () => {};

  constructor(socket: TLSSocket) {
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wake();
    });
    const close = (): void => {
      this.#isClosed = true;
      this.#wake();
    };
    socket.on('end', close).on('close', close).on('error', close);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * The next response that is not 1xx.
   * @returns undefined when the server closes the connection or the time is over first.
   * @throws MalformedResponse.
   */
  async next(method: string, timeoutMs: number): Promise<RawResponse | undefined> {
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const response = this.#take(method);
      if (response !== undefined && response.status >= 200) return response;
      if (response !== undefined) continue;
      if (this.#isClosed || performance.now() >= endMs) return undefined;
      await this.#change(endMs - performance.now());
    }
  }

  async #change(timeoutMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.max(1, timeoutMs));
    this.#wake = resolve;
    await promise;
    clearTimeout(timer);
  }

  #take(method: string): RawResponse | undefined {
    const end = this.#bytes.indexOf(HEAD_END);
    if (end < 0) {
      if (this.#bytes.length > BYTES_MAX) throw new MalformedResponse('a head without an end');
      return undefined;
    }
    const [first = '', ...lines] = this.#bytes.toString('latin1', 0, end).split('\r\n');
    const status = Number(/^HTTP\/1\.1 ([1-5]\d\d) [ -~]+$/.exec(first)?.[1] ?? malformed(first));
    const headers = new Map(lines.map(headerOf));
    const from = end + HEAD_END.length;
    const hasBody = status >= 200 && status !== 204 && status !== 304 && method !== 'HEAD';
    const isChunked = hasBody && headers.get('transfer-encoding') === 'chunked';
    const found = isChunked
      ? chunksIn(this.#bytes, from)
      : bodyIn(this.#bytes, from, hasBody ? headers : NONE);
    if (found === undefined) return undefined;
    this.#bytes = this.#bytes.subarray(found.end);
    return { status, headers, body: found.body };
  }
}

function headerOf(line: string): [string, string] {
  const [, name = '', value = ''] = /^([A-Za-z0-9-]+): ([ -~]*)$/.exec(line) ?? malformed(line);
  return [name.toLowerCase(), value];
}

const NONE: ReadonlyMap<string, string> = new Map([['content-length', '0']]);

/** undefined while it is not whole. */
type Found = { readonly body: Buffer; readonly end: number } | undefined;

function bodyIn(bytes: Buffer, from: number, headers: ReadonlyMap<string, string>): Found {
  const end = from + bodyLengthOf(headers);
  return bytes.length < end ? undefined : { body: Buffer.from(bytes.subarray(from, end)), end };
}

function chunksIn(bytes: Buffer, from: number): Found {
  const chunks: Buffer[] = [];
  for (let at = from; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    const line = bytes.toString('latin1', at, lineEnd);
    const length = Number.parseInt(/^[0-9a-f]{1,7}$/.exec(line)?.[0] ?? malformed(`chunk ${line}`), 16);
    const end = lineEnd + 2 + length;
    if (bytes.length < end + 2) return undefined;
    if (bytes.toString('latin1', end, end + 2) !== '\r\n') malformed('a chunk of another length');
    chunks.push(bytes.subarray(lineEnd + 2, end));
    at = end + 2;
    if (length === 0) return { body: Buffer.concat(chunks), end: at };
  }
}

function bodyLengthOf(headers: ReadonlyMap<string, string>): number {
  const text = headers.get('content-length') ?? malformed('a body without a length');
  const length = /^\d{1,10}$/.test(text) ? Number(text) : NaN;
  return length <= BYTES_MAX ? length : malformed(`content-length ${text}`);
}

function malformed(what: string): never {
  throw new MalformedResponse(`malformed response: ${JSON.stringify(what.slice(0, 200))}`);
}
