import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BLOCK_KINDS, codeOf, kindNumberOf } from '../../../../common/watch/block-kinds.ts';
import { BlockStore } from '../../../../common/watch/page/block-store.ts';
import { encodeRuns } from '../../../../common/watch/watch-frames.ts';

test('kinds are counted in any range as one by one, after any frames', () => {
  const frame = fc.record({
    first: fc.nat(1999),
    kinds: fc.array(fc.nat(BLOCK_KINDS.length - 1), { minLength: 1, maxLength: 600 }),
  });
  const range = fc.tuple(fc.nat(2000), fc.nat(2000));
  fc.assert(
    fc.property(fc.array(frame, { maxLength: 6 }), range, (frames, [one, other]) => {
      const store = new BlockStore();
      store.resize(2000);
      for (const { first, kinds } of frames) {
        const codes = kinds.slice(0, 2000 - first).map((kind) => codeOf(BLOCK_KINDS[kind] ?? 'absent', 3));
        store.apply(encodeRuns(first, Uint8Array.from(codes)));
      }
      const [from, end] = [Math.min(one, other), Math.max(one, other)];
      const counts = new Uint32Array(BLOCK_KINDS.length);
      store.countInto(counts, from, end);
      const expected = new Uint32Array(BLOCK_KINDS.length);
      for (let index = from; index < end; index++) {
        const kind = kindNumberOf(store.codeOf(index));
        expected[kind] = (expected[kind] ?? 0) + 1;
      }
      assert.deepEqual(counts, expected);
    }),
    { numRuns: 60 },
  );
});
