/** The line to the machine of the source is down for longer than its sender waits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FarMachine } from '../support/far-machine.ts';
import { MIB, assertEqualFiles, bounded, eventsOf, until } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { FAR, TwoMachines, skipUnlessNamespaces } from '../support/two-machines.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen') || skipUnlessNamespaces;
const SLOWLY = ['--bwlimit', '4M', '--progress', 'json', '--compress', 'none'];
const END_MS_MAX = 180_000;

test('a sender that the line leaves alone ends, and another one resumes', { skip }, async () => {
  await using machines = await TwoMachines.make();
  const [far, near] = [machines.under('far'), machines.under('near')];
  await using machine = await FarMachine.withSource(24 * MIB, { elsewhere: { address: FAR, far, near } });
  const run = await machine.startPull(SLOWLY, near);
  await run.waitForLine(/"percent":[2-7]\d,.*"blocksDurable":[1-9]/);
  await machines.ip('far', 'link', 'set', 'line', 'down');
  const senders = async (): Promise<number> => (await machine.processes(/^ddt-send: /)).length;
  assert.equal(await senders(), 1);
  await until('the end of the sender', async () => (await senders()) === 0, 60_000);
  assert(run.isRunning);
  await machines.ip('far', 'link', 'set', 'line', 'up');
  const { status, stdout, stderr } = await bounded('the run', run.ended, END_MS_MAX);
  assert.equal(status, 0, stderr);
  assert.match(stderr, /warning: the sender at loopback was lost: /);
  assert(Number(eventsOf(stdout).at(-1)?.['blocksSkipped']) > 0, stdout);
  await assertEqualFiles(machine.source, machine.target);
});
