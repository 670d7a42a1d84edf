/**
 * An object store in memory whose answers take their time: a request has its effect at some moment between
 * being sent and being answered. It finds out at once when a chunk is missing that a copy needs.
 */
import assert from 'node:assert/strict';
import { SWEEP_KEY } from '../../common/store/collecting.ts';
import type { ListedObject } from '../../common/store/s3-answers.ts';
import type { ObjectStore, StoredCopy } from '../../common/store/object-store.ts';
import type { FakeClock } from '../support/fake-clock.ts';
import type { Prng } from '../support/prng.ts';

const PAGE = 4;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
/** Most that a client takes for a request that deletes, with its repetitions. */
const DELETION_MS_MAX = 6 * MINUTE_MS;

interface StoredObject {
  readonly bytes: Buffer;
  readonly modifiedAtMs: number;
}

export class SimulatedService {
  readonly clock: FakeClock;
  readonly prng: Prng;
  readonly objects = new Map<string, StoredObject>();
  /** Chunks that were missing when a copy needed them. */
  readonly violations: string[] = [];
  deletedChunks = 0;
  #sweepBegun = Promise.withResolvers<void>();

  constructor(clock: FakeClock, prng: Prng) {
    this.clock = clock;
    this.prng = prng;
  }

  /** Resolves when a collection begins the next time. */
  async sweep(): Promise<void> {
    await this.#sweepBegun.promise;
  }

  /** Keys of chunks that no sealed copy needs. */
  unneeded(): string[] {
    const needed = new Set<string>();
    for (const [copy, { bytes }] of this.objects) {
      if (copy.startsWith('copies/')) for (const chunk of chunksOf(bytes)) needed.add(chunk);
    }
    return [...this.objects.keys()].filter((key) => key.startsWith('chunks/') && !needed.has(key));
  }

  put(key: string, bytes: Buffer): void {
    if (key === SWEEP_KEY && !this.objects.has(key)) {
      this.#sweepBegun.resolve();
      this.#sweepBegun = Promise.withResolvers();
    }
    this.objects.set(key, { bytes, modifiedAtMs: this.clock.wallMs() });
    if (!key.startsWith('copies/')) return;
    for (const chunk of chunksOf(bytes)) {
      if (!this.objects.has(chunk)) this.violations.push(`${key} was sealed without ${chunk}`);
    }
  }

  delete(key: string): void {
    if (!this.objects.delete(key) || !key.startsWith('chunks/')) return;
    this.deletedChunks++;
    for (const [copy, { bytes }] of this.objects) {
      const isNeeded = copy.startsWith('copies/') && chunksOf(bytes).has(key);
      if (isNeeded) this.violations.push(`${copy} lost ${key}`);
    }
  }
}

function chunksOf(manifest: Buffer): Set<string> {
  const digests = manifest.subarray(manifest.indexOf('\n') + 1);
  const chunks = new Set<string>();
  for (let at = 0; at < digests.length; at += 32) chunks.add(keyOf(digests.subarray(at, at + 32)));
  return chunks;
}

function keyOf(digest: Buffer): string {
  return `chunks/${digest.toString('hex')}`;
}

export interface Slowness {
  /** Of this many requests one is slow. */
  readonly oneIn: number;
  readonly msMax: number;
}

/** A client that waits for the service may do so for hours. */
const OUTAGES: Slowness = { oneIn: 200, msMax: 3 * 60 * MINUTE_MS };

/** One client of it. The methods are those of ObjectStore. */
export class SimulatedStore {
  readonly name = {
    bucket: 'sim',
    prefix: '',
    copy: undefined,
    when: undefined,
    store: 's3://sim',
    name: '',
  };
  readonly #service: SimulatedService;
  readonly #slowness: Slowness;
  #isKilled = false;

  constructor(service: SimulatedService, slowness: Slowness = OUTAGES) {
    this.#service = service;
    this.#slowness = slowness;
  }

  /** For code that takes the real one. */
  get asStore(): ObjectStore {
    return this as unknown as ObjectStore;
  }

  /** What it has sent has its effect; nothing is answered any more. */
  kill(): void {
    this.#isKilled = true;
  }

  async begin(): Promise<void> {
    await this.#request(() => {});
  }

  chunkKey(digest: Buffer): string {
    return keyOf(digest);
  }

  copyKey(name: string, sealedAt: string, transferId: string): string {
    return `copies/${name}/${sealedAt}-${transferId}`;
  }

  async putChunk(bytes: Buffer, digest: Buffer): Promise<boolean> {
    return await this.putNew(keyOf(digest), bytes.subarray(0, 1));
  }

  async replaceChunk(bytes: Buffer, digest: Buffer): Promise<void> {
    await this.put(keyOf(digest), bytes.subarray(0, 1));
  }

  async readChunk(_into: Buffer, digest: Buffer): Promise<'equal' | 'absent'> {
    return (await this.get(keyOf(digest))) === undefined ? 'absent' : 'equal';
  }

  async checkChunk(digest: Buffer): Promise<'equal' | 'absent'> {
    return await this.readChunk(Buffer.alloc(0), digest);
  }

  async *chunks(): AsyncIterable<ListedObject & { digest: Buffer }> {
    for await (const object of this.list('chunks/')) {
      yield { ...object, digest: Buffer.from(object.key.slice('chunks/'.length), 'hex') };
    }
  }

  async copies(name?: string): Promise<StoredCopy[]> {
    const found: StoredCopy[] = [];
    for await (const { key, sizeBytes } of this.list(name === undefined ? 'copies/' : `copies/${name}/`)) {
      const [, copy = '', when = '', transferId = ''] = /^copies\/(.+)\/(.+Z)-(.+)$/.exec(key) ?? [];
      found.push({ key, name: copy, when, transferId, sizeBytes });
    }
    return found;
  }

  async get(key: string): Promise<Buffer | undefined> {
    return await this.#request(() => this.#service.objects.get(key)?.bytes);
  }

  async getSized(key: string, lengthBytes: number): Promise<Buffer | undefined> {
    const bytes = await this.get(key);
    assert(bytes === undefined || bytes.length === lengthBytes, 'as it was listed');
    return bytes;
  }

  async put(key: string, bytes: Buffer): Promise<void> {
    await this.#request(() => this.#service.put(key, bytes));
  }

  async putNew(key: string, bytes: Buffer): Promise<boolean> {
    return await this.#request(() => {
      if (this.#service.objects.has(key)) return false;
      this.#service.put(key, bytes);
      return true;
    });
  }

  async delete(key: string): Promise<void> {
    await this.#request(() => this.#service.delete(key), Math.min(DELETION_MS_MAX, this.#slowness.msMax));
  }

  async modifiedAtMs(key: string): Promise<number | undefined> {
    return await this.#request(() => this.#service.objects.get(key)?.modifiedAtMs);
  }

  async nowMs(): Promise<number> {
    return await this.#request(() => this.#service.clock.wallMs());
  }

  /** Each page is of its own moment. */
  async *list(folder: string): AsyncIterable<ListedObject> {
    let last = '';
    for (;;) {
      const page = await this.#request(() => this.#pageAfter(folder, last));
      yield* page;
      if (page.length < PAGE) return;
      last = page.at(-1)?.key ?? '';
    }
  }

  #pageAfter(folder: string, last: string): ListedObject[] {
    const keys = [...this.#service.objects.keys()].filter((key) => key.startsWith(folder) && key > last);
    return keys
      .toSorted()
      .slice(0, PAGE)
      .map((key) => {
        const { bytes, modifiedAtMs } = this.#service.objects.get(key) ?? { bytes: '', modifiedAtMs: 0 };
        return { key, sizeBytes: bytes.length, modifiedAtMs };
      });
  }

  async #request<Result>(effect: () => Result, msMax = this.#slowness.msMax): Promise<Result> {
    if (this.#isKilled) return await new Promise<never>(() => {});
    const ms = this.#delayMs(msMax);
    const beforeMs = this.#service.prng.below(ms + 1);
    await this.#service.clock.sleep(beforeMs);
    const result = effect();
    await this.#service.clock.sleep(ms - beforeMs);
    return this.#isKilled ? await new Promise<never>(() => {}) : result;
  }

  /** Short as a rule. */
  #delayMs(msMax: number): number {
    const { prng } = this.#service;
    if (prng.below(this.#slowness.oneIn) === 0) return prng.below(msMax);
    return prng.below(prng.below(20) === 0 ? MINUTE_MS : SECOND_MS);
  }
}
