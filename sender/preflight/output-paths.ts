/** Files that are written after the copy: checked before it, which may take days. */
import { constants } from 'node:fs';
import { access, realpath, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { TransferError, errnoOf, reasonOf } from '../../common/errors.ts';

export interface OutputPath {
  /** That names it, for messages. */
  readonly option: string;
  readonly path: string;
}

/** @param source path of what is copied. @throws TransferError `usage`. */
export async function checkOutputPaths(outputs: readonly OutputPath[], source: string): Promise<void> {
  const sourcePath = await realpath(source).catch(() => undefined);
  const seen = new Map<string, string>();
  for (const { option, path } of outputs) {
    const problem = await problemOf(path, sourcePath);
    if (problem !== undefined) throw refusal(option, path, problem);
    const other = seen.get(resolve(path));
    if (other !== undefined) throw refusal(option, path, `${other} is written there`);
    seen.set(resolve(path), option);
  }
}

async function problemOf(path: string, sourcePath: string | undefined): Promise<string | undefined> {
  const folder = dirname(resolve(path));
  try {
    const stats = await stat(path).catch((error: unknown) => {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (stats?.isDirectory() === true) return 'it is a directory';
    // It would be replaced by a file of that name.
    if (stats?.isFile() === false) return 'it is not a regular file';
    if (stats !== undefined && (await realpath(path)) === sourcePath) return 'it is the source';
    // A new file takes the place of an old one: that takes the right to write to the folder, not to the file.
    await access(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch (error) {
    return errnoOf(error) === 'ENOENT' ? `there is no folder ${folder}` : reasonOf(error);
  }
}

function refusal(option: string, path: string, reason: string): TransferError {
  return new TransferError('usage', `cannot write ${option} ${path}: ${reason}`);
}
