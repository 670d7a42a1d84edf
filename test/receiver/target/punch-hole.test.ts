/** Programs of the system that fail or are missing: zeros instead of holes, and no read-back. */
import assert from 'node:assert/strict';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { assertDiskHolds } from '../../support/disk-comparison.ts';
import {
  FAILS,
  moduleOf,
  replacedTools,
  runModule,
  skipUnlessReplaceable,
  withoutTools,
} from '../../support/replaced-tools.ts';
import { skipUnlessStrace } from '../../support/strace.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;
const needsReplacing = { skip: skipUnlessReplaceable };
const needsStrace = { skip: skipUnlessReplaceable || skipUnlessStrace };

/** Runs statements that have a file target at hand; what they print is returned. */
async function runOnFile(under: readonly string[], path: string, statements: string): Promise<string> {
  const text = `
    import { openFileTarget } from ${moduleOf('test/support/disk-targets.ts')};
    const MIB = 1024 * 1024;
    const target = await openFileTarget(${JSON.stringify(path)});
    ${statements}
    await target.close();`;
  return await runModule(under, text);
}

for (const [errno, callCount, sentence] of [
  ['EBUSY', 3, 'after EBUSY zeros are written, and the next hole is punched'],
  ['EINTR', 3, 'an interrupted call is no reason to stop punching holes'],
  ['EOPNOTSUPP', 1, 'where holes are not supported zeros are written without trying again'],
  ['ENOTTY', 1, 'where the call is unknown zeros are written without trying again'],
] as const) {
  test(sentence, needsStrace, async () => {
    await using folder = await tempDir();
    const [calls, path] = [join(folder.path, 'calls'), join(folder.path, 'disk.img')];
    const fault = `exec strace -qq -o /dev/null -e trace=fallocate -e inject=fallocate:error=${errno}`;
    // The first call fails.
    const fallocate = (real: string): string =>
      `echo >>'${calls}'; [ "$(wc -l <'${calls}')" = 1 ] && ${fault} '${real}' "$@"; exec '${real}' "$@"`;
    await writeFile(path, Buffer.alloc(16 * MIB, 0xa5));
    await runOnFile(
      await replacedTools(folder.path, { fallocate }),
      path,
      'for (const at of [1, 5, 9]) await target.writeZeros(at * MIB, 2 * MIB); await target.flush();',
    );
    assert.equal((await readFile(calls, 'utf8')).length, callCount);
    const expected = Buffer.alloc(16 * MIB, 0xa5);
    for (const at of [1, 5, 9]) expected.fill(0, at * MIB, (at + 2) * MIB);
    await assertDiskHolds(path, expected);
  });
}

test('zeros are written where no hole can be punched', needsReplacing, async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  await writeFile(path, Buffer.alloc(4 * MIB, 1));
  const under = await replacedTools(folder.path, { fallocate: FAILS });
  await runOnFile(under, path, 'await target.writeZeros(4096, 3 * MIB + 17);');
  const expected = Buffer.alloc(4 * MIB, 1).fill(0, 4096, 4096 + 3 * MIB + 17);
  assert((await readFile(path)).equals(expected));
});

test('zeros in a new file need no program and no space', needsReplacing, async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk.img');
  const printed = await runOnFile(
    withoutTools('fallocate'),
    path,
    `await target.prepare(64 * MIB);
    await target.write(Buffer.alloc(MIB + 5000, 7), 20 * MIB + 100);
    await target.writeZeros(0, 20 * MIB);
    await target.writeZeros(22 * MIB, 42 * MIB);
    // A hole has to be punched here, and there is no program for it.
    await target.writeZeros(10 * MIB, 20 * MIB).catch(({ message }) => console.log(message));`,
  );
  assert.match(printed, /^cannot run fallocate: /);
  const expected = Buffer.alloc(64 * MIB).fill(7, 20 * MIB + 100, 21 * MIB + 5100);
  await assertDiskHolds(path, expected);
  assert((await stat(path)).blocks * 512 < 2 * MIB);
});

test('read-back fails when the page cache cannot be dropped', needsReplacing, async () => {
  await using folder = await tempDir();
  const printed = await runOnFile(
    await replacedTools(folder.path, { dd: FAILS }),
    join(folder.path, 'disk.img'),
    `await target.prepare(MIB);
    await target
      .readBack(Buffer.alloc(65_537).subarray(1), 0)
      .catch(({ code, message, hint }) => console.log([code, message, hint].join('\\n')));`,
  );
  const [code, message, hint] = printed.split('\n');
  assert.equal(code, 'target-refused');
  const expected = /^cannot drop .*disk\.img from the page cache to read it back: dd iflag=nocache failed$/;
  assert.match(message ?? '', expected);
  assert.match(hint ?? '', /dd of GNU coreutils/);
});
