import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TransferError } from '../../common/errors.ts';
import { MemoryTarget } from '../support/memory-target.ts';
import { targetContract } from './target-contract.ts';

const MIB = 1024 * 1024;

targetContract('memory', {
  sizeBytes: 4 * MIB + 1001,
  async open(sizeBytes) {
    const target = new MemoryTarget();
    await target.prepare(sizeBytes);
    return {
      target,
      async assertHolds(expected) {
        assert(target.bytesAt(0, expected.length).equals(expected));
        return Promise.resolve();
      },
      [Symbol.asyncDispose]: async () => await target.close(),
    };
  },
});

async function prepared(): Promise<MemoryTarget> {
  const target = new MemoryTarget({ capacityBytes: MIB });
  await target.prepare(MIB);
  return target;
}

test('memory: a power cut leaves what was flushed and nothing written later', async () => {
  const target = await prepared();
  await target.write(Buffer.alloc(8192, 1), 0);
  await target.flush();
  await target.write(Buffer.alloc(4096, 2), 4096);
  assert.deepEqual(target.crash().bytesAt(0, 8192), Buffer.alloc(8192, 1));
  assert.deepEqual(target.crash('all').bytesAt(4096, 4096), Buffer.alloc(4096, 2));
  assert.deepEqual(target.bytesAt(4096, 4096), Buffer.alloc(4096, 2));
});

test('memory: a flush covers what was written before it began, not during it', async () => {
  const target = await prepared();
  await target.write(Buffer.alloc(4096, 1), 0);
  using gate = target.hold('flush');
  const flush = target.flush();
  await gate.arrived();
  await target.write(Buffer.alloc(8192, 2), 0);
  gate.open();
  await flush;
  assert.deepEqual(
    target.crash().bytesAt(0, 8192),
    Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096)]),
  );
  target.release('flush');
  await target.flush();
  assert.deepEqual(target.crash().bytesAt(0, 8192), Buffer.alloc(8192, 2));
});

test('memory: after a failed flush the next one succeeds and brings nothing back', async () => {
  const target = await prepared();
  await target.write(Buffer.alloc(8192, 1), 0);
  target.arm({ operation: 'flush', errno: 'EIO' });
  await assert.rejects(target.flush(), TransferError);
  await target.flush();
  assert.deepEqual(target.bytesAt(0, 8192), Buffer.alloc(8192, 1));
  assert.deepEqual(target.crash('all').bytesAt(4096, 4096), Buffer.alloc(4096));
});

test('memory: a held write is torn until it is released, and a failed one stays torn', async () => {
  const target = await prepared();
  using gate = target.hold('write');
  const write = target.write(Buffer.alloc(8192, 1), 0);
  await gate.arrived();
  const torn = Buffer.concat([Buffer.alloc(4096, 1), Buffer.alloc(4096)]);
  assert.deepEqual(target.crash('all').bytesAt(0, 8192), torn);
  gate.open();
  await write;
  assert.deepEqual(target.crash('all').bytesAt(0, 8192), Buffer.alloc(8192, 1));
  target.arm({ operation: 'write', nth: 2, errno: 'ENOSPC', isForEver: true });
  await target.write(Buffer.alloc(8192, 2), 0);
  for (const _ of [1, 2]) {
    await assert.rejects(
      target.writeZeros(0, 8192),
      (error) => error instanceof TransferError && error.code === 'no-space',
    );
  }
  assert.deepEqual(target.bytesAt(0, 8192), Buffer.concat([Buffer.alloc(4096), Buffer.alloc(4096, 2)]));
});

test('memory: a read fault shows once, and more than it can hold is refused', async () => {
  const target = await prepared();
  target.arm({ operation: 'read', errno: 'EIO' });
  await assert.rejects(target.read(Buffer.alloc(10), 0), TransferError);
  await target.read(Buffer.alloc(10), 0);
  await assert.rejects(
    target.prepare(MIB + 1),
    (error) => error instanceof TransferError && error.code === 'target-too-small',
  );
});
