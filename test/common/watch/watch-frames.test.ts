import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { decodeRuns, encodeFrame, encodeRuns, FrameReader } from '../../../common/watch/watch-frames.ts';

const codes = fc
  .array(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 20_000 })), { maxLength: 20 })
  .map((runs) => Uint8Array.from(runs.flatMap(([code, count]) => Array.from({ length: count }, () => code))));

test('runs of blocks are decoded as they were, and touch no other', () => {
  fc.assert(
    fc.property(codes, fc.nat(5000), (sent, first) => {
      const got = new Uint8Array(first + sent.length + 1).fill(77);
      const range = decodeRuns(encodeRuns(first, sent), got);
      assert.deepEqual(range, { first, count: sent.length });
      assert(Buffer.from(got.subarray(first, first + sent.length)).equals(sent));
      assert(got.subarray(0, first).every((code) => code === 77) && got.at(-1) === 77);
    }),
    { numRuns: 50 },
  );
});

test('blocks past the last one are refused, whatever the bytes', () => {
  assert.throws(() => decodeRuns(encodeRuns(3, new Uint8Array(2)), new Uint8Array(4)), RangeError);
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 4, maxLength: 40 }), (bytes) => {
      const got = new Uint8Array(100);
      try {
        const { first, count } = decodeRuns(bytes, got);
        assert(count === 0 || first + count <= 100);
      } catch (error) {
        assert(error instanceof RangeError);
      }
    }),
  );
});

test('frames are put together again, however they are cut', () => {
  const frames = fc.array(fc.tuple(fc.nat(255), fc.uint8Array({ maxLength: 300 })), { maxLength: 8 });
  fc.assert(
    fc.property(frames, fc.integer({ min: 1, max: 200 }), (sent, cut) => {
      const bytes = Buffer.concat(sent.map(([kind, content]) => encodeFrame(kind, content)));
      const reader = new FrameReader();
      const got: [number, Uint8Array][] = [];
      for (let at = 0; at < bytes.length; at += cut) {
        for (const { kind, content } of reader.push(bytes.subarray(at, at + cut)))
          got.push([kind, Uint8Array.from(content)]);
      }
      assert.deepEqual(got, sent);
    }),
  );
  assert.throws(() => new FrameReader().push(Uint8Array.from([1, 255, 255, 255, 255])), RangeError);
});
