import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { DigestTable } from '../../../receiver/store/digest-table.ts';

const COUNT = 50_000;

function digestOf(number: number): Buffer {
  return hash('sha256', String(number), 'buffer');
}

test('each of very many digests has its own number, and others have none', () => {
  const table = new DigestTable();
  for (let number = 0; number < COUNT; number++) table.set(digestOf(number), number);
  assert.equal(table.size, COUNT);
  for (let number = 0; number < COUNT; number++) assert.equal(table.get(digestOf(number)), number);
  for (let number = COUNT; number < 2 * COUNT; number++) assert.equal(table.get(digestOf(number)), undefined);
});

test('digests are found in the middle of a list, changed, and differ in any of their words', () => {
  const table = new DigestTable();
  const list = Buffer.alloc(32 * 6);
  // The first one is all zeros; the others differ from it in one word each, and the last where none looks.
  for (let at = 1; at < 6; at++) list.writeUInt32LE(1, 32 * at + 4 * (at - 1));
  for (let at = 0; at < 5; at++) table.set(list, at, 32 * at);
  assert.deepEqual(
    [0, 1, 2, 3, 4].map((at) => table.get(list, 32 * at)),
    [0, 1, 2, 3, 4],
  );
  assert.equal(table.get(list, 32 * 5), 0, 'only the first half counts');
  table.set(list, 9, 32 * 2);
  assert.deepEqual([table.size, table.get(list, 32 * 2)], [5, 9]);
});
