import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { release } from '../../../common/io/garbage.ts';

test('the memory of a large buffer is freed, that of the shared pool is left alone', () => {
  const large = zstdDecompressSync(zstdCompressSync(Buffer.alloc(2 ** 20, 7)), { chunkSize: 2 ** 20 });
  const view = large.subarray(5, 10);
  release(large);
  assert.deepEqual([large.length, view.length], [0, 0]);
  const [small, neighbour] = [Buffer.from('a piece'), Buffer.from('another')];
  release(small);
  assert.deepEqual([small.toString(), neighbour.toString()], ['a piece', 'another']);
});
