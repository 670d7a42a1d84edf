/** A transfer whose target several receivers share: what is asked for, recorded and sealed, and when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ReadBackMethod } from '../../../common/protocol/read-back.ts';
import { digestNow } from '../../../common/digest/digest.ts';
import { TransferError } from '../../../common/errors.ts';
import { makeSigningKey } from '../../../common/trust/ssh-signature.ts';
import { systemClock } from '../../../common/clock.ts';
import { claimTransfer } from '../../../receiver/transfer/claim.ts';
import { sealTransfer } from '../../../receiver/transfer/seal.ts';
import type { Transfer } from '../../../receiver/transfer/transfer.ts';
import { FakeStoreTarget } from '../../support/fake-store.ts';
import { BLOCK_BYTES, claimOf, contentOf, openTransfer, putBlock } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';
import type { Answer } from '../../support/https-client.ts';

const SEALING = { key: makeSigningKey(Buffer.alloc(32, 1)), clock: systemClock };

async function ask(app: ReceiverApp, to: number, digest: Buffer): Promise<Answer> {
  const body = JSON.stringify({ to, digest: `sha256:${digest.toString('hex')}` });
  return await app.request('POST', '/copy', { body });
}

/** A function, because sealing has changed it. */
function sealedBy({ sealed }: Transfer): string | undefined {
  return sealed?.json;
}

function outcomeOf(answer: Answer): [number, string | undefined] {
  return [answer.status, answer.code];
}

test('a block that the target holds is recorded without a write, and counts as read back', async () => {
  const target = new FakeStoreTarget();
  await using app = await startReceiverApp({ target, isReadBack: true });
  const open = app.transfer.claimed();
  const [first, last] = [0, 7].map((index) => digestNow(contentOf(open, index, 1)));
  assert(first !== undefined && last !== undefined);
  assert.deepEqual(outcomeOf(await ask(app, 0, first)), [404, 'block-absent']);
  assert.equal(open.table.stateOf(0), 'absent');
  target.store.held.add(first.toString('hex')).add(last.toString('hex'));
  const answer = await ask(app, 0, first);
  assert.equal(answer.status, 201, answer.body.toString());
  assert.deepEqual([answer.json()['length'], answer.json()['sha256']], [BLOCK_BYTES, first.toString('hex')]);
  assert.equal((await ask(app, 0, first)).status, 200);
  assert.equal((await ask(app, 7, last)).json()['length'], 1000);
  await open.verifier?.settle();
  // The target itself has only zeros there: nothing was read once more.
  assert.deepEqual([open.table.stateOf(0), open.table.stateOf(7)], ['verified', 'verified']);
  assert.equal(open.verifier?.method, 'object-store', 'as its receipt will say');
  assert(target.bytesAt(0, BLOCK_BYTES).every((byte) => byte === 0));
});

class CountedReads extends FakeStoreTarget {
  readonly reads: number[] = [];

  override async readBack(into: Buffer<ArrayBuffer>, offset: number): Promise<ReadBackMethod> {
    this.reads.push(offset / BLOCK_BYTES);
    return await super.readBack(into, offset);
  }
}

test('what was read before a doubt, or as other bytes, is read back', async () => {
  const target = new CountedReads();
  await using receiver = await openTransfer({ target, isReadBack: true });
  const { open } = receiver;
  const digestOf = (index: number): Buffer => digestNow(contentOf(open, index, 1));
  open.verifier?.noteRead(0, digestOf(0), 'direct');
  open.verifier?.startOver();
  open.verifier?.noteRead(1, digestOf(0), 'direct');
  open.verifier?.noteRead(2, digestOf(2), 'direct');
  for (const index of [0, 1, 2]) await putBlock(receiver, index, 1, true);
  await open.verifier?.settle();
  assert.equal(open.table.countOf('verified'), 3);
  assert.deepEqual(new Set(target.reads), new Set([0, 1]));
});

test('only a target that holds digests is asked without another block', async () => {
  await using app = await startReceiverApp();
  assert.deepEqual(outcomeOf(await ask(app, 0, Buffer.alloc(32, 1))), [400, 'bad-request']);
});

test('a claim is recorded before it is answered, and one of another receiver is followed', async () => {
  const target = new FakeStoreTarget();
  const { store } = target;
  await using receiver = await openTransfer({ target });
  const { transfer } = receiver;
  assert.deepEqual(
    store.kept.map(({ claim, transferId }) => [claim, transferId]),
    [[claimOf(8), transfer.id]],
  );
  store.failure = new TransferError('io-error', 'cannot record it');
  await assert.rejects(claimTransfer(transfer, claimOf(8)), { code: 'io-error' });
  store.failure = undefined;
  await claimTransfer(transfer, { ...claimOf(8), leavesOut: true });
  assert.equal(store.kept.at(-1)?.hasLeftOut, true);

  const other = new FakeStoreTarget();
  const startedAt = '2026-11-29T14:30:00.000Z';
  const record = { transferId: 't', startedAt, sizeMax: null, hasLeftOut: true, ticketIssuedAt: 7 };
  other.store.found = { ...record, claim: claimOf(4) };
  const claim = async (of: Transfer): Promise<void> => {
    await assert.rejects(claimTransfer(of, claimOf(8)), { code: 'transfer-mismatch' });
    assert.equal(await claimTransfer(of, claimOf(4)), 'same');
  };
  await using second = await openTransfer({ target: other, claim });
  assert.deepEqual([second.transfer.hasLeftOut, second.open.blockCount], [true, 4]);
});

test('it is sealed in the store first; what is missing there is absent and sent again', async () => {
  const target = new FakeStoreTarget();
  const { store } = target;
  await using receiver = await openTransfer({ target, blockCount: 4, isReadBack: true });
  const { transfer, open } = receiver;
  for (let index = 0; index < 4; index++) await putBlock(receiver, index, 1, true);
  await open.verifier?.settle();
  const digests = Buffer.from(open.table.allDigests());
  const seal = { blockCount: 4, root: digestNow(digests) };
  store.missing = [1, 2];
  await assert.rejects(sealTransfer(transfer, seal, SEALING), (error: TransferError) => {
    assert.deepEqual([error.code, error.details['missing']], ['incomplete', [[1, 2]]]);
    return true;
  });
  assert.deepEqual([transfer.sealed, open.table.countOf('absent')], [undefined, 2]);
  for (const index of [1, 2]) await putBlock(receiver, index, 1, true);
  await open.verifier?.settle();
  store.failure = new TransferError('in-use', 'it is being collected');
  await assert.rejects(sealTransfer(transfer, seal, SEALING), { code: 'in-use' });
  assert.equal(transfer.sealed, undefined);
  store.failure = undefined;
  const { outcome } = await sealTransfer(transfer, seal, SEALING);
  assert.equal(outcome, 'sealed');
  const [copy] = store.sealed;
  assert(copy !== undefined && copy.digests.equals(digests));
  assert.deepEqual([copy.receipt, copy.transferId], [sealedBy(transfer), transfer.id]);
  // Sealed, nothing of it is recorded any more.
  const { length } = store.kept;
  await claimTransfer(transfer, claimOf(4));
  assert.equal(store.kept.length, length);
});
