import * as fc from 'fast-check';
import { test } from 'node:test';
import { DurabilitySimulation } from '../../support/durability-simulation.ts';
import { anyStep } from '../../support/durability-steps.ts';
import { fastTempDir } from '../../support/open-transfer.ts';
import { freshSeed } from '../../support/prng.ts';

const RUNS = Number(process.env['DDT_TEST_RUNS'] ?? 120);

test('whatever fails in whatever order, the journal lists only what the medium holds', async () => {
  const steps = fc.array(anyStep, { minLength: 1, maxLength: 40, size: 'max' });
  const property = fc.asyncProperty(steps, async (sequence) => {
    await using own = await fastTempDir();
    await using simulation = await DurabilitySimulation.start(own.path);
    for (const one of sequence) await simulation.run(one);
    await simulation.recover();
  });
  await fc.assert(property, { seed: freshSeed() | 0, numRuns: RUNS, endOnFailure: false });
});
