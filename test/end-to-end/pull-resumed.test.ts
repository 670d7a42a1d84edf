/** A run that pulls, with something of it killed: it continues, or the same command resumes it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FarMachine, OURS, PULL_NOWHERE, assertNothingLeft, killAll } from '../support/far-machine.ts';
import { MIB, assertEqualFiles, bounded, eventsOf, until } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import type { Ended, Started } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const SOURCE_BYTES = 24 * MIB;
/** The copy takes some seconds. */
const SLOWLY = ['--bwlimit', '4M', '--progress', 'json', '--compress', 'none'];
const END_MS_MAX = 90_000;
/** A sender ends when its login does; a login whose line hangs is not tried here. */
const LEFT_MS_MAX = 30_000;

async function make(): Promise<FarMachine> {
  return await FarMachine.withSource(SOURCE_BYTES);
}

/** Some of it is durable, some of it is not. */
async function halfWay(run: Started): Promise<void> {
  await run.waitForLine(/"percent":[2-7]\d,.*"blocksDurable":[1-9]/);
}

async function kill(machine: FarMachine, name: RegExp): Promise<void> {
  const found = await machine.processes(name);
  killAll(found.map(({ id }) => id));
}

async function assertComplete(machine: FarMachine, ended: Ended): Promise<Record<string, unknown>> {
  assert.equal(ended.status, 0, ended.stderr);
  await assertEqualFiles(machine.source, machine.target);
  await assertNothingLeft(machine);
  return eventsOf(ended.stdout).at(-1) ?? {};
}

async function assertResumed(machine: FarMachine): Promise<void> {
  const done = await assertComplete(machine, await machine.pull('--progress', 'json'));
  assert(Number(done['blocksSkipped']) > 0, JSON.stringify(done));
}

async function assertQuiet(machine: FarMachine): Promise<void> {
  const isQuiet = async (): Promise<boolean> => (await machine.processes(OURS)).length === 0;
  await until('the end of all processes', isQuiet, LEFT_MS_MAX);
}

void suite('interruptions of a run that pulls', { skip, concurrency: 3 }, () => {
  for (const [name, way] of [
    ['straight to the port', []],
    ['through ssh', PULL_NOWHERE],
  ] as const) {
    test(`a sender that is killed is started again, ${name}`, async () => {
      await using machine = await make();
      const run = await machine.startPull([...SLOWLY, ...way]);
      await halfWay(run);
      await kill(machine, /^ddt-send: /);
      const ended = await bounded('the run', run.ended, END_MS_MAX);
      assert.match(ended.stderr, /warning: the sender at loopback was lost: .*; it is started again$/m);
      const done = await assertComplete(machine, ended);
      assert(Number(done['blocksSkipped']) > 0, JSON.stringify(done));
    });

    test(`all of ssh that is killed is started again, ${name}`, async () => {
      await using machine = await make();
      const run = await machine.startPull([...SLOWLY, ...way]);
      await halfWay(run);
      await kill(machine, /^ssh[: ]/);
      const ended = await bounded('the run', run.ended, END_MS_MAX);
      assert.match(ended.stderr, /was lost/);
      await assertComplete(machine, ended);
    });

    test(`of a run that is killed nothing stays, and the same command resumes it, ${name}`, async () => {
      await using machine = await make();
      const run = await machine.startPull([...SLOWLY, ...way]);
      await halfWay(run);
      run.kill('SIGKILL');
      await run.ended;
      await assertQuiet(machine);
      await assertResumed(machine);
    });
  }
});

void suite('parts that are killed', { skip, concurrency: 3 }, () => {
  test('connections that are killed are replaced', async () => {
    await using machine = await make();
    const run = await machine.startPull([...SLOWLY, ...PULL_NOWHERE]);
    await halfWay(run);
    await kill(machine, /^ssh .* -W /);
    const ended = await bounded('the run', run.ended, END_MS_MAX);
    assert.doesNotMatch(ended.stderr, /was lost/);
    const done = await assertComplete(machine, ended);
    assert.equal(done['blocksSkipped'], 0, 'in one run');
  });

  test('a receiver that is killed ends the run, and the same command resumes it', async () => {
    await using machine = await make();
    const run = await machine.startPull(SLOWLY);
    await halfWay(run);
    await kill(machine, /^ddt-receive: \S+$/);
    const { status, stderr } = await bounded('the run', run.ended, END_MS_MAX);
    assert.equal(status, 5, stderr);
    assert.match(stderr, /error: the receiver was killed$/m);
    await assertQuiet(machine);
    await assertResumed(machine);
  });

  test('Ctrl-C ends both sides, and the same command resumes it', async () => {
    await using machine = await make();
    const run = await machine.startPull([...SLOWLY, ...PULL_NOWHERE]);
    await halfWay(run);
    run.killGroup('SIGINT');
    const { status, stderr } = await bounded('the run', run.ended, END_MS_MAX);
    assert.equal(status, 130, stderr);
    assert.match(stderr, /hint: run the same command again to resume$/m);
    await assertQuiet(machine);
    await assertResumed(machine);
  });
});
