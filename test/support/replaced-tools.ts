/**
 * Programs of the system with scripts in their place, for one process and what it starts: mounted over them
 * in a mount namespace of its own. PATH would not do: the system's programs come before it.
 */
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram, notWorking, unlessRoot } from './requires.ts';
import { runOk, start, type Started } from './run.ts';
import { tempDir } from './temp-dir.ts';

/** The path of the real program → what is run instead, for /bin/sh. */
type Script = (real: string) => string;

export const FAILS: Script = () => 'exit 1';

/**
 * @param scripts by the name of the program.
 * @returns what the command line starts with.
 */
export async function replacedTools(
  folder: string,
  scripts: Readonly<Record<string, Script>>,
): Promise<readonly string[]> {
  const mounts: string[] = [];
  for (const [name, script] of Object.entries(scripts)) {
    const program = findProgram(name) ?? name;
    const [real, instead] = [join(folder, `real-${name}`), join(folder, `instead-of-${name}`)];
    await copyFile(program, real);
    await writeFile(instead, `#!/bin/sh\n${script(real)}\n`, { mode: 0o755 });
    mounts.push(`mount --bind '${instead}' '${program}'`);
  }
  return inNamespace(mounts);
}

/** @returns what the command line starts with: these programs can't be run. */
export function withoutTools(...names: readonly string[]): readonly string[] {
  return inNamespace(names.map((name) => `mount --bind /dev/null '${findProgram(name) ?? name}'`));
}

function inNamespace(mounts: readonly string[]): readonly string[] {
  const script = `${mounts.join(' && ')} && exec "$@"`;
  return ['unshare', '--mount', '--propagation', 'slave', 'sh', '-c', script, 'sh'];
}

/** Runs TypeScript with this project's modules. @returns standard output. @throws ProcessFailure. */
export async function runModule(under: readonly string[], text: string): Promise<string> {
  const node = ['--disable-warning=ExperimentalWarning', '--input-type=module-typescript', '--eval', text];
  return await runOk(process.execPath, node, { under });
}

/** The address of a module, for {@link runModule}. @param path in the project. */
export function moduleOf(path: string): string {
  return JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
}

/**
 * A program that says when it has done its work and ends only when it is told to: what happens in between
 * happens between its look at a disk and whatever comes next.
 */
export interface HeldTool {
  readonly script: Script;
  /** Resolves when the program has done its work for the nth time, 1 at first. */
  done(): Promise<void>;
  release(): Promise<void>;
}

export async function heldTool(folder: string, name: string): Promise<HeldTool & AsyncDisposable> {
  const [told, go] = [join(folder, `${name}-told`), join(folder, `${name}-go`)];
  await runOk('mkfifo', [told, go]);
  const readers: Started[] = [];
  return {
    // Only the first time: the others run through.
    script: (real) =>
      `'${real}' "$@"; status=$?; if mkdir '${told}.once' 2>/dev/null; then ` +
      `echo done >'${told}'; read _ <'${go}'; fi; exit $status`,
    async done() {
      const reader = await start('cat', [told]);
      readers.push(reader);
      await reader.waitForLine(/^done$/);
    },
    async release() {
      await runOk('sh', ['-c', `echo go >'${go}'`]);
    },
    async [Symbol.asyncDispose]() {
      for (const reader of readers) await reader[Symbol.asyncDispose]();
    },
  };
}

/** For `skip`: false where programs can be replaced. */
export const skipUnlessReplaceable: string | false = unlessRoot || (await whyNotReplaceable());

async function whyNotReplaceable(): Promise<string | false> {
  await using folder = await tempDir();
  const under = await replacedTools(folder.path, { true: FAILS });
  await using started = await start('true', [], { under });
  const { status, stderr } = await started.ended;
  return status !== 1 && notWorking('mounting over a program', stderr);
}
