/** What a copy leaves out of its source: recorded before the first block, signed with the root. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import type { LeftOut, SealReceipt } from '../../../common/protocol/protocol.ts';
import { SqliteJournal } from '../../../receiver/journal/sqlite-journal.ts';
import type { Answer } from '../../support/https-client.ts';
import { MemoryTarget } from '../../support/memory-target.ts';
import { BLOCK_BYTES, claimOf, fastTempDir } from '../../support/open-transfer.ts';
import { startReceiverApp, type ReceiverApp } from '../../support/receiver-app.ts';

const BLOCKS = 3;
const LEFT_OUT: LeftOut = {
  bytes: 8192,
  count: 2,
  areas: [
    [4096, 4096],
    [BLOCK_BYTES, 4096],
  ],
};

async function claim(app: ReceiverApp, more: object): Promise<unknown> {
  const answer = await app.request('PUT', '/transfer', {
    body: JSON.stringify({ ...claimOf(BLOCKS), ...more }),
  });
  assert(answer.status === 200 || answer.status === 201, answer.body.toString());
  return answer.json()['hasLeftOut'];
}

/** All blocks are zeros. */
async function complete(app: ReceiverApp, more: object): Promise<Answer> {
  const zeroed = await app.request('POST', '/zero', { body: JSON.stringify({ ranges: [[0, BLOCKS]] }) });
  assert.equal(zeroed.status, 200);
  const root = digestNow(app.transfer.claimed().table.allDigests()).toString('hex');
  const body = JSON.stringify({ blockCount: BLOCKS, root: `sha256:${root}`, ...more });
  return await app.request('POST', '/complete', { body });
}

test('that a claim leaves something out is kept for good, whatever later claims say', async () => {
  await using folder = await fastTempDir();
  const path = join(folder.path, 'journal.db');
  const target = new MemoryTarget();
  let journal = await SqliteJournal.open(path);
  {
    await using app = await startReceiverApp({ target, journal, blockCount: null });
    assert.equal((await app.request('GET', '/transfer')).json()['hasLeftOut'], false);
    assert.equal(await claim(app, { leavesOut: 'yes' }), false);
    assert.equal(await claim(app, { leavesOut: true }), true);
  }
  journal.close();
  journal = await SqliteJournal.open(path);
  await using app = await startReceiverApp({ target, journal, blockCount: null });
  assert.equal(await claim(app, {}), true);
});

test('a first claim may leave something out; of a sealed copy that changes nothing', async () => {
  await using first = await startReceiverApp({ blockCount: null });
  assert.equal(await claim(first, { leavesOut: true }), true);
  await using sealed = await startReceiverApp({ blockCount: BLOCKS });
  assert.equal((await complete(sealed, {})).status, 200);
  assert.equal(await claim(sealed, { leavesOut: true }), false);
});

test('the receipt repeats what the root leaves out, and the log says how much', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  const answer = await complete(app, { leftOut: LEFT_OUT });
  assert.equal(answer.status, 200, answer.body.toString());
  const { receipt, text } = answer.json() as { receipt: SealReceipt; text: string };
  assert.deepEqual(receipt.leftOut, LEFT_OUT);
  assert.match(text, /"areas": \[\n\s+\[4096, 4096\],\n\s+\[65536, 4096\]\n/);
  assert.match(app.logged.join('\n'), /sealed by .*, 8 KiB in 2 areas of the source left out by the sender/);
  await using whole = await startReceiverApp({ blockCount: BLOCKS });
  const other = (await complete(whole, { leftOut: null })).json() as { receipt: SealReceipt };
  assert.equal(other.receipt.leftOut, null);
});

test('what is not such a list is refused, and nothing is sealed', async () => {
  await using app = await startReceiverApp({ blockCount: BLOCKS });
  for (const wrong of [
    'all',
    [],
    {},
    { ...LEFT_OUT, areas: [] },
    { ...LEFT_OUT, bytes: 8191 },
    { ...LEFT_OUT, bytes: '8192' },
    { ...LEFT_OUT, count: 1 },
    // More areas than are listed, and yet all of the bytes.
    { ...LEFT_OUT, count: 3 },
    { ...LEFT_OUT, areas: LEFT_OUT.areas.toReversed() },
    { bytes: 4096, count: 1, areas: [[BLOCKS * BLOCK_BYTES, 4096]] },
  ]) {
    const answer = await complete(app, { leftOut: wrong });
    assert.deepEqual([answer.status, answer.code], [400, 'bad-request'], JSON.stringify(wrong));
  }
  assert.equal(app.transfer.sealed, undefined);
});
