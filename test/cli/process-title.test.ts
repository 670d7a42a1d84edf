import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { prng } from '../support/prng.ts';
import { MIB, PROGRAMS, environment, startReceiver, startSender, until } from '../support/processes.ts';
import { run } from '../support/run.ts';
import { skipUnlessStrace } from '../support/strace.ts';
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

test(
  'no program that ddt-send starts gets the ticket as an argument, nor does Node.js',
  { skip: skipUnlessStrace },
  async () => {
    await using folder = await tempDir();
    const [source, log] = [join(folder.path, 'source'), join(folder.path, 'log')];
    await writeFile(source, prng(1).bytes(MIB));
    await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
    const { ticket } = receiver;
    const blank = ticket.indexOf('ddt1.') + 200;
    for (const words of [
      [source, ticket],
      [ticket, source],
      ['--yes', `ticket: ${ticket}\n`, source],
      [source, ticket.slice(0, blank), ticket.slice(blank)],
    ]) {
      const trace = ['-f', '-qq', '--signal=none', '--trace=execve', '-v', '-s', '4096', '-o', log];
      const command = [...trace, join(PROGRAMS, 'ddt-send'), ...words];
      const { status, stderr } = await run('strace', command, { env: environment() });
      assert.equal(status, 0, stderr);
      const started = (await readFile(log, 'utf8')).split('\n').filter((line) => line.includes('execve('));
      const argumentsOf = (line: string): string => /execve\("[^"]*", \[(.*?)\], \[/.exec(line)?.[1] ?? '';
      const [first = '', ...others] = started.map(argumentsOf);
      assert(first.includes('ddt1.') && others.length > 3, first);
      for (const each of others) assert.doesNotMatch(each, /ddt1\.|#pin=/);
      // Node.js finds the ticket in its environment, and hands it on to nobody.
      const node = started.findLastIndex((line) => line.includes('/main.ts'));
      assert(started[node]?.includes('DDT_ARGUMENT_1='));
      assert(!started.slice(node + 1).some((line) => line.includes('DDT_ARGUMENT_')));
    }
  },
);
