/** Simulated transfers whose source is a pipe: fast enough to try many faults of the code with. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FileLength } from './file-length.ts';
import { isPipeSeed } from './profile.ts';
import { Random } from './random.ts';
import { SeedRunner } from './run-seed.ts';

/** After those of simulation.test.ts. */
const FROM = 1001;
const SEEDS = 600;

test('whatever fails, what a pipe has given is sealed, or somebody has to act', async () => {
  await using runner = await SeedRunner.open();
  const seeds = Array.from({ length: SEEDS }, (_, at) => FROM + at).filter(isPipeSeed);
  let [sealed, sends] = [0, 0];
  for (const seed of seeds) {
    const result = await runner.run(seed);
    assert.equal(result.violation, undefined, `seed ${seed}; npm run simulate -- --from ${seed}`);
    if (result.outcome === 'sealed') sealed++;
    sends += result.sends;
  }
  assert(sealed > seeds.length * 0.8, `${sealed} of ${seeds.length} were sealed`);
  assert(sends > seeds.length * 2, `${seeds.length} pipes were run ${sends} times`);
});

test('a power cut leaves the flushed length of a file, or any later one', () => {
  const seen = new Set<number>();
  for (let seed = 1; seed <= 50; seed++) {
    const length = new FileLength();
    length.set(10);
    const mark = length.flushMark;
    length.set(4);
    length.set(7);
    assert.deepEqual([length.presentBytes, length.leastBytes, length.isFlushed], [7, 0, false]);
    assert.equal(length.persist(mark), 10);
    assert.deepEqual([length.presentBytes, length.leastBytes], [7, 4]);
    const least = length.cutPower(new Random(seed));
    assert.equal(least, length.presentBytes === 10 ? Infinity : 4);
    assert(length.isFlushed);
    seen.add(length.presentBytes);
  }
  assert.deepEqual(seen, new Set([10, 4, 7]));
});
