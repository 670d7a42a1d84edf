import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { SHA256, digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
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
  readonly answer: (generation: number) => void;
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
    skipped: 0,
    zero: 0,
    resent: 0,
  };
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
    // At once: nothing but the clock lets time pass here.
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
      owe: (blocks) => this.owed.push(blocks),
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
          answer: (generation) => resolve({ ...about, ...what, generation }),
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

  /** Three blocks are sent in three seconds each; block 9 then stands still, and another lane helps. */
  async lateBlock(): Promise<{ sent: Promise<void>; helped: Promise<boolean>; first: Put; second: Put }> {
    const usual = await Promise.all(
      [0, 1, 2].map(async (index) => ({ sent: this.sender.send(this.lane(), await this.read(index)) })),
    );
    await this.clock.advance(3000);
    for (const [at, { answer }] of this.puts.entries()) answer(at);
    await Promise.all(usual.map(async ({ sent }) => await sent));
    const sent = this.sender.send(this.lane(), await this.read(9));
    const helped = this.sender.help(this.lane(), () => false);
    await this.clock.advance(10_000);
    const [first, second] = this.puts.slice(3);
    assert(first !== undefined && second !== undefined && this.puts.length === 5);
    assert.deepEqual([first.index, second.index, this.counters.resent], [9, 9, 1]);
    this.owed.length = 0;
    this.events.length = 0;
    return { sent, helped, first, second };
  }
}

test('the first of two receipts counts, also when both come at once', async () => {
  for (const order of ['first', 'second'] as const) {
    const scene = new Scene();
    const { sent, helped, first, second } = await scene.lateBlock();
    const [one, other] = order === 'first' ? [first, second] : [second, first];
    one.answer(7);
    other.answer(8);
    await Promise.all([sent, helped]);
    assert.deepEqual(
      scene.owed.map(({ ranges, generation }) => [ranges, generation]),
      [[[[9, 1]], 7]],
    );
  }
});

test('the lane that is not done yet is cancelled, and its block counts as sent all the same', async () => {
  for (const order of ['first', 'second'] as const) {
    const scene = new Scene();
    const { sent, helped, first, second } = await scene.lateBlock();
    const [one, other] = order === 'first' ? [first, second] : [second, first];
    one.answer(7);
    await Promise.all([sent, helped]);
    assert(other.signal.aborted);
    assert.equal(scene.owed.length, 1);
  }
});

test('before a block is read into its memory once more the helper has ended', async () => {
  const scene = new Scene();
  const { sent, helped, first } = await scene.lateBlock();
  first.fail(new TransferError('digest-mismatch', 'damaged'));
  await scene.clock.advance(2000);
  assert.deepEqual(scene.events, ['cancelled', 'read']);
  scene.puts.at(-1)?.answer(9);
  await Promise.all([sent, helped]);
  assert.deepEqual([scene.owed.length, scene.counters.resent], [1, 2]);
});

test('a helper that fails leaves the block to its lane', async () => {
  const scene = new Scene();
  const { sent, helped, first, second } = await scene.lateBlock();
  second.fail(new TransferError('connection-failed', 'cut'));
  assert.equal(await helped, true);
  await turn();
  assert.equal(first.signal.aborted, false);
  first.answer(9);
  await sent;
  assert.equal(scene.owed.length, 1);
});
