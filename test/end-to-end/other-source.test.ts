/** A copy that is resumed from another source of the same size: nothing else tells that it is another one. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { prng } from '../support/prng.ts';
import { MIB, runSender, startReceiver } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

test('resuming with another source is a warning, with a few changed blocks it is none', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  const first = prng(1).bytes(MIB);
  await writeFile(source, first);
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  const send = async (): Promise<string> => {
    const all = ['--keep-open', '--block-size', '64KiB', '--ticket-file', receiver.ticketFile, source];
    const { status, stderr } = await runSender(all);
    assert.equal(status, 3, stderr);
    return stderr;
  };
  await send();
  first.fill(0, 0, 2 * 64 * 1024);
  await writeFile(source, first);
  assert.doesNotMatch(await send(), /differ from this source/);
  await writeFile(source, prng(2).bytes(MIB));
  assert.match(
    await send(),
    /warning: 16 of the first 16 blocks that the target had recorded differ from this source: .*\n.*hint: if/,
  );
});
