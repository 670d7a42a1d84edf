/** Builds one fault at a time into a copy of the project, to see which test finds it. */
import { access, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { mutated, type Mutation } from '../../test/support/mutant.ts';
import { run, runOk } from '../../test/support/run.ts';

export const PROJECT = resolve(import.meta.dirname, '../..');

/** Longer than any such test takes on a busy machine: a mutant may make one wait forever. */
const TEST_TIMEOUT_MS = 15_000;
const RUN_TIMEOUT_MS = 120_000;

export interface Mutant extends Mutation {
  /** What is wrong, as a clause. */
  readonly name: string;
  /** The fastest ones that should find it. */
  readonly tests: readonly string[];
}

export type Outcome =
  /** `test` is the name of the first one that failed. */
  | { readonly outcome: 'found'; readonly test: string }
  | { readonly outcome: 'survived'; readonly skippedCount: number }
  /** The tests did not even start: nobody could make this mistake unnoticed. */
  | { readonly outcome: 'unusable'; readonly output: string };

/** A row of the table. */
export function rowOf({ name, file }: Mutant, found: string): string {
  return `| ${name} | \`${file.replace(/\.ts$/, '')}\` | ${found} |`;
}

/** All files of the project that git tracks or would add, and a link to its packages. */
export class ProjectCopy implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws Error unless the project is a git checkout. */
  static async make(): Promise<ProjectCopy> {
    const listed = await runOk('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
      cwd: PROJECT,
    });
    const copy = new ProjectCopy(await mkdtemp(join(tmpdir(), 'ddt-mutants-')));
    for (const path of listed.split('\0').filter((each) => each !== '' && each !== 'node_modules')) {
      await mkdir(join(copy.#folder, dirname(path)), { recursive: true });
      await cp(join(PROJECT, path), join(copy.#folder, path));
    }
    await symlink(join(PROJECT, 'node_modules'), join(copy.#folder, 'node_modules'));
    return copy;
  }

  /** @returns why the mutant no longer fits: the code has changed, or a test is missing. */
  async whyStale({ tests, ...mutation }: Mutant): Promise<string | undefined> {
    try {
      mutated(await readFile(join(this.#folder, mutation.file), 'utf8'), mutation);
      for (const test of tests) await access(join(this.#folder, test));
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message.split('\n\n')[0] : String(error);
    }
  }

  /** Builds the fault in, runs its tests, and takes it out again. @throws AssertionError as `mutated`. */
  async try(mutant: Mutant): Promise<Outcome> {
    const path = join(this.#folder, mutant.file);
    const sound = await readFile(path, 'utf8');
    await writeFile(path, mutated(sound, mutant));
    try {
      return await this.runTests(mutant.tests);
    } finally {
      await writeFile(path, sound);
    }
  }

  /** Runs tests of the copy as it is. @param tests paths in the project. */
  async runTests(tests: readonly string[]): Promise<Outcome> {
    const timeout = `--test-timeout=${TEST_TIMEOUT_MS}`;
    // What a failed test leaves open must not delay the end.
    const options = ['--test', '--test-force-exit', '--test-reporter=tap', timeout];
    const { status, stdout, stderr } = await run(process.execPath, [...options, ...tests], {
      cwd: this.#folder,
      // Otherwise it would report to the test runner that started this process.
      env: { ...process.env, NODE_TEST_CONTEXT: undefined },
      timeoutMs: RUN_TIMEOUT_MS,
    });
    const failed = /^not ok \d+ - (.*)$/m.exec(stdout)?.[1]?.replaceAll('\\', '');
    if (failed !== undefined && !tests.some((test) => failed.endsWith(test))) {
      return { outcome: 'found', test: failed };
    }
    if (status === 0) {
      return { outcome: 'survived', skippedCount: Number(/^# skipped (\d+)$/m.exec(stdout)?.[1] ?? 0) };
    }
    return { outcome: 'unusable', output: `${stdout}${stderr}` };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}
