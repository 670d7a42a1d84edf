/**
 * Breaks the code in one way after another and prints the test that notices. `npm run mutants` tries all of
 * them, `npm run mutants -- --only journal` some. Exits with 1 when a mutant survives.
 */
import { parseArgs } from 'node:util';
import { MUTANTS } from './list.ts';
import { ProjectCopy, rowOf, type Mutant, type Outcome } from './try-mutant.ts';

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
    fail(`the code has changed since this mutant was written: ${mutant.name}: ${why}`, 'rewrite the mutant');
  }
  if (stale > 0) return 1;
  // A test that fails anyway would count as having found the mutant.
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
      fail(`${mutant.file} does not run with this mutant: ${mutant.name}`, 'rewrite the mutant');
      process.stderr.write(outcome.output);
      return 1;
    }
    if (outcome.outcome === 'survived') survivors++;
    print(rowOf(mutant, wordsFor(outcome)));
  }
  if (survivors === 0) return 0;
  fail(`${survivors} of ${mutants.length} survived`, 'write the test that would find such a bug');
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
