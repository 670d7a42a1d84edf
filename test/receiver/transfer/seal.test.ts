import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { RECEIPT_NAMESPACE } from '../../../common/trust/receipt-signer.ts';
import { makeSigningKey, publicKeyLine } from '../../../common/trust/ssh-signature.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import { sealTransfer } from '../../../receiver/transfer/seal.ts';
import type { SealedReceipt } from '../../../receiver/transfer/transfer.ts';
import { coded } from '../../support/coded.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import {
  BLOCK_BYTES,
  LAST_BYTES,
  contentOf,
  fastTempDir,
  openTransfer,
  claimOf,
  putBlock,
  type TestTransfer,
} from '../../support/open-transfer.ts';
import { recordedJournal } from '../../support/recorded.ts';
import { unlessInstalled } from '../../support/requires.ts';
import { isGoodForSshKeygen } from '../../support/ssh-keygen.ts';

const key = makeSigningKey(Buffer.alloc(32, 1));

/** The root as PROTOCOL.md defines it, from the plain bytes of version 1 of every block. */
function rootOf({ open }: TestTransfer): Buffer {
  const digests = Array.from({ length: open.blockCount }, (_, index) => digestNow(contentOf(open, index, 1)));
  return digestNow(Buffer.concat(digests));
}

async function seal(opened: TestTransfer, root = rootOf(opened)): Promise<SealedReceipt> {
  const request = { blockCount: opened.open.blockCount, root };
  const result = await sealTransfer(opened.transfer, request, { key, clock: new FakeClock() });
  assert.equal(result.outcome, 'sealed');
  return result.receipt;
}

async function putAll(opened: TestTransfer): Promise<void> {
  for (let index = 0; index < opened.open.blockCount; index++) await putBlock(opened, index, 1);
}

test('a complete transfer is flushed and sealed, and its receipt says what it was', async () => {
  await using opened = await openTransfer({ blockCount: 3 });
  await putAll(opened);
  const { json, signature } = await seal(opened);
  assert.match(json, /^\{\n[^]*\}\n$/);
  assert.match(signature, /^-----BEGIN SSH SIGNATURE-----\n/);
  const { transfer, open } = opened;
  assert.deepEqual(JSON.parse(json), {
    v: 1,
    transferId: transfer.id,
    size: 2 * BLOCK_BYTES + LAST_BYTES,
    blockSize: BLOCK_BYTES,
    blockCount: 3,
    digest: 'sha-256',
    root: `sha256:${rootOf(opened).toString('hex')}`,
    verified: 'none',
    readBack: null,
    unreadable: [],
    leftOut: null,
    sealedAt: new Date(new FakeClock().wallMs()).toISOString(),
    verifiedAt: new Date(new FakeClock().wallMs()).toISOString(),
    generation: 1,
    previous: null,
    target: {
      description: 'memory',
      path: '/memory',
      model: null,
      serial: null,
      byId: null,
      size: null,
      sectorBytes: null,
      content: [],
    },
    source: open.claim.source,
    receiverKey: publicKeyLine(key.publicKey, 'ddt-receive'),
  });
  assert.deepEqual([open.table.countOf('durable'), transfer.status().state], [3, 'sealed']);
});

test(
  'ssh-keygen accepts the receipt, and no other bytes',
  { skip: unlessInstalled('ssh-keygen') },
  async () => {
    await using opened = await openTransfer({ blockCount: 1 });
    await putAll(opened);
    const { json, signature } = await seal(opened);
    const { receiverKey } = JSON.parse(json) as { receiverKey: string };
    const signed = { message: json, signature, namespace: RECEIPT_NAMESPACE };
    assert.equal(await isGoodForSshKeygen(signed, receiverKey), true);
    assert.equal(
      await isGoodForSshKeygen({ ...signed, message: json.replace('"v": 1', '"v": 2') }, receiverKey),
      false,
    );
    assert.equal(await isGoodForSshKeygen({ ...signed, namespace: 'file' }, receiverKey), false);
  },
);

test('sealed again it gives the same receipt, at another time and after another start', async () => {
  await using folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  const target = new MemoryTarget();
  await using opened = await openTransfer({ blockCount: 2, journal, target });
  await putAll(opened);
  const receipt = await seal(opened);
  assert.deepEqual(await seal(opened), receipt);
  await using again = await openTransfer({ blockCount: 2, journal, target: target.crash() });
  assert.deepEqual(await seal(again), receipt);
  await assert.rejects(seal(again, Buffer.alloc(32)), coded('root-mismatch'));
  await assert.rejects(putBlock(again, 0, 2), coded('sealed'));
  journal.close();
});

test('what is missing is listed as ranges, and nothing is sealed', async () => {
  await using opened = await openTransfer();
  for (const index of [1, 4, 7]) await putBlock(opened, index, 1);
  await assert.rejects(seal(opened), (error) => {
    coded('incomplete', { message: /^not on the target: blocks 0, 2-3, 5-6$/ })(error);
    assert(error instanceof TransferError);
    assert.deepEqual(error.details, {
      missing: [
        [0, 1],
        [2, 2],
        [5, 2],
      ],
    });
    return true;
  });
  assert.equal(opened.transfer.sealed, undefined);
  await putAll(opened);
  await seal(opened);
});

test('another root or another number of blocks seals nothing', async () => {
  await using opened = await openTransfer({ blockCount: 2 });
  await putAll(opened);
  await putBlock(opened, 1, 2);
  await assert.rejects(seal(opened), coded('root-mismatch', { hint: /run ddt-send again/ }));
  const request = { blockCount: 3, root: rootOf(opened) };
  const options = { key, clock: new FakeClock() };
  await assert.rejects(sealTransfer(opened.transfer, request, options), coded('bad-request'));
  assert.equal(opened.transfer.sealed, undefined);
});

test('a flush that fails at the end seals nothing, and the blocks it lost are missing', async () => {
  const target = new MemoryTarget();
  await using opened = await openTransfer({ blockCount: 2, target });
  await putBlock(opened, 0, 1, true);
  await putBlock(opened, 1, 1);
  target.arm({ operation: 'flush', errno: 'EIO' });
  await assert.rejects(seal(opened), coded('io-error'));
  await assert.rejects(seal(opened), coded('incomplete', { message: /^not on the target: block 1$/ }));
  await putBlock(opened, 1, 1);
  await seal(opened);
});

test('a write in hand is waited for, and one that waits behind the seal is refused', async () => {
  const target = new MemoryTarget();
  await using opened = await openTransfer({ blockCount: 2, target });
  await putBlock(opened, 0, 1);
  using gate = target.hold('write');
  const slow = putBlock(opened, 1, 1);
  await gate.arrived();
  const sealing = seal(opened);
  const late = putBlock(opened, 0, 2);
  gate.open();
  await slow;
  await sealing;
  await assert.rejects(late, coded('sealed'));
});

test('a receipt that the journal has no room for is none', async () => {
  await using folder = await fastTempDir();
  const sqlite = await SqliteJournal.open(join(folder.path, 'journal.db'));
  let isFull = false;
  const journal = recordedJournal(sqlite, (text) => {
    if (isFull && text.startsWith('set')) throw new TransferError('no-space', 'no room');
  });
  await using opened = await openTransfer({ blockCount: 1, journal });
  await putAll(opened);
  isFull = true;
  await assert.rejects(seal(opened), coded('no-space'));
  assert.equal(opened.transfer.sealed, undefined);
  isFull = false;
  await seal(opened);
  sqlite.close();
});

test('a source of no bytes is complete at once', async () => {
  await using folder = await fastTempDir();
  const journal = await SqliteJournal.open(join(folder.path, 'journal.db'));
  journal.setProperties({
    transferId: 't',
    claim: JSON.stringify({ size: 0, blockSize: BLOCK_BYTES, source: claimOf(1).source }),
  });
  await using opened = await openTransfer({ journal });
  const { json } = await seal(opened, digestNow(Buffer.alloc(0)));
  assert.equal((JSON.parse(json) as { blockCount: number }).blockCount, 0);
  journal.close();
});
