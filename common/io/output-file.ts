/** Files that are written at the end of a run of days: whether they can be, before it begins. */
import { constants, type Stats } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { errnoOf, reasonOf } from '../errors.ts';

export interface OutputProblem {
  readonly reason: string;
  /** A command, or what to do instead. */
  readonly hint: string;
}

/**
 * @param disk the source or target, which the file would replace; `name` for messages.
 * @returns why the file can't be created or replaced; undefined if it can.
 */
export async function findOutputProblem(
  path: string,
  disk: { readonly path: string; readonly name: string },
): Promise<OutputProblem | undefined> {
  const folder = dirname(resolve(path));
  try {
    const [found, other] = await Promise.all([statOrNull(path), stat(disk.path).catch(() => null)]);
    if (found?.isFile() === false) {
      const what = found.isDirectory() ? 'a directory' : 'not a regular file';
      return { reason: `it is ${what}`, hint: 'name a file that does not exist yet' };
    }
    const isSame = found !== null && other?.dev === found.dev && other.ino === found.ino;
    if (isSame || resolve(path) === resolve(disk.path)) {
      return { reason: `it is the ${disk.name}`, hint: 'name another file' };
    }
    // A new file replaces an old one, which needs the right to write to the folder, not to the file.
    await access(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') {
      return { reason: `there is no folder ${folder}`, hint: `mkdir -p ${folder}` };
    }
    return { reason: `${folder}: ${reasonOf(error)}`, hint: 'name a file in another folder' };
  }
}

async function statOrNull(path: string): Promise<Stats | null> {
  return await stat(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return null;
    throw error;
  });
}
