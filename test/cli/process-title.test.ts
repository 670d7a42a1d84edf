import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { prng } from '../support/prng.ts';
import { MIB, startReceiver, startSender, until } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

test('ps and pgrep show ddt-send with its source, and the ticket of the command line is gone', async () => {
  await using folder = await tempDir();
  const source = join(folder.path, 'source');
  await writeFile(source, prng(1).bytes(MIB));
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  for (const args of [
    [source, receiver.ticket],
    [receiver.ticket, source],
  ]) {
    await using sender = await startSender(['--bwlimit', '1K', ...args]);
    const read = async (name: string): Promise<string> =>
      await readFile(`/proc/${sender.pid}/${name}`, 'utf8');
    await until('the title', async () => (await read('comm')).startsWith('ddt-send:'));
    assert.equal((await read('cmdline')).replaceAll('\0', ''), `ddt-send: ${source}`);
    sender.kill('SIGINT');
    await sender.ended;
  }
});
