/**
 * Breaks the code that keeps the promises, one way after the other, and tells which test notices. All:
 * `npm run mutants`; some: `npm run mutants -- --only journal`. Ends with 1 when a mutant survives.
 */
import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants/list.ts';
import { ProjectCopy, rowOf, type Mutant, type Outcome } from './mutants/try-mutant.ts';

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function fail(message: string, hint: string): void {
  process.stderr.write(`mutants: error: ${message}\nmutants: hint: ${hint}\n`);
}

function wordsFor(outcome: Exclude<Outcome, { outcome: 'unusable' }>): string {
  if (outcome.outcome === 'found') return outcome.test;
  return outcome.skippedCount === 0 ? 'SURVIVED' : `SURVIVED (${outcome.skippedCount} tests were skipped)`;
}

/** @returns the exit status. */
async function tryAll(mutants: readonly Mutant[]): Promise<number> {
  await using copy = await ProjectCopy.make();
  let stale = 0;
  for (const mutant of mutants) {
    const why = await copy.whyStale(mutant);
    if (why === undefined) continue;
    stale++;
    fail(`the list is older than the code where ${mutant.name}: ${why}`, 'write the mutant anew');
  }
  if (stale > 0) return 1;
  // Else whatever fails anyway would count as having found something.
  const sound = await copy.runTests([...new Set(mutants.flatMap(({ tests }) => tests))]);
  if (sound.outcome !== 'survived') {
    const what = sound.outcome === 'found' ? `the test '${sound.test}' fails` : 'the tests fail';
    fail(`${what} without any mutant`, 'npm test');
    return 1;
  }
  print('| what is broken | in | the first test that fails |\n|---|---|---|');
  let survivors = 0;
  for (const mutant of mutants) {
    const outcome = await copy.try(mutant);
    if (outcome.outcome === 'unusable') {
      fail(`${mutant.file} does not run any more where ${mutant.name}`, 'write the mutant anew');
      process.stderr.write(outcome.output);
      return 1;
    }
    if (outcome.outcome === 'survived') survivors++;
    print(rowOf(mutant, wordsFor(outcome)));
  }
  if (survivors === 0) return 0;
  fail(
    `${survivors} of ${mutants.length} survived`,
    'write the test that finds it, as it is a bug that could be',
  );
  return 1;
}

const { values } = parseArgs({ options: { only: { type: 'string', default: '' } } });
const chosen = MUTANTS.filter(({ name, file }) => name.includes(values.only) || file.includes(values.only));
if (chosen.length === 0) {
  fail(`no mutant has '${values.only}' in its name or file`, 'npm run mutants');
  process.exitCode = 2;
} else {
  process.exitCode = await tryAll(chosen);
}
