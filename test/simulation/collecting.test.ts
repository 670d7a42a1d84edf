/**
 * Receivers, collections and people who forget copies, at once and at random, some of them killed: no chunk
 * is ever deleted that a copy needs. The real code over a store in memory, in simulated time.
 */
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { TransferError } from '../../common/errors.ts';
import type { StoredCopy } from '../../common/store/object-store.ts';
import { collect } from '../../receiver/store/collect.ts';
import { findToForget, forget } from '../../receiver/store/forget.ts';
import { StoreTarget } from '../../receiver/target/store-target.ts';
import type { BlockMap, TargetIdentity } from '../../receiver/target/target.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { prng, type Prng } from '../support/prng.ts';
import { KIB } from '../support/processes.ts';
import { signedReceipt } from '../support/signed-copy.ts';
import { SimulatedService, SimulatedStore } from './sim-store.ts';

const SEEDS = 2;
const HOUR_MS = 3_600_000;
const DAYS = 6;
const BLOCK = 64 * KIB;
/** All disks consist of these. */
const CONTENTS = Array.from({ length: 100 }, (_, at) => Buffer.alloc(BLOCK, at + 1));
const DIGESTS = CONTENTS.map((bytes) => hash('sha256', bytes, 'buffer'));
const ZERO_DIGEST = hash('sha256', Buffer.alloc(BLOCK), 'buffer');
const NAMES = Array.from({ length: 5 }, (_, at) => `web${at}`);

/** A collection takes its time. */
const SLOW = { oneIn: 5, msMax: 100_000 };

interface World {
  readonly clock: FakeClock;
  readonly prng: Prng;
  readonly service: SimulatedService;
  readonly endMs: number;
  sealed: number;
}

function identityOf(name: string): TargetIdentity {
  const nothing = { model: null, serial: null, wwn: null, byId: null, sizeBytes: null, fileId: null };
  return {
    kind: 'store',
    path: `s3://sim#${name}`,
    ...nothing,
    logicalSectorBytes: 512,
    description: 'copy',
  };
}

/** Numbers of contents; often only of those that no copy needs any more. */
function chooseDisk({ prng: random, service }: World): readonly number[] {
  const unneeded = random.below(4) === 0 ? [] : service.unneeded();
  const numbers = unneeded.map((key) => DIGESTS.findIndex((digest) => key.endsWith(digest.toString('hex'))));
  const from = numbers.length === 0 ? [...CONTENTS.keys()] : numbers;
  return Array.from({ length: 1 + random.below(4) }, () => from[random.below(from.length)] ?? 0);
}

/** A receiver with the blocks of one disk, as its sender brings them. */
class SimulatedReceiver {
  readonly #world: World;
  readonly #store: SimulatedStore;
  readonly #target: StoreTarget;
  /** Numbers of contents. */
  readonly #disk: readonly number[];
  readonly #table: Buffer;
  #isOver = false;

  constructor(world: World, name: string) {
    this.#world = world;
    this.#store = new SimulatedStore(world.service);
    this.#target = new StoreTarget(identityOf(name), this.#store.asStore, name);
    this.#disk = chooseDisk(world);
    this.#table = Buffer.alloc(32 * this.#disk.length);
    const map: BlockMap = {
      geometry: { sizeBytes: BLOCK * this.#disk.length, blockSizeBytes: BLOCK },
      digestOf: (index) => this.#digestAt(index),
      zeroDigestOf: () => ZERO_DIGEST,
    };
    this.#target.store.follow(map);
  }

  kill(): void {
    this.#isOver = true;
    this.#store.kill();
  }

  async run(): Promise<void> {
    const { transferId } = await this.#target.store.join(false);
    await this.#target.store.tend();
    void this.#tend();
    for (;;) {
      for (const index of this.#disk.keys()) await this.#bring(index);
      if (await this.#seal(transferId)) break;
      await this.#world.clock.sleep(10_000);
    }
    this.#isOver = true;
    this.#world.sealed++;
  }

  async #bring(index: number): Promise<void> {
    const { clock, prng: random } = this.#world;
    if (this.#digestAt(index).some((byte) => byte !== 0)) return;
    await clock.sleep(random.below(random.below(8) === 0 ? 10 * HOUR_MS : 10_000));
    const content = this.#disk[index] ?? 0;
    const [bytes, digest] = [CONTENTS[content], DIGESTS[content]];
    assert(bytes !== undefined && digest !== undefined);
    if ((await this.#target.store.holds(digest, BLOCK)) === undefined) {
      await this.#target.write(bytes, index * BLOCK, digest);
    }
    digest.copy(this.#table, index * 32);
  }

  /** @returns whether it is sealed; otherwise what is missing has to come again. */
  async #seal(transferId: string): Promise<boolean> {
    const sealedAt = new Date(this.#world.clock.wallMs()).toISOString();
    const digests = Buffer.from(this.#table);
    if (digests.length === 0 || this.#disk.some((_, index) => this.#isAbsent(index))) return false;
    const size = BLOCK * this.#disk.length;
    const signed = signedReceipt({ size, blockSize: BLOCK, digests, more: { transferId, sealedAt } });
    try {
      const missing = await this.#target.store.seal({ transferId, sealedAt, ...signed, digests });
      for (const index of missing) this.#forget(index);
      return missing.length === 0;
    } catch (error) {
      if (error instanceof TransferError && error.code === 'in-use') return false;
      throw error;
    }
  }

  async #tend(): Promise<void> {
    for (;;) {
      await this.#world.clock.sleep(HOUR_MS);
      if (this.#isOver) return;
      if (await this.#target.store.tend()) for (const index of this.#disk.keys()) this.#forget(index);
    }
  }

  #digestAt(index: number): Buffer {
    return this.#table.subarray(index * 32, index * 32 + 32);
  }

  #isAbsent(index: number): boolean {
    return this.#digestAt(index).every((byte) => byte === 0);
  }

  #forget(index: number): void {
    this.#digestAt(index).fill(0);
  }
}

/** One after the other onto each name; now and then one is killed, and another one continues. */
async function receiveAll(world: World, name: string): Promise<void> {
  const { clock, prng: random, endMs, service } = world;
  while (clock.wallMs() < endMs) {
    const receiver = new SimulatedReceiver(world, name);
    const done = receiver.run().then(
      () => true,
      // Somebody has forgotten its transfer, or sealed it.
      (error: unknown) => error instanceof TransferError && error.code === 'transfer-mismatch',
    );
    if (random.below(4) === 0) {
      await Promise.race([done, clock.sleep(random.below(30 * HOUR_MS))]);
      receiver.kill();
    } else assert(await done);
    const pause = clock.sleep(random.below(20 * HOUR_MS));
    // While chunks are being deleted, if there are any.
    if (random.below(4) === 0) await pause;
    else {
      await Promise.race([pause, service.sweep()]);
      await clock.sleep(random.below(20 * 60_000));
    }
  }
}

async function collectAll(world: World): Promise<void> {
  const { clock, prng: random, endMs, service } = world;
  while (clock.wallMs() < endMs) {
    const store = new SimulatedStore(service, SLOW);
    const collection = collect(store.asStore, { clock }).catch((error: unknown) => {
      assert(
        error instanceof TransferError && ['in-use', 'connection-failed'].includes(error.code),
        String(error),
      );
    });
    if (random.below(4) === 0) {
      await Promise.race([collection, clock.sleep(random.below(60_000))]);
      store.kill();
    } else await collection;
    await clock.sleep(random.below(30 * HOUR_MS));
  }
}

async function forgetAll(world: World): Promise<void> {
  const { clock, prng: random, endMs, service } = world;
  const store = new SimulatedStore(service).asStore;
  while (clock.wallMs() < endMs) {
    await clock.sleep(random.below(3 * HOUR_MS));
    const copies = copiesOf(await store.copies());
    const [name, when] = copies[random.below(copies.length + 1)] ?? [];
    if (name === undefined) continue;
    const isAll = random.below(3) === 0;
    const named = { ...store.name, copy: name, when: isAll ? undefined : when };
    await forget(store, name, await findToForget(store, named), () => {});
  }
}

function copiesOf(copies: readonly StoredCopy[]): (readonly [string, string])[] {
  return copies.map(({ name, when }) => [name, when] as const);
}

async function simulate(seed: number): Promise<World> {
  const clock = new FakeClock();
  const random = prng(seed);
  const service = new SimulatedService(clock, random);
  const endMs = clock.wallMs() + DAYS * 24 * HOUR_MS;
  const world: World = { clock, prng: random, service, endMs, sealed: 0 };
  const actors = [
    ...NAMES.map(async (name) => await receiveAll(world, name)),
    collectAll(world),
    collectAll(world),
    forgetAll(world),
  ];
  await clock.runToEnd(Promise.all(actors));
  return world;
}

test('nothing is deleted that a copy needs', async (t) => {
  let [sealed, deleted] = [0, 0];
  for (let seed = 1; seed <= SEEDS; seed++) {
    const world = await simulate(seed);
    assert.deepEqual(world.service.violations, [], `seed ${seed}`);
    sealed += world.sealed;
    deleted += world.service.deletedChunks;
  }
  t.diagnostic(`${sealed} copies, ${deleted} deleted chunks`);
  assert(sealed > 10 * SEEDS && deleted > 5 * SEEDS, `${sealed} copies, ${deleted} deleted chunks`);
});
