import assert from 'node:assert/strict';
import { test } from 'node:test';
import { measureReading, type ReadRate } from '../../../common/io/read-rate.ts';

const MIB = 1024 * 1024;

/** A disk of which a chunk takes that long, whatever is asked for at the same time. */
async function measured(
  sizeBytes: number,
  { chunkMs = 1, forMs = 1e9, goneAfter = Infinity } = {},
): Promise<{ rate: ReadRate; offsets: number[] }> {
  const offsets: number[] = [];
  let nowMs = 5000;
  const read = async (into: Buffer, offset: number): Promise<void> => {
    assert.equal(into.length, MIB);
    offsets.push(offset);
    nowMs += chunkMs;
    await Promise.resolve();
  };
  const options = {
    clock: { monotonicMs: () => nowMs },
    forMs,
    isGone: () => offsets.length >= goneAfter,
  };
  return { rate: await measureReading(read, sizeBytes, options), offsets };
}

test('a small disk is read once, in whole chunks', async () => {
  const { rate, offsets } = await measured(5 * MIB + 7);
  assert.deepEqual(offsets, [0, MIB, 2 * MIB, 3 * MIB, 4 * MIB]);
  assert.deepEqual(rate, { bytes: 5 * MIB, ms: 5 });
  assert.deepEqual(await measured(MIB - 1), { rate: { bytes: 0, ms: 0 }, offsets: [] });
});

test('of a large disk areas all over it are read, each as a whole, none behind its end', async () => {
  const sizeBytes = 1000 * 16 * MIB + 5;
  const { rate, offsets } = await measured(sizeBytes, { forMs: 640 });
  assert(rate.ms >= 640 && rate.ms < 650 && rate.bytes === offsets.length * MIB, JSON.stringify(rate));
  assert(offsets.every((offset) => offset >= 0 && offset + MIB <= sizeBytes));
  const starts = offsets.filter((_, nth) => nth % 16 === 0);
  for (const [nth, offset] of offsets.entries()) {
    assert.equal(offset - (starts[Math.floor(nth / 16)] ?? NaN), (nth % 16) * MIB);
  }
  for (let tenth = 0; tenth < 10; tenth++) {
    assert(
      starts.some((offset) => Math.floor((offset * 10) / sizeBytes) === tenth),
      `none in tenth ${tenth}`,
    );
  }
});

test('it ends when nobody waits for it any more', async () => {
  const { rate } = await measured(1000 * MIB, { goneAfter: 12 });
  assert(rate.bytes >= 12 * MIB && rate.bytes < 20 * MIB, String(rate.bytes));
});
