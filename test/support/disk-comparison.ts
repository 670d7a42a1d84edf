/** Compares disks by other programs than ours: dd past the page cache, then cmp. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fastTempDir } from './open-transfer.ts';
import { run, runOk } from './run.ts';

/** Fails unless the file or device holds exactly these bytes. */
export async function assertDiskHolds(path: string, expected: Buffer): Promise<void> {
  await using folder = await fastTempDir();
  const [copy, wanted] = [join(folder.path, 'copy'), join(folder.path, 'wanted')];
  // Old kernels have no O_DIRECT on tmpfs, where there is nothing below the page cache either.
  const copying = await run('dd', [`if=${path}`, `of=${copy}`, 'iflag=direct', 'bs=1M', 'status=none']);
  if (copying.status !== 0) await runOk('dd', [`if=${path}`, `of=${copy}`, 'bs=1M', 'status=none']);
  await writeFile(wanted, expected);
  const comparison = await run('cmp', [copy, wanted]);
  assert.equal(comparison.status, 0, `${comparison.stdout}${comparison.stderr}`);
}
