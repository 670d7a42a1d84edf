/**
 * Requests to an S3 service: signed, sent again while it is away, each with the SHA-256 of its body, which a
 * service that follows the rules compares before it stores anything.
 */
import { hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { SecureContext } from 'node:tls';
import { AwsV4Signer } from 'aws4fetch';
import { Pool, type Dispatcher } from 'undici';
import { systemRandom } from '../clock.ts';
import { TransferError, reasonOf } from '../errors.ts';
import { formatDuration } from '../units.ts';
import { isDistrust } from './authorities.ts';
import type { CredentialSource } from './credentials.ts';
import { parseError, S3Error } from './s3-answers.ts';

/** More than the lanes of most senders; a service works on each by itself. */
const CONNECTIONS_MAX = 32;
/** A service that stores a chunk on slow disks has this long. */
const HEADERS_TIMEOUT_MS = 60_000;
const BODY_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Between two attempts; doubled each time. */
const RETRY_DELAY_MS_MIN = 200;
const RETRY_DELAY_MS_MAX = 10_000;
/** Until somebody waits for the service: some seconds of it. */
const ATTEMPTS_MAX = 6;
/** A listing or an error; manifests and chunks have limits of their own. */
const TEXT_BYTES_MAX = 16 * 1024 * 1024;
const EMPTY_SHA256 = hash('sha256', '', 'hex');

/** Gets a sentence when the service is away, and when it is back. */
export type TellOutage = (sentence: string, isGone: boolean) => void;

export interface S3Options {
  /** Of messages: `s3://bucket/prefix`. */
  readonly name: string;
  readonly endpoint: URL;
  readonly bucket: string;
  /** The bucket is in the path rather than in the host's name. */
  readonly isPathStyle: boolean;
  readonly region: string;
  readonly credentials: CredentialSource;
  /** Of a service with https. */
  readonly authorities: SecureContext | undefined;
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  /** Without a leading slash; '' is the bucket. */
  readonly key: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Of the body, in hexadecimal; computed where it is missing. */
  readonly sha256?: string;
  readonly signal?: AbortSignal | undefined;
}

export interface S3Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly body: Buffer;
}

/** Receives a body: `lengthBytes` comes first; @throws to refuse it. */
export interface Receive {
  begin(lengthBytes: number): void;
  take(part: Buffer): void;
}

export class S3Client implements AsyncDisposable {
  readonly #options: S3Options;
  readonly #pool: Pool;
  readonly #closing = new AbortController();
  #tell: TellOutage | undefined;
  #goneSinceMs: number | undefined;
  #lossCount = 0;

  constructor(options: S3Options) {
    this.#options = options;
    this.#pool = new Pool(originOf(options), {
      connections: CONNECTIONS_MAX,
      pipelining: 1,
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: BODY_TIMEOUT_MS,
      connect: {
        timeout: CONNECT_TIMEOUT_MS,
        ...(options.authorities === undefined ? {} : { secureContext: options.authorities }),
      },
    });
  }

  get name(): string {
    return this.#options.name;
  }

  /** How often it was waited for. */
  get lossCount(): number {
    return this.#lossCount;
  }

  /** From here on a service that is away is waited for, however long. */
  reportOutages(tell: TellOutage): void {
    this.#tell = tell;
  }

  /** What waits for it fails, now and later. */
  stopWaiting(): void {
    this.#closing.abort(new Error('it is not waited for any more'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error('it was closed'));
    await this.#pool.destroy();
  }

  /**
   * The answer, with its body in memory, of a 2xx, 404 or 412; a 404 of the bucket is an error.
   * @throws S3Error for any other status; Error where the service cannot be reached; the signal's reason.
   */
  async request(request: S3Request): Promise<S3Answer> {
    const parts: Buffer[] = [];
    let total = 0;
    const receive: Receive = {
      begin: () => {
        parts.length = 0;
        total = 0;
      },
      take: (part) => {
        total += part.length;
        if (total > TEXT_BYTES_MAX) throw new Error(`its answer has over ${TEXT_BYTES_MAX} bytes`);
        parts.push(part);
      },
    };
    const { status, headers } = await this.fetch(request, receive);
    return { status, headers, body: Buffer.concat(parts) };
  }

  /** As {@link request}; the body of a 2xx goes to `receive`, from its beginning with each attempt. */
  async fetch(request: S3Request, receive: Receive): Promise<Omit<S3Answer, 'body'>> {
    let delayMs = RETRY_DELAY_MS_MIN;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await this.#attempt(request, receive);
        this.#noteBack();
        return answer;
      } catch (error) {
        request.signal?.throwIfAborted();
        if (this.#closing.signal.aborted || !mayPass(error)) throw error;
        const isMany = attempt >= ATTEMPTS_MAX;
        if (isMany && (await this.#isOfObject(request, error))) throw new UnreadableObject(error);
        if (isMany && this.#tell === undefined) throw error;
        this.#noteGone(error);
      }
      // Half of it is by chance: writers that failed together do not come back together.
      await this.#sleep(delayMs * (0.5 + systemRandom() / 2), request.signal);
      delayMs = Math.min(RETRY_DELAY_MS_MAX, delayMs * 2);
    }
  }

  async #attempt(request: S3Request, receive: Receive): Promise<Omit<S3Answer, 'body'>> {
    const { method, key, query = {}, body, headers = {} } = request;
    const url = urlOf(this.#options, key, query);
    const sha256 = request.sha256 ?? (body === undefined ? EMPTY_SHA256 : hash('sha256', body, 'hex'));
    const signed = await this.#sign(method, url, { ...headers, 'x-amz-content-sha256': sha256 });
    const signal = either(request.signal, this.#closing.signal);
    const response = await this.#pool.request({
      method,
      path: signed.path,
      headers: signed.headers,
      signal,
      ...(body === undefined ? {} : { body }),
    });
    return await this.#read(request, response, receive);
  }

  /** Whether the service cannot read this object, and is there: waiting for it would not help. */
  async #isOfObject({ method, signal }: S3Request, error: unknown): Promise<boolean> {
    if (method !== 'GET' || !(error instanceof S3Error) || error.status !== 500) return false;
    try {
      await this.#attempt({ method: 'HEAD', key: '', signal }, { begin: () => {}, take: () => {} });
      return true;
    } catch {
      return false;
    }
  }

  async #sign(
    method: string,
    url: URL,
    headers: Readonly<Record<string, string>>,
  ): Promise<{ path: string; headers: Record<string, string> }> {
    const { accessKeyId, secretAccessKey, sessionToken } = await this.#options.credentials();
    const signer = new AwsV4Signer({
      method,
      url: url.href,
      headers: { ...headers },
      accessKeyId,
      secretAccessKey,
      service: 's3',
      region: this.#options.region,
      ...(sessionToken === undefined ? {} : { sessionToken }),
      // Also those that a browser would not send: If-None-Match, Range.
      allHeaders: true,
    });
    const { url: signedUrl, headers: signedHeaders } = await signer.sign();
    return { path: signedUrl.pathname + signedUrl.search, headers: Object.fromEntries(signedHeaders) };
  }

  async #read(
    { method }: S3Request,
    { statusCode: status, headers: rawHeaders, body }: Dispatcher.ResponseData,
    receive: Receive,
  ): Promise<Omit<S3Answer, 'body'>> {
    const headers = flat(rawHeaders);
    const isFine = status >= 200 && status < 300;
    if (isFine && method !== 'HEAD') {
      const lengthBytes = Number(headers['content-length'] ?? Number.NaN);
      let received = 0;
      try {
        receive.begin(lengthBytes);
        for await (const part of body as AsyncIterable<Buffer>) {
          received += part.length;
          receive.take(part);
        }
      } finally {
        if (!body.closed) body.destroy();
      }
      if (Number.isFinite(lengthBytes) && received !== lengthBytes) throw new CutOff();
      return { status, headers };
    }
    const text = await body.text();
    if (isFine) return { status, headers };
    const error = parseError(status, text, headers);
    const isExpected = status === 412 || (status === 404 && error.s3Code !== 'NoSuchBucket');
    if (isExpected) return { status, headers };
    throw error;
  }

  #noteGone(error: unknown): void {
    if (this.#tell === undefined || this.#goneSinceMs !== undefined) return;
    this.#goneSinceMs = performance.now();
    this.#lossCount++;
    this.#tell(`${this.name} does not answer as it should: ${reasonOf(error)}; trying again`, true);
  }

  #noteBack(): void {
    if (this.#goneSinceMs === undefined) return;
    const outageMs = performance.now() - this.#goneSinceMs;
    this.#goneSinceMs = undefined;
    this.#tell?.(`${this.name} is back after ${formatDuration(outageMs)}`, false);
  }

  async #sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    await delay(delayMs, undefined, { signal: either(signal, this.#closing.signal) });
  }
}

/** Of which the service says that it cannot read it, again and again, while it answers otherwise. */
export class UnreadableObject extends Error {
  constructor(cause: unknown) {
    super(reasonOf(cause), { cause });
  }
}

class CutOff extends Error {
  constructor() {
    super('the connection ended in the middle of its answer');
  }
}

function either(signal: AbortSignal | undefined, closing: AbortSignal): AbortSignal {
  return signal === undefined ? closing : AbortSignal.any([signal, closing]);
}

/** Whether the same request may succeed later; not what `receive` or the credentials have thrown. */
function mayPass(error: unknown): boolean {
  if (error instanceof S3Error) return error.isPassing;
  if (error instanceof CutOff) return true;
  if (error instanceof TransferError || !(error instanceof Error) || isDistrust(error)) return false;
  return 'code' in error && typeof error.code === 'string';
}

function originOf({ endpoint, bucket, isPathStyle }: S3Options): string {
  return isPathStyle ? endpoint.origin : `${endpoint.protocol}//${bucket}.${endpoint.host}`;
}

function urlOf(options: S3Options, key: string, query: Readonly<Record<string, string>>): URL {
  const { endpoint, bucket, isPathStyle } = options;
  const path = key.split('/').map(encodeURIComponent).join('/');
  const base = endpoint.pathname.replace(/\/$/, '');
  const url = new URL(`${originOf(options)}${base}${isPathStyle ? `/${bucket}` : ''}/${path}`);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  return url;
}

function flat(headers: Dispatcher.ResponseData['headers']): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : value]),
  );
}
