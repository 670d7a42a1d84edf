import * as fc from 'fast-check';
import { test } from 'node:test';
import { DurabilitySimulation, SIMULATED_BLOCKS, type Step } from '../support/durability-simulation.ts';
import { fastTempDir } from '../support/open-transfer.ts';
import { freshSeed } from '../support/prng.ts';

const RUNS = Number(process.env['DDT_TEST_RUNS'] ?? 120);

const index = fc.nat(SIMULATED_BLOCKS - 1);
const operation = fc.constantFrom('write' as const, 'flush' as const);
const put = fc.record({
  kind: fc.constant('put' as const),
  index,
  version: fc.integer({ min: 0, max: 3 }),
  isFlushed: fc.boolean(),
});
const zero = fc.record({
  kind: fc.constant('zero' as const),
  first: index,
  count: fc.integer({ min: 1, max: 3 }),
  isFlushed: fc.boolean(),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: put },
  { weight: 3, arbitrary: zero },
  { weight: 4, arbitrary: fc.constant({ kind: 'flush' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(1000, 3000) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('hold' as const), operation }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), operation }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      operation,
      errno: fc.constantFrom('EIO' as const, 'ENOSPC' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('journal' as const), isFull: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      writtenBack: fc.constantFrom('none' as const, 'all' as const),
    }),
  },
);

test('whatever fails in whatever order, the journal lists only what the medium holds', async () => {
  const steps = fc.array(step, { minLength: 1, maxLength: 40, size: 'max' });
  const property = fc.asyncProperty(steps, async (sequence) => {
    await using own = await fastTempDir();
    await using simulation = await DurabilitySimulation.start(own.path);
    for (const one of sequence) await simulation.run(one);
    await simulation.recover();
  });
  await fc.assert(property, { seed: freshSeed() | 0, numRuns: RUNS, endOnFailure: false });
});
