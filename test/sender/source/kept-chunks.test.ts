import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEPT_CHUNKS_MAX, KeptChunks } from '../../../sender/source/kept-chunks.ts';

const CHUNK_BYTES = 4096;

interface Fetching {
  readonly index: number;
  readonly into: Buffer;
  readonly end: PromiseWithResolvers<'equal'>;
}

/** Chunks that are full of their index when the test says so. */
function scene(): { kept: KeptChunks<'equal'>; fetched: Fetching[]; finish: (at: number) => void } {
  const fetched: Fetching[] = [];
  const kept = new KeptChunks(CHUNK_BYTES, async (index, into) => {
    const end = Promise.withResolvers<'equal'>();
    fetched.push({ index, into, end });
    return await end.promise;
  });
  const finish = (at: number): void => {
    fetched[at]?.into.fill(fetched[at].index);
    fetched[at]?.end.resolve('equal');
  };
  return { kept, fetched, finish };
}

async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
}

test('many readers share one fetch, and later ones what is kept of it', async () => {
  const { kept, fetched, finish } = scene();
  const seen: number[] = [];
  const use = (bytes: Buffer): void => void seen.push(bytes[0] ?? -1, bytes.at(-1) ?? -1);
  const readers = Array.from({ length: 3 * KEPT_CHUNKS_MAX }, () => kept.read(7, use, undefined));
  await settled();
  assert.equal(fetched.length, 1);
  finish(0);
  assert.deepEqual(new Set(await Promise.all(readers)), new Set(['equal']));
  await kept.read(7, use, undefined);
  assert.equal(fetched.length, 1);
  assert.deepEqual(
    seen,
    Array.from({ length: 6 * KEPT_CHUNKS_MAX + 2 }, () => 7),
  );
});

test('the chunk that was not wanted for longest makes room', async () => {
  const { kept, fetched, finish } = scene();
  const read = async (index: number): Promise<void> => {
    const before = fetched.length;
    const reading = kept.read(index, () => {}, undefined);
    await settled();
    if (fetched.length > before) finish(before);
    await reading;
  };
  for (let index = 0; index < KEPT_CHUNKS_MAX; index++) await read(index);
  await read(0);
  await read(99);
  await read(0);
  assert.equal(fetched.length, KEPT_CHUNKS_MAX + 1);
  await read(1);
  assert.equal(fetched.length, KEPT_CHUNKS_MAX + 2);
});

test('a reader that gives up leaves the buffer to the fetch, and nobody else gets it', async () => {
  const { kept, fetched, finish } = scene();
  const stop = new AbortController();
  const given = Array.from({ length: KEPT_CHUNKS_MAX }, (_, index) =>
    kept.read(index, () => {}, stop.signal),
  );
  await settled();
  stop.abort(new Error('enough'));
  for (const reading of given) await assert.rejects(reading, /enough/);
  // All of the kept ones are fetched still: these take the other buffers.
  const seen: number[] = [];
  const use = (bytes: Buffer): void => void seen.push(bytes[0] ?? -1);
  const others = Array.from({ length: KEPT_CHUNKS_MAX }, (_, at) => kept.read(50 + at, use, undefined));
  await settled();
  assert.equal(fetched.length, 2 * KEPT_CHUNKS_MAX);
  assert.equal(new Set(fetched.map(({ into }) => into.byteOffset)).size, 2 * KEPT_CHUNKS_MAX);
  for (let at = KEPT_CHUNKS_MAX; at < fetched.length; at++) finish(at);
  for (let at = 0; at < KEPT_CHUNKS_MAX; at++) finish(at);
  await Promise.all(others);
  assert.deepEqual(seen, [50, 51, 52, 53]);
});

test('what could not be fetched is fetched anew', async () => {
  const { kept, fetched, finish } = scene();
  const first = kept.read(3, () => {}, undefined);
  await settled();
  fetched[0]?.end.reject(new Error('403'));
  await assert.rejects(first, /403/);
  const second = kept.read(3, () => {}, undefined);
  await settled();
  finish(1);
  assert.equal(await second, 'equal');
});
