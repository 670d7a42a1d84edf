/** Files that are written after the copy: checked before it, which may take days. */
import { resolve } from 'node:path';
import { TransferError } from '../../common/errors.ts';
import { findOutputProblem } from '../../common/io/output-file.ts';

export interface OutputPath {
  /** That names it, for messages. */
  readonly option: string;
  readonly path: string;
}

/** @param source path of what is copied. @throws TransferError `usage`. */
export async function checkOutputPaths(outputs: readonly OutputPath[], source: string): Promise<void> {
  const seen = new Map<string, string>();
  for (const { option, path } of outputs) {
    const problem = await findOutputProblem(path, { path: source, name: 'source' });
    if (problem !== undefined) throw refusal(option, path, problem.reason);
    const other = seen.get(resolve(path));
    if (other !== undefined) throw refusal(option, path, `${other} is written there`);
    seen.set(resolve(path), option);
  }
}

function refusal(option: string, path: string, reason: string): TransferError {
  return new TransferError('usage', `cannot write ${option} ${path}: ${reason}`);
}
