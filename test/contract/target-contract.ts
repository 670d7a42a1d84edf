/** What every target must do; run by the tests beside this file. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SlabPool } from '../../common/io/buffers.ts';
import type { Target } from '../../receiver/target/target.ts';
import { coded } from '../support/coded.ts';
import { prng } from '../support/prng.ts';

const MIB = 1024 * 1024;

export interface ContractSubject extends AsyncDisposable {
  readonly target: Target;
  /** Compares the whole target with these bytes, not using the target's own `read`. */
  assertHolds(expected: Buffer): Promise<void>;
}

export interface ContractOptions {
  /** Of the target; at least 4 MiB, and an odd number if possible. */
  readonly sizeBytes: number;
  /** For node:test: why it can't run here. */
  readonly skip?: string | false;
  /** A target of this size, prepared, full of zeros. */
  open(sizeBytes: number): Promise<ContractSubject>;
}

type Check = (model: Model) => Promise<void>;

/** A target full of random bytes, and what it should hold. */
class Model {
  readonly target: Target;
  readonly expected: Buffer;
  readonly #subject: ContractSubject;
  readonly #slabs = new SlabPool({ slabSizeBytes: 2 * MIB, slabCount: 1 });
  readonly #random = prng(1);

  private constructor(subject: ContractSubject, expected: Buffer) {
    this.#subject = subject;
    this.target = subject.target;
    this.expected = expected;
  }

  static async start(subject: ContractSubject, sizeBytes: number): Promise<Model> {
    const noise = prng(2).bytes(sizeBytes);
    await subject.target.write(noise, 0);
    return new Model(subject, noise);
  }

  /** @param from `slab` is page-aligned memory, `buffer` is not. */
  async write(from: 'slab' | 'buffer', offset: number, lengthBytes: number): Promise<void> {
    const content = this.#random.bytes(lengthBytes);
    using slab = await this.#slabs.take();
    const bytes =
      from === 'slab' ? slab.bytes.subarray(0, lengthBytes) : Buffer.alloc(lengthBytes + 1).subarray(1);
    content.copy(bytes);
    await this.target.write(bytes, offset);
    content.copy(this.expected, offset);
  }

  async writeZeros(offset: number, lengthBytes: number): Promise<void> {
    await this.target.writeZeros(offset, lengthBytes);
    this.expected.fill(0, offset, offset + lengthBytes);
  }

  async check(): Promise<void> {
    await this.#subject.assertHolds(this.expected);
  }
}

/** Offsets and lengths of ranges, aligned and not. */
function rangesIn(sizeBytes: number): [number, number][] {
  const ranges: [number, number][] = [];
  for (const offset of [0, 1, 512, 4095, 4096, 3 * 65_536, MIB + 8192]) {
    for (const length of [1, 511, 512, 4096, 4097, 65_536, 70_000, MIB + 4096, MIB + 5000]) {
      ranges.push([offset, length]);
    }
  }
  for (const length of [1, 512, 1000, 4096, 65_536, MIB + 1]) ranges.push([sizeBytes - length, length]);
  return ranges;
}

/** Sentence → check. */
const CONTRACT: Readonly<Record<string, Check>> = {
  'writes from a slab land where they belong and touch nothing else': async (model) =>
    await checkWrites(model, 'slab'),
  'writes from other memory land where they belong and touch nothing else': async (model) =>
    await checkWrites(model, 'buffer'),
  'zeros replace dirty content, with any ends, and touch nothing else': checkZeros,
  'a read returns what was written or zeroed last, from any offset': checkReads,
  'a read past the end is an error, not a short read': async ({ target, expected }) => {
    await assert.rejects(target.read(Buffer.alloc(4096), expected.length - 1000), coded('io-error'));
  },
  'concurrent writes in any order all land': checkConcurrentWrites,
  'it can be flushed at any time, even during writes': checkFlushes,
  'it has the length that it was prepared for, and room for that': async ({ target, expected }) => {
    assert.equal(await target.lengthBytes(), expected.length);
    assert((await target.roomBytes()) >= expected.length);
    assert.equal(target.identity.sizeBytes, target.isSizeFixed ? expected.length : null);
  },
  'prepared again for the same size it keeps what it holds': async (model) => {
    await model.target.prepare(model.expected.length);
    await model.check();
  },
};

async function checkWrites(model: Model, from: 'slab' | 'buffer'): Promise<void> {
  for (const [count, [offset, length]] of rangesIn(model.expected.length).entries()) {
    await model.write(from, offset, length);
    if (count % 20 === 19) await model.check();
  }
  await model.check();
}

async function checkZeros(model: Model): Promise<void> {
  const sizeBytes = model.expected.length;
  for (const [count, [offset, length]] of rangesIn(sizeBytes).entries()) {
    // It is still in the page cache, over which the zeros must win.
    await model.write('buffer', Math.max(0, offset - 3000), Math.min(length, MIB));
    await model.writeZeros(offset, length);
    if (count % 20 === 19) await model.check();
  }
  await model.check();
  await model.write('buffer', 10, MIB);
  await model.writeZeros(0, sizeBytes);
  await model.check();
}

async function checkReads(model: Model): Promise<void> {
  await model.write('slab', 65_536, 65_536);
  await model.write('buffer', 70_000, 3000);
  await model.writeZeros(80_000, 5000);
  for (const [offset, length] of rangesIn(model.expected.length)) {
    const into = Buffer.alloc(length, 0xee);
    await model.target.read(into, offset);
    assert(into.equals(model.expected.subarray(offset, offset + length)), `${length} bytes at ${offset}`);
  }
}

async function checkConcurrentWrites(model: Model): Promise<void> {
  const slabs = new SlabPool({ slabSizeBytes: 65_536, slabCount: 8 });
  const indexes = Array.from({ length: 32 }, (_, at) => (at * 13) % 32);
  await Promise.all(
    indexes.map(async (index) => {
      using slab = await slabs.take();
      const content = prng(index).bytes(65_536);
      content.copy(slab.bytes);
      content.copy(model.expected, index * 65_536);
      await model.target.write(slab.bytes, index * 65_536);
    }),
  );
  await model.check();
}

async function checkFlushes(model: Model): Promise<void> {
  await model.target.flush();
  const writes = [0, 1, 2].map(async (at) => await model.target.write(Buffer.alloc(65_536, at), at * 65_536));
  await model.target.flush();
  await Promise.all(writes);
  await model.target.flush();
  for (const at of [0, 1, 2]) model.expected.fill(at, at * 65_536, (at + 1) * 65_536);
  await model.check();
}

export function targetContract(name: string, options: ContractOptions): void {
  const { sizeBytes, skip = false } = options;
  for (const [sentence, check] of Object.entries(CONTRACT)) {
    test(`${name}: ${sentence}`, { skip }, async () => {
      await using subject = await options.open(sizeBytes);
      await check(await Model.start(subject, sizeBytes));
    });
  }
  test(`${name}: a closed target accepts nothing more`, { skip }, async () => {
    await using subject = await options.open(sizeBytes);
    await subject.target.close();
    await assert.rejects(subject.target.write(Buffer.alloc(512), 0));
    await assert.rejects(subject.target.read(Buffer.alloc(512), 0));
    await assert.rejects(subject.target.flush());
  });
}
