/**
 * A store of copies in a bucket: chunks under the SHA-256 of their bytes, one manifest a copy, what other
 * receivers need of a running transfer. docs/design/object-store.md has the layout.
 */
import { createHash, hash } from 'node:crypto';
import { TransferError, errnoOf, reasonOf } from '../errors.ts';
import { authoritiesOf, isDistrust } from './authorities.ts';
import { readProfile, type Environment } from './aws-profile.ts';
import { credentialSource } from './credentials.ts';
import { fetchChunk, type ChunkPart, type ChunkState, type TakeChunk } from './fetch-chunk.ts';
import { decodeHead, decodeManifest, HEAD_BYTES_MAX, type Manifest } from './manifest.ts';
import { S3Error, parseListing, type ListedObject } from './s3-answers.ts';
import { S3Client, type S3Answer, type S3Request, type TellOutage } from './s3-client.ts';
import type { StoreName } from './store-name.ts';

const REGION_DEFAULT = 'us-east-1';
const MARKER = 'ddt-store.json';
const FORMAT = { format: 'dd-transfer store', version: 1 };
/** Of a receipt that lists no areas. */
const HEAD_BYTES_USUAL = 16 * 1024;
const LINE_END = 0x0a;
const DIGEST_TEXT = /^[\da-f]{64}$/;

export interface StoreOptions {
  /** `--s3-endpoint`. */
  readonly endpoint: string | undefined;
  readonly environment: Environment;
}

export type { ChunkState } from './fetch-chunk.ts';

export class ObjectStore implements AsyncDisposable {
  readonly name: StoreName;
  readonly #client: S3Client;

  /**
   * Finds out whether it may be used: the bucket is there, the credentials are right.
   * @throws TransferError `usage`, `connection-failed`.
   */
  static async open(name: StoreName, { endpoint, environment }: StoreOptions): Promise<ObjectStore> {
    const profile = await readProfile(environment);
    const region =
      environment['AWS_REGION'] ?? environment['AWS_DEFAULT_REGION'] ?? profile['region'] ?? REGION_DEFAULT;
    const given =
      endpoint ??
      environment['AWS_ENDPOINT_URL_S3'] ??
      environment['AWS_ENDPOINT_URL'] ??
      profile['endpoint_url'];
    const url = parseEndpoint(given ?? `https://s3.${region}.amazonaws.com`);
    const client = new S3Client({
      name: name.store,
      endpoint: url,
      bucket: name.bucket,
      // Certificates of Amazon cover one label before their name.
      isPathStyle: given !== undefined || name.bucket.includes('.'),
      region,
      credentials: credentialSource(environment, profile),
      authorities: url.protocol === 'https:' ? await authoritiesOf(environment, profile) : undefined,
    });
    const store = new ObjectStore(name, client);
    try {
      await store.#checkMarker();
      return store;
    } catch (error) {
      await client[Symbol.asyncDispose]();
      throw cannotOpen(name.store, error);
    }
  }

  private constructor(name: StoreName, client: S3Client) {
    this.name = name;
    this.#client = client;
  }

  /** How often the service was waited for. */
  get lossCount(): number {
    return this.#client.lossCount;
  }

  /** From here on a service that is away is waited for, however long. */
  reportOutages(tell: TellOutage): void {
    this.#client.reportOutages(tell);
  }

  stopWaiting(): void {
    this.#client.stopWaiting();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client[Symbol.asyncDispose]();
  }

  /** Says in the bucket that this is a store; once. @throws S3Error, Error. */
  async begin(): Promise<void> {
    await this.putNew(MARKER, Buffer.from(`${JSON.stringify(FORMAT)}\n`));
  }

  // Chunks.

  /** In messages and in the bucket. @param digest 32 bytes, SHA-256 of the chunk. */
  chunkKey(digest: Buffer): string {
    const hex = digest.toString('hex');
    return `chunks/${hex.slice(0, 2)}/${hex.slice(2, 4)}/${hex}`;
  }

  /**
   * Stores it unless it is there; what is there is not read.
   * @param bytes left alone until it resolves. @returns false if there is one of this name already.
   * @throws S3Error, Error.
   */
  async putChunk(bytes: Buffer, digest: Buffer): Promise<boolean> {
    const headers = { 'if-none-match': '*' };
    const sha256 = digest.toString('hex');
    return (await this.#put({ key: this.chunkKey(digest), headers, body: bytes, sha256 })).status !== 412;
  }

  /** In the place of what is there: damaged, or to be younger. @throws S3Error, Error. */
  async replaceChunk(bytes: Buffer, digest: Buffer): Promise<void> {
    await this.#put({ key: this.chunkKey(digest), body: bytes, sha256: digest.toString('hex') });
  }

  /**
   * Reads it and compares its bytes with its name.
   * @param into exactly as long as the chunk. @throws S3Error, Error.
   */
  async readChunk(into: Buffer, digest: Buffer, signal?: AbortSignal): Promise<ChunkState> {
    const take: TakeChunk['take'] = (part, at) => void part.copy(into, at);
    const state = await this.#fetchChunk(digest, { lengthBytes: into.length }, { take }, signal);
    if (state !== 'equal') return state;
    return hash('sha256', into, 'buffer').equals(digest) ? 'equal' : 'different';
  }

  /** As {@link readChunk}, without keeping its bytes. @throws S3Error, Error. */
  async checkChunk(digest: Buffer, lengthBytes: number): Promise<ChunkState> {
    let sha256 = createHash('sha256');
    const begin = (): void => void (sha256 = createHash('sha256'));
    const take = (part: Buffer): void => void sha256.update(part);
    const state = await this.#fetchChunk(digest, { lengthBytes }, { begin, take });
    if (state !== 'equal') return state;
    return sha256.digest().equals(digest) ? 'equal' : 'different';
  }

  /**
   * Reads it, or a part of it, without comparing: `equal` says that it is there and has its length.
   * @throws S3Error, Error.
   */
  async loadChunk(into: Buffer, digest: Buffer, part?: Omit<ChunkPart, 'lengthBytes'>): Promise<ChunkState> {
    const take: TakeChunk['take'] = (bytes, at) => void bytes.copy(into, at);
    return await this.#fetchChunk(digest, { lengthBytes: into.length, ...part }, { take });
  }

  async #fetchChunk(
    digest: Buffer,
    part: ChunkPart,
    take: TakeChunk,
    signal?: AbortSignal,
  ): Promise<ChunkState> {
    return await fetchChunk(this.#client, this.#keyOf(this.chunkKey(digest)), part, take, signal);
  }

  /** Every chunk, in the order of the digests; its own name tells the digest. @throws S3Error, Error. */
  async *chunks(): AsyncIterable<ListedObject & { digest: Buffer }> {
    for await (const object of this.list('chunks/')) {
      const hex = object.key.slice(-64);
      if (DIGEST_TEXT.test(hex)) yield { ...object, digest: Buffer.from(hex, 'hex') };
    }
  }

  // Copies.

  /**
   * Of one name, the oldest first.
   * @param sealedAt as in the receipt, `2026-11-29T14:30:00.123Z`.
   */
  copyKey(name: string, sealedAt: string, transferId: string): string {
    return `copies/${name}/${sealedAt}-${transferId}`;
  }

  /** Of all names, by name and then by time. @throws S3Error, Error. */
  async copies(name?: string): Promise<StoredCopy[]> {
    const found: StoredCopy[] = [];
    for await (const { key, sizeBytes } of this.list(name === undefined ? 'copies/' : `copies/${name}/`)) {
      const [, copy, when, transferId] = /^copies\/([^/]+)\/([^/]+Z)-([\da-f-]{36})$/.exec(key) ?? [];
      if (copy === undefined || when === undefined || transferId === undefined) continue;
      found.push({ key, name: copy, when, transferId, sizeBytes });
    }
    return found;
  }

  /** The first line of it only. @throws S3Error, Error; TransferError `source-refused`. */
  async readCopyHead({ key }: StoredCopy): Promise<ReturnType<typeof decodeHead>> {
    const read = async (lengthBytes: number): Promise<Buffer | undefined> =>
      await this.get(key, { range: `bytes=0-${lengthBytes - 1}` });
    const bytes = await read(HEAD_BYTES_USUAL);
    const isCut = bytes !== undefined && !bytes.includes(LINE_END);
    return this.#decode(key, isCut ? await read(HEAD_BYTES_MAX) : bytes, decodeHead);
  }

  /** @throws S3Error, Error; TransferError `source-refused`: it is gone, damaged or of a newer version. */
  async readCopy(copy: StoredCopy): Promise<Manifest> {
    const { key, sizeBytes, name, when, transferId } = copy;
    return this.#decode(key, await this.getSized(key, sizeBytes), (bytes) => {
      const manifest = decodeManifest(bytes);
      const { sealedAt, transferId: id } = manifest.receipt;
      if (manifest.head.name === name && sealedAt === when && id === transferId) return manifest;
      throw new Error(`it is that of another copy: ${manifest.head.name}@${sealedAt}`);
    });
  }

  #decode<Result>(key: string, bytes: Buffer | undefined, decode: (bytes: Buffer) => Result): Result {
    const what = `the manifest ${this.name.store}/${key}`;
    if (bytes === undefined) throw new TransferError('source-refused', `${what} is not there any more`);
    try {
      return decode(bytes);
    } catch (error) {
      throw new TransferError('source-refused', `cannot use ${what}: ${reasonOf(error)}`, { cause: error });
    }
  }

  // Objects of any kind.

  /** @returns undefined where there is none. @throws S3Error, Error. */
  async get(key: string, headers: Readonly<Record<string, string>> = {}): Promise<Buffer | undefined> {
    const answer = await this.#client.request({ method: 'GET', key: this.#keyOf(key), headers });
    return answer.status === 404 ? undefined : answer.body;
  }

  /** A large one. @param lengthBytes as it was listed. @throws S3Error, Error also where it has another. */
  async getSized(key: string, lengthBytes: number): Promise<Buffer | undefined> {
    const bytes = Buffer.alloc(lengthBytes);
    let at = 0;
    const { status } = await this.#client.fetch(
      { method: 'GET', key: this.#keyOf(key) },
      {
        begin: () => {
          at = 0;
        },
        take: (part) => {
          if (at + part.length > lengthBytes) throw new Error(`${key} is longer than it was listed`);
          part.copy(bytes, at);
          at += part.length;
        },
      },
    );
    if (status === 404) return undefined;
    if (at !== lengthBytes) throw new Error(`${key} is shorter than it was listed`);
    return bytes;
  }

  /** @throws S3Error, Error. */
  async put(key: string, body: Buffer): Promise<void> {
    await this.#put({ key, body });
  }

  /**
   * Not every service keeps this condition, and one that lost the answer to the first attempt refuses the
   * second: read it again to know.
   * @returns false if there is one. @throws S3Error, Error.
   */
  async putNew(key: string, body: Buffer): Promise<boolean> {
    return (await this.#put({ key, body, headers: { 'if-none-match': '*' } })).status !== 412;
  }

  /** Also of what is not there. @throws S3Error, Error. */
  async delete(key: string): Promise<void> {
    await this.#client.request({ method: 'DELETE', key: this.#keyOf(key) });
  }

  /** When it was written, by the service's clock; undefined: it is not there. @throws S3Error, Error. */
  async modifiedAtMs(key: string): Promise<number | undefined> {
    const { status, headers } = await this.#client.request({ method: 'HEAD', key: this.#keyOf(key) });
    return status === 404 ? undefined : Date.parse(headers['last-modified'] ?? '');
  }

  /** Now, by the service's clock, in milliseconds since 1970. @throws S3Error, Error. */
  async nowMs(): Promise<number> {
    const { headers } = await this.#client.request({ method: 'HEAD', key: this.#keyOf(MARKER) });
    const ms = Date.parse(headers['date'] ?? '');
    if (Number.isNaN(ms)) throw new Error('the service does not say what time it is');
    return ms;
  }

  /** Everything under a folder of the store, in the order of keys. @throws S3Error, Error. */
  async *list(folder: string): AsyncIterable<ListedObject> {
    const { prefix } = this.name;
    let token: string | undefined;
    do {
      const query = {
        'list-type': '2',
        'encoding-type': 'url',
        prefix: prefix + folder,
        ...(token === undefined ? {} : { 'continuation-token': token }),
      };
      const { status, body } = await this.#client.request({ method: 'GET', key: '', query });
      if (status === 404) throw new Error('there is no such bucket');
      const page = parseListing(body.toString('utf8'));
      for (const object of page.objects) {
        if (object.key.startsWith(prefix)) yield { ...object, key: object.key.slice(prefix.length) };
      }
      token = page.next;
    } while (token !== undefined);
  }

  async #put(request: Omit<S3Request, 'method'>): Promise<S3Answer> {
    const headers = { 'content-type': 'application/octet-stream', ...request.headers };
    const key = this.#keyOf(request.key);
    const answer = await this.#client.request({ ...request, headers, method: 'PUT', key });
    if (answer.status === 404) throw new Error('the service cannot store in this bucket: 404');
    return answer;
  }

  #keyOf(key: string): string {
    return this.name.prefix + key;
  }

  /** Also shows whether the bucket is there and may be read. */
  async #checkMarker(): Promise<void> {
    const marker = await this.get(MARKER);
    if (marker === undefined) {
      for await (const _ of this.list(MARKER)) break;
      return;
    }
    const found = parseMarker(marker);
    if (found.format === FORMAT.format && found.version === FORMAT.version) return;
    const what = `${this.name.store}/${MARKER} says version ${String(found.version)}`;
    throw new TransferError('usage', `${what}; this program knows version ${FORMAT.version}`, {
      hint: 'use a newer dd-transfer',
    });
  }
}

/** A manifest as it is listed. */
export interface StoredCopy {
  readonly key: string;
  readonly name: string;
  /** When it was sealed. */
  readonly when: string;
  readonly transferId: string;
  /** Of the manifest. */
  readonly sizeBytes: number;
}

function parseMarker(bytes: Buffer): { format?: unknown; version?: unknown } {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    return typeof value === 'object' && value !== null ? value : {};
  } catch {
    return {};
  }
}

/** @throws TransferError `usage`. */
function parseEndpoint(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isFine =
    url !== undefined &&
    ['http:', 'https:'].includes(url.protocol) &&
    url.username === '' &&
    url.search === '' &&
    url.hash === '';
  if (isFine) return url;
  throw new TransferError('usage', `cannot use the S3 endpoint '${text}'`, {
    hint: 'for example --s3-endpoint https://objects.example.com',
  });
}

function cannotOpen(name: string, error: unknown): TransferError {
  if (error instanceof TransferError && error.code !== 'connection-failed') return error;
  const reason = isDistrust(error)
    ? `the certificate of its service is not trusted: ${errnoOf(error)}`
    : reasonOf(error);
  return new TransferError('connection-failed', `cannot open ${name}: ${reason}`, {
    cause: error,
    ...hintFor(error),
  });
}

function hintFor(error: unknown): { hint?: string } {
  if (isDistrust(error)) {
    return { hint: 'AWS_CA_BUNDLE names a file with the certificate of the authority that has signed it' };
  }
  if (!(error instanceof S3Error)) return {};
  const { s3Code, region } = error;
  if (s3Code === 'NoSuchBucket') return { hint: 'make the bucket first, or correct its name' };
  if (s3Code === 'RequestTimeTooSkewed') return { hint: 'set the clock of this machine' };
  if (s3Code === 'InvalidAccessKeyId' || s3Code === 'SignatureDoesNotMatch') {
    return { hint: 'check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_PROFILE and --s3-endpoint' };
  }
  if (error.status === 403) return { hint: 'these credentials may not read or list the bucket' };
  if (region !== undefined) return { hint: `the bucket is in another region: set AWS_REGION=${region}` };
  return {};
}
