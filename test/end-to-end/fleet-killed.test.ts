/** Twenty disks between two namespaces, and a fleet that is killed half way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assertNothingLeft } from '../support/far-machine.ts';
import {
  FleetScene,
  SENDERS_END_MS_MAX,
  fleetEventsOf,
  mostAtOnce,
  namesOf,
} from '../support/fleet-scene.ts';
import { KIB, bounded, until } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import type { Started } from '../support/run.ts';
import { skipUnlessNamespaces } from '../support/two-machines.ts';

const skip = unlessInstalled('ssh', 'sshd', 'ssh-keygen') || skipUnlessNamespaces;

async function untilOver(fleet: Started, count: number): Promise<void> {
  const isSo = (): boolean => namesOf(fleetEventsOf(fleet.stdout), 'over').length >= count;
  await until(`the end of ${count} jobs`, isSo, 60_000);
}

test(
  'twenty disks are copied within the limits, although the fleet is killed half way',
  { skip },
  async () => {
    await using scene = await FleetScene.makeApart();
    const rows = await scene.makeDisks(20, 512 * KIB);
    await scene.writeTable(rows);
    const limits = ['--at-once', '3'];
    const first = await scene.start(limits);
    await untilOver(first, 6);
    first.kill('SIGKILL');
    const killed = await bounded('the end of the fleet', first.ended);
    await until(
      'the end of its senders',
      async () => (await scene.senders()).length === 0,
      SENDERS_END_MS_MAX,
    );
    const before = fleetEventsOf(killed.stdout);
    const second = await scene.run(limits);
    assert.equal(second.status, 0, second.stderr);
    const after = fleetEventsOf(second.stdout);
    assert.equal(mostAtOnce(before), 3);
    assert.equal(mostAtOnce(after), 3);
    const done = new Set(namesOf(before, 'over'));
    const started = namesOf(after, 'started');
    for (const name of done) assert(!started.includes(name), `${name} was complete`);
    assert.equal(new Set([...done, ...started, ...namesOf(after, 'skipped')]).size, rows.length);
    await scene.assertCopied(rows);
    await assertNothingLeft(scene.machine);
    const third = await scene.run(limits);
    assert.equal(third.status, 0, third.stderr);
    assert.deepEqual(namesOf(fleetEventsOf(third.stdout), 'started'), []);
  },
);
