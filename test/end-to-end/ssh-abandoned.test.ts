/** A start that comes to nothing: what it has started ends by itself. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarMachine, NOWHERE, OURS } from '../support/far-machine.ts';
import { MIB, until } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const LEFT_MS_MAX = 60_000;

test('a sender that dies at the start leaves nothing running for a minute', { skip }, async () => {
  await using machine = await FarMachine.withSource(MIB);
  const sender = await machine.startSend(...NOWHERE);
  await machine.receiver();
  sender.killGroup('SIGKILL');
  await sender.ended;
  const isQuiet = async (): Promise<boolean> => (await machine.processes(OURS)).length === 0;
  await until('the end of all processes', isQuiet, LEFT_MS_MAX);
  assert(existsSync(machine.base), 'its state stays');
  const temporary = join(machine.folder, 'tmp');
  assert.equal((await readdir(temporary)).length, 1);
  const { status, stderr } = await machine.send();
  assert.equal(status, 0, stderr);
  assert.deepEqual(await readdir(temporary), [], 'also of the run before');
});
