import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_KINDS, kindOf } from '../../../common/watch/block-kinds.ts';
import { BlockTable } from '../../../receiver/durability/block-table.ts';
import { TableBlocks } from '../../../receiver/watch/table-blocks.ts';

const DIGEST = Buffer.alloc(32, 7);
const BLOCKS = 5000;

function kindsIn(blocks: TableBlocks): string[] {
  const kinds: string[] = [];
  for (let chunk = 0; chunk * blocks.chunkBlocks < BLOCKS; chunk++)
    kinds.push(...Array.from(blocks.codesOf(chunk), kindOf));
  return kinds;
}

/** What those who watch have of it, when they take each chunk that has changed. */
class Watcher {
  readonly kinds: string[] = Array.from({ length: BLOCKS }, () => 'absent');
  #version = 0;

  follow(blocks: TableBlocks): void {
    for (let chunk = 0; chunk * blocks.chunkBlocks < BLOCKS; chunk++) {
      if (blocks.changedAt(chunk) <= this.#version) continue;
      const kinds = Array.from(blocks.codesOf(chunk), kindOf);
      this.kinds.splice(chunk * blocks.chunkBlocks, kinds.length, ...kinds);
    }
    this.#version = blocks.version;
  }
}

test('every change of the table is seen in the chunks that have changed, and counted', () => {
  const table = new BlockTable(BLOCKS);
  const lost = new Set<number>();
  const blocks = new TableBlocks(table, lost);
  const watcher = new Watcher();
  const check = (what: string): void => {
    watcher.follow(blocks);
    const kinds = kindsIn(blocks);
    assert.deepEqual(watcher.kinds, kinds, what);
    const counts = BLOCK_KINDS.map((kind) => kinds.filter((one) => one === kind).length);
    assert.deepEqual(blocks.counts, counts, what);
  };
  check('new');
  for (const [index, state] of [
    [0, 'written'],
    [1, 'durable'],
    [2, 'verified'],
    [4999, 'verified'],
  ] as const) {
    table.set(index, state, DIGEST);
  }
  table.setListed(3, DIGEST);
  check('states');
  assert.deepEqual(watcher.kinds.slice(0, 5), ['written', 'durable', 'verified', 'listed', 'absent']);
  table.setUnreadable(1, [[65_536, 512]]);
  check('unreadable');
  assert.equal(watcher.kinds[1], 'unreadable');
  lost.add(4999);
  table.set(4999, 'absent');
  check('lost');
  assert.equal(watcher.kinds[4999], 'lost');
  table.set(4999, 'written', DIGEST);
  check('written again');
  assert.equal(watcher.kinds[4999], 'written');
  table.doubtVerified();
  check('doubted');
  assert.equal(watcher.kinds[2], 'durable');
  table.doubtAll();
  check('all doubted');
  assert.equal(watcher.kinds[2], 'listed');
  table.setDifferent(2);
  check('different');
  assert.equal(watcher.kinds[2], 'different');
});
