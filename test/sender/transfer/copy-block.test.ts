import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError, type ErrorCode } from '../../../common/errors.ts';
import type { ReceiverClient } from '../../../sender/client/receiver-port.ts';
import type { ReadBlock } from '../../../sender/source/read-block.ts';
import { BlockCopier } from '../../../sender/transfer/copy-block.ts';
import type { OwedBlocks } from '../../../sender/transfer/owed-blocks.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { fakeLane } from '../../support/fake-lane.ts';

const BLOCK_BYTES = 65_536;
/** 100 blocks and a short one. */
const GEOMETRY = { sizeBytes: 100 * BLOCK_BYTES + 1000, blockSizeBytes: BLOCK_BYTES };
const CONTENT = Buffer.alloc(BLOCK_BYTES, 7);

function blockAt(index: number, more: Partial<ReadBlock> = {}): ReadBlock {
  const digest = digestNow(CONTENT);
  return { index, bytes: CONTENT, digest, algorithm: 'sha-256', isZero: false, unreadable: [], ...more };
}

/** A copier that knows of block 3, and a receiver that takes `ms` for a copy, or refuses it. */
class Scene {
  readonly clock = new FakeClock();
  readonly asked: [number | undefined, number][] = [];
  readonly end = new AbortController();
  readonly copier: BlockCopier;
  transferId = 't';
  ms = 10;
  failure: ErrorCode | undefined;

  constructor(holdsDigests = false) {
    const { clock, end } = this;
    const signal = end.signal;
    this.copier = new BlockCopier({ transferId: 't', geometry: GEOMETRY, holdsDigests, clock, signal });
    this.copier.noteDurable([[3, 1]], blockAt(3).digest);
  }

  async send(ms: number): Promise<void> {
    await this.copier.timeSending(async () => await this.clock.advance(ms));
  }

  async copy(block: ReadBlock): Promise<OwedBlocks | undefined> {
    const copyBlock: ReceiverClient['copyBlock'] = async ({ index, bytes }, from) => {
      this.asked.push([from, index]);
      await this.clock.advance(this.ms);
      if (this.failure !== undefined) throw new TransferError(this.failure, 'refused');
      const about = { transferId: this.transferId, epoch: 'e', index, offset: index * BLOCK_BYTES };
      return { ...about, length: bytes.length, sha256: '', state: 'written' as const, generation: 9 };
    };
    return await this.copier.copy(fakeLane({ copyBlock }), block);
  }
}

test('a block is copied from a durable one with its digest, and is owed', async () => {
  const scene = new Scene();
  const { digest } = blockAt(5);
  const owed = await scene.copy(blockAt(5));
  assert.deepEqual(owed, { ranges: [[5, 1]], digest, epoch: 'e', generation: 9 });
  assert.deepEqual(scene.asked, [[3, 5]]);
});

test('what has no whole durable equal elsewhere is not asked for', async () => {
  const scene = new Scene();
  const other = Buffer.alloc(32, 9);
  scene.copier.noteDurable([[100, 1]], other);
  assert.equal(await scene.copy(blockAt(5, { digest: other })), undefined, 'the short block has it');
  assert.equal(await scene.copy(blockAt(100)), undefined, 'it is the short block');
  assert.equal(await scene.copy(blockAt(3)), undefined, 'it has the place itself');
  assert.equal(await scene.copy(blockAt(5, { digest: Buffer.alloc(32, 1) })), undefined, 'nobody has it');
  assert.equal(await scene.copy(blockAt(5, { unreadable: [[5 * BLOCK_BYTES, 512]] })), undefined);
  assert.deepEqual(scene.asked, []);
});

test('a source that is gone is not asked for again until it is durable again', async () => {
  const scene = new Scene();
  scene.failure = 'block-absent';
  assert.equal(await scene.copy(blockAt(5)), undefined);
  scene.failure = undefined;
  assert.equal(await scene.copy(blockAt(6)), undefined);
  assert.equal(scene.asked.length, 1);
  scene.copier.noteDurable([[5, 1]], blockAt(5).digest);
  assert.notEqual(await scene.copy(blockAt(6)), undefined);
  assert.deepEqual(scene.asked.at(-1), [5, 6]);
});

for (const code of ['not-found', 'method-not-allowed', 'bad-request'] as const) {
  test(`a receiver that says ${code} is never asked again`, async () => {
    const scene = new Scene();
    scene.failure = code;
    assert.equal(await scene.copy(blockAt(5)), undefined);
    scene.failure = undefined;
    scene.copier.noteDurable([[3, 1]], blockAt(3).digest);
    assert.equal(await scene.copy(blockAt(6)), undefined);
    assert.equal(scene.asked.length, 1);
  });
}

test('an outage says nothing about copying', async () => {
  const scene = new Scene();
  await scene.send(100);
  scene.failure = 'connection-failed';
  scene.ms = 60_000;
  for (let round = 0; round < 20; round++) {
    assert.equal(await scene.copy(blockAt(5)), undefined);
    scene.copier.noteDurable([[3, 1]], blockAt(3).digest);
  }
  [scene.failure, scene.ms] = [undefined, 10];
  assert.notEqual(await scene.copy(blockAt(5)), undefined);
  assert.equal(scene.asked.length, 21);
});

test('a few refusals end nothing, many in a row do', async () => {
  const scene = new Scene();
  for (let round = 0; round < 20; round++) {
    scene.failure = round % 4 === 3 ? undefined : round % 2 === 0 ? 'block-absent' : 'io-error';
    await scene.copy(blockAt(5));
    scene.copier.noteDurable([[3, 1]], blockAt(3).digest);
  }
  assert.equal(scene.asked.length, 20);
  scene.failure = 'block-absent';
  for (let round = 0; round < 20; round++) {
    await scene.copy(blockAt(5));
    scene.copier.noteDurable([[3, 1]], blockAt(3).digest);
  }
  // 8 in a row, and no more.
  assert.equal(scene.asked.length, 28);
});

test('blocks are copied only while that takes at most half of what sending takes', async () => {
  const scene = new Scene();
  const copiedOf = async (count: number): Promise<number> => {
    const before = scene.asked.length;
    for (let at = 0; at < count; at++) await scene.copy(blockAt(5));
    return scene.asked.length - before;
  };
  for (let at = 0; at < 30; at++) await scene.send(25);
  assert.equal(await copiedOf(10), 10, '10 ms against 25');
  for (let at = 0; at < 30; at++) await scene.send(15);
  assert.equal(await copiedOf(31), 0, '10 ms against 15');
  assert.equal(await copiedOf(1), 1, 'measured again');
  for (let at = 0; at < 30; at++) await scene.send(100);
  assert.equal(await copiedOf(10), 10, 'the line has become slow');
});

test('a result of another transfer does not count; an abort ends it', async () => {
  const scene = new Scene();
  scene.transferId = 'other';
  assert.equal(await scene.copy(blockAt(5)), undefined);
  scene.failure = 'connection-failed';
  scene.end.abort(new TransferError('interrupted', 'interrupted'));
  await assert.rejects(scene.copy(blockAt(6)), { code: 'interrupted' });
});

test('a target that finds blocks by their digests is asked for each, whatever that takes', async () => {
  const scene = new Scene(true);
  for (let at = 0; at < 30; at++) await scene.send(1);
  scene.failure = 'block-absent';
  const all = Array.from({ length: 20 }, (_, index) => index);
  for (const index of all) assert.equal(await scene.copy(blockAt(index)), undefined);
  scene.failure = undefined;
  assert.deepEqual((await scene.copy(blockAt(100)))?.ranges, [[100, 1]], 'the short block, too');
  assert.equal(await scene.copy(blockAt(5, { unreadable: [[5 * BLOCK_BYTES, 512]] })), undefined);
  assert.deepEqual(
    scene.asked,
    [...all, 100].map((index) => [undefined, index]),
  );
  scene.failure = 'bad-request';
  assert.equal(await scene.copy(blockAt(5)), undefined);
  assert.equal(await scene.copy(blockAt(6)), undefined);
  assert.equal(scene.asked.length, 22, 'it does not know the request');
});
