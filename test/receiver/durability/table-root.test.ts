import assert from 'node:assert/strict';
import { test } from 'node:test';
import { digestNow } from '../../../common/digest/digest.ts';
import { BlockTable } from '../../../receiver/durability/block-table.ts';
import { TableRoot } from '../../../receiver/durability/table-root.ts';

function tableOf(blockCount: number): BlockTable {
  const table = new BlockTable(blockCount);
  for (let index = 0; index < blockCount; index++)
    table.set(index, 'durable', digestNow(Buffer.from([index])));
  return table;
}

test('the root is that of all digests, and follows every change of one', async () => {
  const table = tableOf(5);
  const root = new TableRoot(table);
  for (const content of [undefined, 'a', 'b']) {
    if (content !== undefined) table.set(3, 'durable', digestNow(Buffer.from(content)));
    assert.deepEqual(await root.get(), digestNow(table.allDigests()));
    table.set(3, 'verified');
    assert.deepEqual(await root.get(), digestNow(table.allDigests()));
  }
  table.set(1, 'absent');
  await assert.rejects(root.get(), { name: 'AssertionError' });
  assert.deepEqual(await new TableRoot(new BlockTable(0)).get(), digestNow(Buffer.alloc(0)));
});

test('the root of a large table leaves the thread to others in between', async () => {
  const table = tableOf(500_000);
  let turns = 0;
  let isDone = false;
  const count = (): void => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  const root = await new TableRoot(table).get();
  isDone = true;
  assert.deepEqual(root, digestNow(table.allDigests()));
  assert.ok(turns >= 3, `${turns} turns for 16 MB`);
});
