import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../../common/clock.ts';
import { DIGESTS } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import type { Claim } from '../../../common/protocol/protocol.ts';
import { claimTransfer } from '../../../receiver/transfer/claim.ts';
import type { Journal } from '../../../receiver/journal/journal.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { machineMemoryBytes } from '../../../receiver/transfer/memory-budget.ts';
import type { Target } from '../../../receiver/target/target.ts';
import { claimDifference } from '../../../common/protocol/claim.ts';
import { Transfer } from '../../../receiver/transfer/transfer.ts';
import { coded } from '../../support/coded.ts';
import { MEMORY_IDENTITY, MemoryTarget } from '../../support/memory-target.ts';
import {
  BLOCK_BYTES,
  LAST_BYTES,
  claimOf,
  fastTempDir,
  openTransfer,
  putBlock,
} from '../../support/open-transfer.ts';
import { recordedJournal } from '../../support/recorded.ts';
import { notApplicable } from '../../support/requires.ts';
import type { TempDir } from '../../support/temp-dir.ts';

const KIB_64 = 64 * 1024;

interface Place extends TempDir {
  readonly journal: SqliteJournal;
}

async function place(): Promise<Place> {
  const folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  return {
    path: folder.path,
    journal,
    async [Symbol.asyncDispose]() {
      journal.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

function transferOver(journal: Journal, target: Target = new MemoryTarget()): Transfer {
  return new Transfer({
    target,
    journal,
    memoryBytes: 1,
    connectionsMax: 7,
    isReadBack: false,
    clock: systemClock,
    digests: DIGESTS,
    events: { onJournalBroken: () => assert.fail('the journal is whole') },
  });
}

test('a new transfer has an id and its target, and is unclaimed', async () => {
  await using at = await place();
  const transfer = transferOver(at.journal);
  assert.match(transfer.id, /^[0-9a-f-]{36}$/);
  assert.deepEqual(JSON.parse(at.journal.property('targetIdentity') ?? ''), MEMORY_IDENTITY);
  const { epoch, state, size, blockSize, blockCount, source, blocks } = transfer.status();
  assert.deepEqual([state, size, blockSize, blockCount, source], ['unclaimed', null, null, null, null]);
  assert.deepEqual(blocks, { absent: 0, written: 0, durable: 0, verified: 0 });
  assert.ok(epoch.length > 0 && transfer.durableGeneration === 0);
  assert.throws(() => transfer.claimed(), coded('not-claimed', { hint: /PUT \/transfer/ }));
  assert.throws(() => transfer.writable(), coded('not-claimed'));
});

test('the first claim counts, and repeating it changes nothing', async () => {
  await using at = await place();
  const transfer = transferOver(at.journal);
  const claim = claimOf(3);
  assert.equal(await claimTransfer(transfer, claim), 'new');
  const { epoch } = transfer;
  assert.equal(
    await claimTransfer(transfer, { ...claim, source: { ...claim.source, path: '/dev/other' } }),
    'same',
  );
  assert.equal(
    await claimTransfer(transfer, { ...claim, source: { ...claim.source, serial: null } }),
    'same',
  );
  assert.equal(transfer.epoch, epoch);
  const status = transfer.status();
  assert.deepEqual(
    [status.state, status.size, status.blockSize, status.blockCount],
    ['open', 2 * BLOCK_BYTES + LAST_BYTES, BLOCK_BYTES, 3],
  );
  assert.deepEqual([status.source, status.limits.connections], [claim.source, 7]);
  assert.deepEqual(status.blocks, { absent: 3, written: 0, durable: 0, verified: 0 });
});

test('a claim with another size, block size or disk is refused', async () => {
  await using at = await place();
  const transfer = transferOver(at.journal);
  const claim = claimOf(3);
  await claimTransfer(transfer, claim);
  const others: [Partial<Claim>, RegExp][] = [
    [{ size: claim.size + 512 }, /^this target belongs to another transfer: its source has 132072 bytes/],
    [{ blockSize: 2 * BLOCK_BYTES }, /blocks of 64 KiB, not 128 KiB$/],
    [{ source: { ...claim.source, serial: 'T2' } }, /its source is Test T1, this one is Test T2$/],
    [{ source: { ...claim.source, model: null } }, /its source is Test T1, this one is T1$/],
  ];
  for (const [change, message] of others) {
    const hint = 'blockSize' in change ? /leave --block-size out/ : /--discard-transfer/;
    await assert.rejects(
      claimTransfer(transfer, { ...claim, ...change }),
      coded('transfer-mismatch', { message, hint }),
    );
  }
  assert.equal(claimDifference(claim, claim), undefined);
});

test('of many concurrent claims one is new, and those that differ are refused', async () => {
  await using at = await place();
  const transfer = transferOver(at.journal);
  const claims = [2, 3, 2, 3, 2, 3].map(async (count) => await claimTransfer(transfer, claimOf(count)));
  const outcomes = (await Promise.allSettled(claims)).map((settled) =>
    settled.status === 'fulfilled' ? settled.value : (settled.reason as TransferError).code,
  );
  const mismatch = 'transfer-mismatch';
  assert.deepEqual(outcomes, ['new', mismatch, 'same', mismatch, 'same', mismatch]);
});

test('an impossible geometry is refused and claims nothing', async () => {
  await using at = await place();
  const transfer = transferOver(at.journal);
  const impossible: [number, number][] = [
    [-1, KIB_64],
    [1.5, KIB_64],
    [2 ** 53, KIB_64],
    [NaN, KIB_64],
    [1000, 0],
    [1000, -KIB_64],
    [1000, 4096],
    [1000, 100_000],
    [1000, 32 * 1024 * 1024],
    [2 ** 52, KIB_64],
  ];
  for (const [size, blockSize] of impossible) {
    await assert.rejects(claimTransfer(transfer, { ...claimOf(1), size, blockSize }), coded('bad-request'));
  }
  assert.deepEqual([transfer.status().state, at.journal.property('claim')], ['unclaimed', undefined]);
});

/** For 2^32 blocks, the most possible. */
const LARGEST_TABLE_BYTES = 132 * 2 ** 30;
const skip =
  machineMemoryBytes() >= 2 * LARGEST_TABLE_BYTES &&
  notApplicable('any table of blocks fits into the memory of this machine');

test('a table that does not fit into memory is refused before the target is touched', { skip }, async () => {
  await using at = await place();
  const transfer = transferOver(at.journal);
  const claim = { ...claimOf(1), size: 2 ** 48, blockSize: 2 ** 16 };
  const refused = {
    message: /^a table of 4294967296 blocks takes 132 GiB: more than half of the receiver's memory /,
  };
  await assert.rejects(claimTransfer(transfer, claim), coded('bad-request', refused));
  assert.deepEqual([transfer.status().state, at.journal.property('claim')], ['unclaimed', undefined]);
});

test('a target that is too small stays unclaimed, and a source that fits can claim it', async () => {
  await using at = await place();
  const transfer = transferOver(at.journal, new MemoryTarget({ capacityBytes: 2 * BLOCK_BYTES }));
  await assert.rejects(claimTransfer(transfer, claimOf(3)), coded('target-too-small'));
  assert.deepEqual([transfer.status().state, at.journal.property('claim')], ['unclaimed', undefined]);
  assert.equal(await claimTransfer(transfer, claimOf(2)), 'new');
});

test('a claim that could not be journalled does not count', async () => {
  await using at = await place();
  let isFull = false;
  const journal = recordedJournal(at.journal, (text) => {
    if (isFull) throw new TransferError('no-space', `cannot ${text}: no room`);
  });
  const transfer = transferOver(journal);
  isFull = true;
  await assert.rejects(claimTransfer(transfer, claimOf(2)), coded('no-space'));
  assert.equal(transfer.opened, undefined);
  isFull = false;
  assert.equal(await claimTransfer(transfer, claimOf(2)), 'new');
});

test('a restart resumes the transfer: same id and claim, durable blocks, a new epoch', async () => {
  await using at = await place();
  const memory = new MemoryTarget();
  await using opened = await openTransfer({ target: memory, journal: at.journal });
  const receipt = await putBlock(opened, 2, 1, true);
  await putBlock(opened, 3, 1);
  const again = transferOver(at.journal, memory.crash());
  assert.equal(again.id, opened.transfer.id);
  assert.notEqual(again.epoch, opened.transfer.epoch);
  assert.equal(await claimTransfer(again, claimOf(8)), 'same');
  const { table } = again.claimed();
  assert.deepEqual([table.countOf('durable'), table.countOf('absent')], [1, 7]);
  assert.equal(table.digestOf(2).toString('hex'), receipt.sha256);
  assert.equal(again.durableGeneration, 0);
});

test('blocks that the journal lists past the last one are ignored', async () => {
  await using at = await place();
  await claimTransfer(transferOver(at.journal), claimOf(3));
  at.journal.recordDurable([1, 3, 2 ** 31].map((index) => ({ index, digest: Buffer.alloc(32, 1) })));
  const { blocks } = transferOver(at.journal).status();
  assert.deepEqual(blocks, { absent: 2, written: 0, durable: 1, verified: 0 });
});

test('a sealed transfer stays sealed over a restart', async () => {
  await using at = await place();
  const transfer = transferOver(at.journal);
  await claimTransfer(transfer, claimOf(1));
  const receipt = { json: '{"v":1}\n', signature: 'armored' };
  transfer.seal(receipt);
  for (const each of [transfer, transferOver(at.journal)]) {
    assert.deepEqual([each.sealed, each.status().state], [receipt, 'sealed']);
    assert.throws(() => each.writable(), coded('sealed'));
    assert.equal(each.claimed().blockCount, 1);
  }
});

test('slabs use the memory allowed, but there are two at least', async () => {
  const slabBytes = BLOCK_BYTES + 4096;
  for (const [memoryBytes, slabCount] of [
    [1, 2],
    [10 * slabBytes, 10],
  ] as const) {
    await using at = await place();
    const events = { onJournalBroken: () => {} };
    const transfer = new Transfer({
      target: new MemoryTarget(),
      journal: at.journal,
      memoryBytes,
      connectionsMax: 1,
      isReadBack: false,
      clock: systemClock,
      digests: DIGESTS,
      events,
    });
    await claimTransfer(transfer, claimOf(1));
    assert.equal(transfer.claimed().slabs.slabCount, slabCount);
    assert.ok(transfer.claimed().slabs.slabSizeBytes >= BLOCK_BYTES + 1024);
  }
});
