/** What was read back counts only since the last write by another program. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { blockIndexOf } from '../../../common/geometry.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { FOREIGN_ROUNDS_MAX, ForeignWriteWatch } from '../../../receiver/durability/foreign-writes.ts';
import type { WriteMark } from '../../../receiver/target/target.ts';
import { sealTransfer, type SealOutcome } from '../../../receiver/transfer/seal.ts';
import { writeBlock } from '../../../receiver/transfer/write-block.ts';
import { coded } from '../../support/coded.ts';
import { openDeviceTarget } from '../../support/disk-targets.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { loopDevice, skipUnlessLoop } from '../../support/loop-device.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { OddDisk } from '../../support/odd-disk.ts';
import {
  BLOCK_BYTES,
  contentOf,
  openTransfer,
  putBlock,
  type TestTransfer,
} from '../../support/open-transfer.ts';
import { bounded } from '../../support/processes.ts';
import { runOk } from '../../support/run.ts';

const key = makeSigningKey(Buffer.alloc(32, 1));
const BLOCK_COUNT = 4;

interface Watched {
  readonly target: MemoryTarget;
  readonly watch: ForeignWriteWatch;
  /** What was doubted: true because of other programs. */
  readonly doubts: boolean[];
  readonly reported: (number | null)[];
}

function watched(target = new MemoryTarget()): Watched {
  const [doubts, reported]: [boolean[], (number | null)[]] = [[], []];
  const watch = new ForeignWriteWatch({
    target,
    events: { onForeignWrite: (bytes) => reported.push(bytes) },
    doubt: (isForeign) => doubts.push(isForeign),
  });
  return { target, watch, doubts, reported };
}

test('two equal marks prove that nobody else wrote; one byte makes them differ', async () => {
  const { target, watch, doubts, reported } = watched();
  await watch.begin();
  assert.equal(watch.tellsWritersApart, true);
  await target.write(Buffer.alloc(4096, 1), 0);
  assert.equal(await watch.isUnchanged(), true);
  target.writeAsOther(Buffer.from('x'), 5);
  assert.equal(await watch.isUnchanged(), false);
  assert.deepEqual([doubts, reported], [[true], [1]]);
  assert.equal(await watch.isUnchanged(), true);
});

test('a target that was lost and found again is read once more, and nobody else is blamed', async () => {
  class Lost extends MemoryTarget {
    lossCount = 0;
    override async writeMark(): Promise<WriteMark> {
      const stamp = `0 ${this.lossCount}`;
      return await Promise.resolve({ foreignBytes: null, stamp, lossCount: this.lossCount });
    }
  }
  const target = new Lost();
  const { watch, doubts, reported } = watched(target);
  await watch.begin();
  for (let loss = 0; loss < 2 * FOREIGN_ROUNDS_MAX; loss++) {
    target.lossCount++;
    assert.equal(await watch.isUnchanged(), false);
    assert.equal(await watch.isUnchanged(), true);
  }
  assert.deepEqual([doubts, reported], [Array.from({ length: 2 * FOREIGN_ROUNDS_MAX }, () => false), []]);
});

test('without a mark from before the first reading nothing is proven', async () => {
  const { watch, doubts } = watched();
  assert.equal(watch.tellsWritersApart, undefined);
  assert.equal(await watch.isUnchanged(), false);
  assert.deepEqual(doubts, [false]);
  assert.equal(await watch.isUnchanged(), true);
});

test('a first mark that could not be taken equals no other one', async () => {
  class Blind extends MemoryTarget {
    isBlind = true;
    override async writeMark(): Promise<WriteMark> {
      if (this.isBlind) throw new TransferError('io-error', 'cannot read the counter');
      return await super.writeMark();
    }
  }
  const target = new Blind();
  const { watch } = watched(target);
  await watch.begin();
  await assert.rejects(watch.isUnchanged(), coded('io-error'));
  target.isBlind = false;
  assert.equal(await watch.isUnchanged(), false);
  assert.equal(await watch.isUnchanged(), true);
});

test('a look finds the writes of others early, once each, and none of ours', async () => {
  const { target, watch, doubts, reported } = watched();
  await watch.begin();
  await target.write(Buffer.alloc(4096, 1), 0);
  await watch.look();
  assert.deepEqual(doubts, []);
  target.writeAsOther(Buffer.alloc(10), 5);
  await watch.look();
  await watch.look();
  target.writeAsOther(Buffer.alloc(10), 5);
  await watch.look();
  assert.deepEqual(
    [doubts, reported],
    [
      [true, true],
      [10, 20],
    ],
  );
  assert.equal(await watch.isUnchanged(), true);
});

test('where writers look the same, our writes change the mark too, and are not reported', async () => {
  const { target, watch, doubts, reported } = watched(new MemoryTarget({ tellsWritersApart: false }));
  await watch.begin();
  assert.equal(watch.tellsWritersApart, false);
  await target.write(Buffer.alloc(4096, 1), 0);
  watch.noteOwnWrites();
  assert.equal(await watch.isUnchanged(), false);
  assert.equal(await watch.isUnchanged(), true);
  target.writeAsOther(Buffer.from('x'), 5);
  assert.equal(await watch.isUnchanged(), false);
  assert.deepEqual([doubts, reported], [[false, true], [null]]);
});

test('one that writes during every reading is reported as an error, after three of them', async () => {
  const { target, watch, doubts } = watched();
  await watch.begin();
  for (let round = 1; round < FOREIGN_ROUNDS_MAX; round++) {
    target.writeAsOther(Buffer.from('x'), 5);
    assert.equal(await watch.isUnchanged(), false);
  }
  target.writeAsOther(Buffer.from('x'), 5);
  const hint = /fuser -v \/memory.*run the same command again to resume/;
  await assert.rejects(watch.isUnchanged(), coded('foreign-writes', { message: /3 times/, hint }));
  assert.equal(doubts.length, FOREIGN_ROUNDS_MAX);
  assert.equal(await watch.isUnchanged(), true, 'the next command starts to count at one');
});

function rootOf({ open }: TestTransfer): Buffer {
  const digests = Array.from({ length: open.blockCount }, (_, at) => digestNow(contentOf(open, at, 1)));
  return digestNow(Buffer.concat(digests));
}

async function sealOnce(opened: TestTransfer): Promise<SealOutcome> {
  const clock = new FakeClock();
  const request = { blockCount: opened.open.blockCount, root: rootOf(opened) };
  return await clock.runToEnd(sealTransfer(opened.transfer, request, { key, clock }));
}

for (const tellsWritersApart of [true, false]) {
  const kind = tellsWritersApart ? 'a device' : 'a file';
  test(`on ${kind}, a block that was overwritten after it had been read back is not sealed`, async () => {
    const target = new MemoryTarget({ tellsWritersApart });
    await using opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
    for (let index = 0; index < BLOCK_COUNT; index++) await putBlock(opened, index, 1, true);
    await bounded('everything to be read back', opened.open.verifier?.settle() ?? Promise.resolve());
    target.writeAsOther(Buffer.from('x'), BLOCK_BYTES + 5);
    const refused = coded('incomplete', { message: /^not on the target: block 1$/ });
    await assert.rejects(async () => {
      for (let round = 0; round < 5; round++) await sealOnce(opened);
    }, refused);
    assert.equal(opened.transfer.sealed, undefined);
    await putBlock(opened, 1, 1, true);
    let { outcome } = await sealOnce(opened);
    for (let round = 0; round < 5 && outcome !== 'sealed'; round++) ({ outcome } = await sealOnce(opened));
    assert.equal(outcome, 'sealed');
  });
}

test('a write of ours that fails, or is replaced before it is durable, is not that of others', async () => {
  const target = new MemoryTarget({ tellsWritersApart: false });
  await using opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
  const { verifier } = opened.open;
  const confirm = async (): Promise<boolean | undefined> => await verifier?.confirm();
  for (const index of [0, 1]) {
    await putBlock(opened, index, 1, true);
    await bounded('it to be read back', verifier?.settle() ?? Promise.resolve());
    await confirm();
  }
  assert.equal(await confirm(), true);
  await putBlock(opened, 2, 1);
  target.arm({ operation: 'write', errno: 'ENOSPC' });
  await assert.rejects(putBlock(opened, 2, 2), coded('no-space'));
  assert.equal(await confirm(), false, 'the file has changed');
  assert.deepEqual(opened.foreignWrites, []);
});

test('a block that another program overwrites while it is being read back is read again', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
  const { verifier, table } = opened.open;
  const reading = target.holdReadBack(1);
  await putBlock(opened, 1, 1, true);
  await reading.arrived;
  target.writeAsOther(Buffer.from('x'), BLOCK_BYTES + 5);
  await verifier?.look();
  reading.open();
  await bounded('it to be read again', verifier?.settle() ?? Promise.resolve());
  assert.equal(table.stateOf(1), 'absent');
});

test('a write between the last look and the seal is found by the comparison at the seal', async () => {
  let onFlush = (): void => {};
  class Flushed extends MemoryTarget {
    override async flush(): Promise<void> {
      await super.flush();
      onFlush();
    }
  }
  const target = new Flushed();
  await using opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
  for (let index = 0; index < BLOCK_COUNT; index++) await putBlock(opened, index, 1, true);
  await bounded('everything to be read back', opened.open.verifier?.settle() ?? Promise.resolve());
  let flushCount = 0;
  onFlush = () => {
    // The first one is followed by a look, the second one by the comparison.
    if (++flushCount === 2) target.writeAsOther(Buffer.from('x'), 5);
  };
  assert.deepEqual(await sealOnce(opened), { outcome: 'verifying', verified: 0 });
  assert(flushCount >= 2);
});

test('a write while the last block is being read back is found before the seal', async () => {
  const target = new OddDisk();
  await using opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
  for (let index = 0; index < BLOCK_COUNT - 1; index++) await putBlock(opened, index, 1, true);
  await bounded('three blocks to be read back', opened.open.verifier?.settle() ?? Promise.resolve());
  const last = target.holdReadBack(BLOCK_COUNT - 1);
  await putBlock(opened, BLOCK_COUNT - 1, 1);
  const sealing = sealOnce(opened);
  await last.arrived;
  target.writeAsOther(Buffer.from('x'), 5);
  last.open();
  await assert.rejects(
    async () => {
      assert.notEqual((await sealing).outcome, 'sealed');
      for (let round = 0; round < 5; round++) await sealOnce(opened);
    },
    coded('incomplete', { message: /block 0$/ }),
  );
});

/** From a slab, as a request's body: past the page cache, so that the count stays exact. */
async function putDirect({ transfer, open }: TestTransfer, index: number): Promise<void> {
  using slab = await open.slabs.take();
  const content = contentOf(open, index, 1);
  content.copy(slab.bytes);
  const bytes = slab.bytes.subarray(0, content.length);
  const block = { index: blockIndexOf(index, open.geometry), bytes, digest: digestNow(bytes) };
  await writeBlock(transfer, { ...block, isFlushed: true });
}

test(
  'bytes of dd that are only in the page cache are flushed, and found, before the seal',
  { skip: skipUnlessLoop },
  async () => {
    const sizeBytes = 1024 * 1024;
    await using device = await loopDevice(sizeBytes);
    const target = await openDeviceTarget(device.path);
    {
      await using opened = await openTransfer({ target, blockCount: BLOCK_COUNT, isReadBack: true });
      for (let index = 0; index < BLOCK_COUNT; index++) await putDirect(opened, index);
      await bounded('everything to be read back', opened.open.verifier?.settle() ?? Promise.resolve());
      assert.equal(opened.transfer.verifiedCount, BLOCK_COUNT);
      assert.equal((await target.writeMark()).foreignBytes, 0);
      await runOk('dd', [
        'if=/dev/urandom',
        `of=${device.path}`,
        'conv=notrunc',
        'status=none',
        'bs=1',
        'count=3',
        `seek=${2 * BLOCK_BYTES + 9}`,
      ]);
      await assert.rejects(
        async () => {
          for (let round = 0; round < 5; round++) assert.notEqual((await sealOnce(opened)).outcome, 'sealed');
        },
        coded('incomplete', { message: /^not on the target: block 2$/ }),
      );
    }
    await target.close();
  },
);
