/** A source that ssh reaches: what both sides know is reported by the command that was typed. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarMachine } from '../support/far-machine.ts';
import { prng } from '../support/prng.ts';
import { MIB } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { runOk } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');

test('trouble of both sides, and the end of the run, call the commands here', { skip }, async () => {
  await using machine = await FarMachine.withSource(4 * MIB);
  const { source, target } = machine;
  const calls = join(machine.folder, 'calls');
  await writeFile(calls, '');
  const read = async (): Promise<string[]> => (await readFile(calls, 'utf8')).split('\n').slice(0, -1);
  const values = '"$DDT_PROGRAM $DDT_RESULT $DDT_CODE $DDT_STATUS $DDT_SOURCE $DDT_TARGET"';
  const command = `test "$(id -u)" = 0 && echo ${values} >> ${calls}`;
  const hooks = ['--on-done', command, '--on-trouble', command, '--trouble-after', '5m'];
  const first = await machine.pull(...hooks, '--block-size', '256KiB');
  assert.equal(first.status, 0, first.stderr);
  const disks = `${source} ${target}`;
  assert.deepEqual(await read(), [`ddt-receive verified done 0 ${disks}`]);

  // Another source, and another program at the target.
  await writeFile(source, prng(3).bytes(4 * MIB));
  const other = prng(4).bytes(4096);
  await runOk('dd', [`of=${target}`, 'bs=4096', 'seek=300', 'conv=notrunc,fsync', 'status=none'], {
    input: other,
  });
  const second = await machine.pull(...hooks, '--update');
  assert.equal(second.status, 0, second.stderr);
  const [, ...more] = await read();
  const codes = more.map((line) => line.split(' ').slice(0, 3).join(' '));
  assert.equal(codes.at(-1), 'ddt-receive verified done');
  assert(codes.includes('ddt-receive trouble other-source'), codes.join('\n'));
  assert(codes.includes('ddt-receive trouble foreign-writes'), codes.join('\n'));
  assert.equal(new Set(codes).size, codes.length, 'each once');

  const third = await machine.pullFrom(`${source}-is-gone`, ...hooks);
  assert.equal(third.status, 4, third.stderr);
  const failed = `ddt-receive failed source-refused 4 ${source}-is-gone ${target}`;
  assert.equal((await read()).at(-1), failed);
});
