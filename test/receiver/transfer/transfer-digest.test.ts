/** The digest of a transfer from its claim to its receipt, over restarts of the receiver. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../../common/clock.ts';
import { BLAKE3, DIGESTS, SHA256, digestNow, type BlockDigest } from '../../../common/digest/digest.ts';
import { blockIndexOf } from '../../../common/geometry.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { claimTransfer } from '../../../receiver/transfer/claim.ts';
import type { Journal } from '../../../receiver/journal/journal.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { refuseOtherDisk } from '../../../receiver/transfer/spot-check.ts';
import { sealTransfer } from '../../../receiver/transfer/seal.ts';
import { Transfer } from '../../../receiver/transfer/transfer.ts';
import { writeBlock, writeZeroBlocks } from '../../../receiver/transfer/write-block.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, claimOf, contentOf, fastTempDir } from '../../support/open-transfer.ts';

assert.ok(BLAKE3 !== undefined, 'npm ci brings BLAKE3');
const blake3 = BLAKE3;

interface Place extends AsyncDisposable {
  readonly journal: Journal;
  readonly target: MemoryTarget;
  /** Another process over the same journal and target. */
  start(digests?: readonly BlockDigest[]): Transfer;
}

async function place(): Promise<Place> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await fastTempDir());
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  stack.defer(() => journal.close());
  const target = new MemoryTarget();
  const opened: Transfer[] = [];
  stack.defer(async () => {
    for (const { opened: open } of opened) {
      open?.durability.close();
      await open?.verifier?.stop();
    }
  });
  const owned = stack.move();
  return {
    journal,
    target,
    start: (digests = DIGESTS) => {
      const options = { target, journal, digests, memoryBytes: 8 * BLOCK_BYTES, connectionsMax: 4 };
      const events = { onJournalBroken: () => assert.fail('the journal is whole') };
      const transfer = new Transfer({ ...options, isReadBack: true, clock: systemClock, events });
      opened.push(transfer);
      return transfer;
    },
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

async function put(
  transfer: Transfer,
  number: number,
  digest: BlockDigest,
  isFlushed = true,
): Promise<Buffer> {
  const open = transfer.claimed();
  const bytes = contentOf(open, number, 1);
  const index = blockIndexOf(number, open.geometry);
  await writeBlock(transfer, { index, bytes, digest: digest.now(bytes), isFlushed });
  return bytes;
}

test('a journalled claim without a digest is one of SHA-256', async () => {
  await using at = await place();
  await at.target.prepare(3 * BLOCK_BYTES);
  const { size, blockSize, source } = claimOf(2);
  at.journal.setProperties({ claim: JSON.stringify({ size, blockSize, source }) });
  const transfer = at.start();
  assert.deepEqual([transfer.status().digest, transfer.status().digests], ['sha-256', ['sha-256', 'blake3']]);
  await put(transfer, 0, SHA256);
  assert.equal(await claimTransfer(transfer, claimOf(2)), 'same');
  assert.equal(await claimTransfer(transfer, { ...claimOf(2), digest: 'sha-256' }), 'same');
  await assert.rejects(claimTransfer(transfer, { ...claimOf(2), digest: 'blake3' }), {
    code: 'transfer-mismatch',
  });
  const again = at.start();
  await refuseOtherDisk(at.target, again.claimed());
});

test('a transfer keeps its digest over a restart, and its receipt names it', async () => {
  await using at = await place();
  const first = at.start();
  assert.equal(await claimTransfer(first, { ...claimOf(3), digest: 'blake3' }), 'new');
  const [one, last] = [await put(first, 0, blake3), await put(first, 2, blake3)];
  await writeZeroBlocks(first, [[1, 1]], true);
  const transfer = at.start();
  assert.equal(transfer.status().digest, 'blake3');
  await refuseOtherDisk(at.target, transfer.claimed());
  const digests = [one, Buffer.alloc(BLOCK_BYTES), last].map((bytes) => blake3.now(bytes));
  const options = { key: makeSigningKey(), clock: systemClock };
  const wrong = digestNow(Buffer.concat([one, Buffer.alloc(BLOCK_BYTES), last].map(digestNow)));
  await assert.rejects(sealTransfer(transfer, { blockCount: 3, root: wrong }, options), {
    code: 'root-mismatch',
  });
  const root = digestNow(Buffer.concat(digests));
  const sealed = await sealTransfer(transfer, { blockCount: 3, root }, options);
  assert(sealed.outcome === 'sealed');
  const receipt: Record<string, unknown> = JSON.parse(sealed.receipt.json);
  assert.deepEqual(
    [receipt['digest'], receipt['root'], receipt['verified']],
    ['blake3', `sha256:${root.toString('hex')}`, 'read-back'],
  );
  assert.equal(transfer.verifiedCount, 3);
});

test('a block of a BLAKE3 transfer that reads back wrong is found', async () => {
  await using at = await place();
  const transfer = at.start();
  await claimTransfer(transfer, { ...claimOf(2), digest: 'blake3' });
  await put(transfer, 0, blake3, false);
  await at.target.write(Buffer.alloc(512, 1), 1024);
  const { durability, verifier, table } = transfer.claimed();
  await durability.flush();
  await verifier?.settle();
  assert.equal(table.stateOf(0), 'absent');
});

test('a transfer whose digests cannot be computed here is not opened, and nothing changes', async () => {
  await using at = await place();
  const first = at.start();
  await claimTransfer(first, { ...claimOf(2), digest: 'blake3' });
  await put(first, 0, blake3);
  assert.throws(() => at.start([SHA256]), {
    code: 'digest-unsupported',
    message: 'this receiver can compute sha-256 digests, not blake3',
    hint: /npm ci.*--discard-transfer/,
  });
  const alone = { code: 'digest-unsupported' };
  await using other = await place();
  const transfer = other.start([SHA256]);
  await assert.rejects(claimTransfer(transfer, { ...claimOf(2), digest: 'blake3' }), alone);
  assert.equal(transfer.opened, undefined);
  assert.equal(await claimTransfer(transfer, claimOf(2)), 'new');
  assert.equal(at.start().claimed().table.digestOf(0).length, 32);
  assert.equal([...at.journal.blocks()].length, 1);
});
