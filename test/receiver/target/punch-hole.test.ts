/** Holes that can't be punched: zeros are written instead, and punching is retried where that may help. */
import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FileTarget } from '../../../receiver/target/file-target.ts';
import { assertDiskHolds } from '../../support/disk-comparison.ts';
import { diskIdentity } from '../../support/disk-identity.ts';
import { runOk } from '../../support/run.ts';
import { skipUnlessStrace } from '../../support/strace.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const SHELL_PATH = process.env['PATH'] ?? '';

/** fallocate(1) whose first system call fails; `calls` gets a line for each run. */
async function writeFailingOnce(folder: string, errno: string): Promise<{ calls: string }> {
  const calls = join(folder, 'calls');
  const real = (await runOk('sh', ['-c', 'command -v fallocate'])).trim();
  const fault = `exec strace -qq -o /dev/null -e trace=fallocate -e inject=fallocate:error=${errno}`;
  const script = `#!/bin/sh
echo >>'${calls}'
[ "$(wc -l <'${calls}')" = 1 ] && ${fault} '${real}' "$@"
exec '${real}' "$@"
`;
  await writeFile(join(folder, 'fallocate'), script);
  await chmod(join(folder, 'fallocate'), 0o755);
  return { calls };
}

for (const [errno, callCount, sentence] of [
  ['EBUSY', 3, 'after EBUSY zeros are written, and the next hole is punched'],
  ['EINTR', 3, 'an interrupted call is no reason to stop punching holes'],
  ['EOPNOTSUPP', 1, 'where holes are not supported zeros are written without trying again'],
  ['ENOTTY', 1, 'where the call is unknown zeros are written without trying again'],
] as const) {
  test(sentence, { skip: skipUnlessStrace }, async () => {
    await using folder = await tempDir();
    const { calls } = await writeFailingOnce(folder.path, errno);
    process.env['PATH'] = `${folder.path}:${SHELL_PATH}`;
    const path = join(folder.path, 'disk.img');
    await writeFile(path, Buffer.alloc(16 * MIB, 0xa5));
    const target = await FileTarget.open(diskIdentity('file', path));
    try {
      for (const at of [1, 5, 9]) await target.writeZeros(at * MIB, 2 * MIB);
      await target.flush();
    } finally {
      await target.close();
      process.env['PATH'] = SHELL_PATH;
    }
    assert.equal((await readFile(calls, 'utf8')).length, callCount);
    const expected = Buffer.alloc(16 * MIB, 0xa5);
    for (const at of [1, 5, 9]) expected.fill(0, at * MIB, (at + 2) * MIB);
    await assertDiskHolds(path, expected);
  });
}
