import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { SHA256, digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { Semaphore } from '../../../common/semaphore.ts';
import type { BlockResult } from '../../../common/protocol/protocol.ts';
import { Retries } from '../../../sender/transfer/retry.ts';
import type { OwedBlocks } from '../../../sender/transfer/owed-blocks.ts';
import { BlockReader, type ReadBlock } from '../../../sender/source/read-block.ts';
import { BlockSender } from '../../../sender/transfer/send-block.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { fakeLane, type FakeLane } from '../../support/fake-lane.ts';

const BLOCK_BYTES = 65_536;
const GEOMETRY = { sizeBytes: 10 * BLOCK_BYTES, blockSizeBytes: BLOCK_BYTES };

interface Put {
  readonly index: number;
  readonly signal: AbortSignal;
  readonly write: (generation: number) => void;
  readonly fail: (error: TransferError) => void;
}

class Scene {
  readonly clock = new FakeClock();
  readonly owed: OwedBlocks[] = [];
  readonly counters = {
    total: 10,
    read: 0,
    durable: 0,
    verified: 0,
    sent: 0,
    copied: 0,
    skipped: 0,
    zero: 0,
    resent: 0,
  };
  readonly permits = new Semaphore(64);
  readonly puts: Put[] = [];
  readonly events: string[] = [];
  readonly sender: BlockSender;
  readonly #reader: BlockReader;

  constructor() {
    const { clock, counters } = this;
    const source = {
      sizeBytes: GEOMETRY.sizeBytes,
      description: { path: 'disk', description: 'a disk' },
      read: async (into: Buffer, offset: number) => {
        this.events.push('read');
        into.fill(1 + offset / BLOCK_BYTES);
        return await Promise.resolve([]);
      },
    };
    // Synchronous: only the clock lets time pass here.
    const digest = { ...SHA256, of: async (bytes: Uint8Array) => await Promise.resolve(digestNow(bytes)) };
    this.#reader = new BlockReader(source as never, GEOMETRY, digest);
    this.sender = new BlockSender({
      transferId: 't',
      check: async (block) => {
        const again = await this.#reader.read(block.index, block.bytes);
        if (!again.digest.equals(block.digest)) throw this.#reader.changed(again);
      },
      retries: new Retries({ clock, random: () => 0.5, retryForMs: 1e6, onRetry: () => {} }),
      counters,
      clock,
      signal: new AbortController().signal,
      lanes: { permitToSend: async (signal) => await this.permits.take(signal) },
      reporter: { fact: () => {} },
    });
  }

  lane(): FakeLane {
    return fakeLane({
      putBlock: async ({ index, bytes, digest }, signal) => {
        const { promise, resolve, reject } = Promise.withResolvers<BlockResult>();
        const about = { transferId: 't', epoch: 'e', index, offset: index * BLOCK_BYTES };
        const what = { length: bytes.length, sha256: digest.toString('hex'), state: 'written' as const };
        this.puts.push({
          index,
          signal,
          write: (generation) => resolve({ ...about, ...what, generation }),
          fail: reject,
        });
        signal.addEventListener('abort', () => {
          this.events.push('cancelled');
          reject(signal.reason as Error);
        });
        return await promise;
      },
    });
  }

  async read(index: number): Promise<ReadBlock> {
    return await this.#reader.read(index, Buffer.alloc(BLOCK_BYTES));
  }

  async send(index: number): Promise<void> {
    const owed = await this.sender.send(this.lane(), await this.read(index));
    if (owed !== undefined) this.owed.push(owed);
  }

  async hedge(): Promise<boolean> {
    const { wasOverdue, owed } = await this.sender.hedge(this.lane(), () => false);
    if (owed !== undefined) this.owed.push(owed);
    return wasOverdue;
  }

  /** Three blocks take three seconds each; then block 9 stands still, and another lane hedges it. */
  async overdueBlock(): Promise<{
    sent: Promise<void>;
    hedged: Promise<boolean>;
    first: Put;
    second: Put;
  }> {
    const usual = [0, 1, 2].map((index) => this.send(index));
    await turn();
    await this.clock.advance(3000);
    for (const [at, { write }] of this.puts.entries()) write(at);
    await Promise.all(usual);
    const sent = this.send(9);
    await turn();
    const hedged = this.hedge();
    await this.clock.advance(10_000);
    const [first, second] = this.puts.slice(3);
    assert(first !== undefined && second !== undefined && this.puts.length === 5);
    assert.deepEqual([first.index, second.index, this.counters.resent], [9, 9, 1]);
    this.owed.length = 0;
    this.events.length = 0;
    return { sent, hedged, first, second };
  }
}

test('the first of two results counts, even when both arrive at once', async () => {
  for (const order of ['first', 'second'] as const) {
    const scene = new Scene();
    const { sent, hedged, first, second } = await scene.overdueBlock();
    const [one, other] = order === 'first' ? [first, second] : [second, first];
    one.write(7);
    other.write(8);
    await Promise.all([sent, hedged]);
    assert.deepEqual(
      scene.owed.map(({ ranges, generation }) => [ranges, generation]),
      [[[[9, 1]], 7]],
    );
  }
});

test('the slower lane is cancelled, and the block counts as sent', async () => {
  for (const order of ['first', 'second'] as const) {
    const scene = new Scene();
    const { sent, hedged, first, second } = await scene.overdueBlock();
    const [one, other] = order === 'first' ? [first, second] : [second, first];
    one.write(7);
    await Promise.all([sent, hedged]);
    assert(other.signal.aborted);
    assert.equal(scene.owed.length, 1);
  }
});

test('before a block is read into its memory again the hedged request has ended', async () => {
  const scene = new Scene();
  const { sent, hedged, first } = await scene.overdueBlock();
  first.fail(new TransferError('digest-mismatch', 'damaged'));
  await scene.clock.advance(2000);
  assert.deepEqual(scene.events, ['cancelled', 'read']);
  scene.puts.at(-1)?.write(9);
  await Promise.all([sent, hedged]);
  assert.deepEqual([scene.owed.length, scene.counters.resent], [1, 2]);
});

test('a hedged request that fails leaves the block to its own lane', async () => {
  const scene = new Scene();
  const { sent, hedged, first, second } = await scene.overdueBlock();
  second.fail(new TransferError('connection-failed', 'cut'));
  assert.equal(await hedged, true);
  await turn();
  assert.equal(first.signal.aborted, false);
  first.write(9);
  await sent;
  assert.equal(scene.owed.length, 1);
});

test('a block waits for its permit before it is in flight', async () => {
  const scene = new Scene();
  scene.permits.limit = 1;
  const both = [scene.send(0), scene.send(1)];
  await scene.clock.advance(5000);
  assert.deepEqual([scene.puts.length, scene.sender.sendingMs], [1, 5000]);
  scene.puts[0]?.write(1);
  await scene.clock.advance(2000);
  assert.deepEqual([scene.puts.length, scene.sender.sendingMs], [2, 7000]);
  scene.puts[1]?.write(2);
  await Promise.all(both);
  assert.equal(scene.permits.takenCount, 0);
});
