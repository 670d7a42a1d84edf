/** A copy of the project with one fault built in, to see whether a test finds it. */
import assert from 'node:assert/strict';
import { cp, readFile, symlink, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { tempDir } from './temp-dir.ts';

const PROJECT = resolve(import.meta.dirname, '../..');

/** Pieces of text of one file, each of which must be there exactly once, and what replaces them. */
export interface Mutation {
  readonly file: string;
  readonly edits: readonly (readonly [string, string])[];
}

export interface Mutant extends AsyncDisposable {
  /** Of its launchers. */
  readonly scripts: string;
}

/**
 * The file's text with the fault in it.
 * @throws AssertionError when the code has changed, so that the mutation has to be written anew.
 */
export function mutated(text: string, { file, edits }: Mutation): string {
  let changed = text;
  for (const [from, to] of edits) {
    assert.equal(changed.split(from).length, 2, `${file} has this once: ${from}`);
    changed = changed.replace(from, () => to);
  }
  return changed;
}

/** @throws AssertionError as {@link mutated} does. */
export async function mutant(mutation: Mutation): Promise<Mutant> {
  const folder = await tempDir();
  for (const part of ['common', 'fleet', 'receiver', 'sender', 'scripts', 'package.json']) {
    await cp(join(PROJECT, part), join(folder.path, part), { recursive: true });
  }
  await symlink(join(PROJECT, 'node_modules'), join(folder.path, 'node_modules'));
  const text = await readFile(join(PROJECT, mutation.file), 'utf8');
  await writeFile(join(folder.path, mutation.file), mutated(text, mutation));
  return {
    scripts: join(folder.path, 'scripts'),
    [Symbol.asyncDispose]: async () => await folder[Symbol.asyncDispose](),
  };
}
