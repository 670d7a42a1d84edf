/** The list of mutants fits the code; `npm run mutants` tries all of them. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { MUTANTS } from '../../scripts/mutants/list.ts';
import { PROJECT, ProjectCopy, type Mutant } from '../../scripts/mutants/try-mutant.ts';
import { notApplicable, unlessInstalled } from '../support/requires.ts';
import { run } from '../support/run.ts';

const skip =
  unlessInstalled('git') || (!existsSync(join(PROJECT, '.git')) && notApplicable('not a git checkout'));
/** A small test of a small part. */
const QUICK = {
  file: 'receiver/durability/single-flight.ts',
  tests: ['test/receiver/durability/single-flight.test.ts'],
};

test('every mutant still fits the code, has tests, and has a unique name', { skip }, async () => {
  await using copy = await ProjectCopy.make();
  for (const mutant of MUTANTS) {
    assert.equal(await copy.whyStale(mutant), undefined, mutant.name);
    assert(mutant.tests.length > 0);
    for (const path of mutant.tests) assert(existsSync(join(PROJECT, path)), `${mutant.name}: ${path}`);
  }
  assert.equal(new Set(MUTANTS.map(({ name }) => name)).size, MUTANTS.length);
});

test(
  'a mutant that no test notices survives, one that a test notices is found by its name',
  { skip },
  async () => {
    await using copy = await ProjectCopy.make();
    const tried = async (from: string, to: string): Promise<unknown> => {
      const mutant: Mutant = { ...QUICK, name: 'it is another', edits: [[from, to]] };
      return await copy.try(mutant);
    };
    assert.deepEqual(await tried('Shares runs of one job', 'shares runs of one job'), {
      outcome: 'survived',
      skippedCount: 0,
    });
    assert.deepEqual(await tried('await this.#work();', ''), {
      outcome: 'found',
      test: 'who asks during a run gets the next one, and all who ask then share it',
    });
    assert.deepEqual(
      await copy.runTests(QUICK.tests),
      { outcome: 'survived', skippedCount: 0 },
      'taken out again',
    );
  },
);

test(
  'a mutant that does not run is unusable, and one that no longer fits the code is stale',
  { skip },
  async () => {
    await using copy = await ProjectCopy.make();
    const broken: Mutant = { ...QUICK, name: 'it is broken', edits: [['await this.#work();', 'await (;']] };
    assert.equal((await copy.try(broken)).outcome, 'unusable');
    const stale: Mutant = { ...QUICK, name: 'it is old', edits: [['no such code', '']] };
    assert.match(
      (await copy.whyStale(stale)) ?? '',
      /^receiver\/durability\/single-flight\.ts has this once: no such code$/,
    );
  },
);

test(
  'the script prints a row for each chosen mutant, and refuses a choice that matches none',
  { skip },
  async () => {
    const script = join(PROJECT, 'scripts/mutants/mutants.ts');
    const env = { ...process.env, NODE_TEST_CONTEXT: undefined };
    const found = await run(process.execPath, [script, '--only', 'joins the flush'], { env });
    assert.deepEqual([found.status, found.stderr], [0, '']);
    assert.match(
      found.stdout,
      /^\| a barrier joins .* \| `receiver\/durability\/single-flight` \| who asks during a run .* \|$/m,
    );
    const none = await run(process.execPath, [script, '--only', 'no such mutant'], { env });
    assert.deepEqual([none.status, none.stdout], [2, '']);
    assert.match(none.stderr, /^mutants: error: no mutant has 'no such mutant' in its name or file\n/);
  },
);
