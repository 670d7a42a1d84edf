/** Killed on either side, or both, or ssh alone: the copy continues, or the same command resumes it. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { FarMachine, NOWHERE, assertNothingLeft, killAll } from '../support/far-machine.ts';
import { MIB, assertEqualFiles, bounded, eventsOf } from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import type { Ended, Started } from '../support/run.ts';

const skip = unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen');
const SOURCE_BYTES = 24 * MIB;
/** The copy takes some seconds. */
const SLOWLY = ['--bwlimit', '4M', '--progress', 'json', '--compress', 'none'];
const END_MS_MAX = 90_000;

async function make(): Promise<FarMachine> {
  return await FarMachine.withSource(SOURCE_BYTES);
}

/** Some of it is durable, some of it is not. */
async function halfWay(sender: Started): Promise<void> {
  await sender.waitForLine(/"percent":[2-7]\d,.*"blocksDurable":[1-9]/);
}

function assertDone({ status, stdout, stderr }: Ended): Record<string, unknown> {
  assert.equal(status, 0, stderr);
  return eventsOf(stdout).at(-1) ?? {};
}

async function assertComplete(machine: FarMachine, ended: Ended): Promise<Record<string, unknown>> {
  const done = assertDone(ended);
  await assertEqualFiles(machine.source, machine.target);
  await assertNothingLeft(machine);
  return done;
}

void suite('interruptions', { skip, concurrency: 3 }, () => {
  for (const [name, way] of [
    ['straight to the port', []],
    ['through ssh', NOWHERE],
  ] as const) {
    test(`a receiver that is killed is started again, ${name}`, async () => {
      await using machine = await make();
      const sender = await machine.startSend(...SLOWLY, ...way);
      await halfWay(sender);
      killAll(await machine.receivers());
      const ended = await bounded('the sender', sender.ended, END_MS_MAX);
      const done = await assertComplete(machine, ended);
      assert.equal(done['blocksSkipped'], 0, 'in one run');
      assert.match(ended.stderr, /^note {5}the receiver at loopback had ended, and was started again$/m);
    });
  }

  test('connections that fail together count as one failure, and none after the restart', async () => {
    await using machine = await make();
    const sender = await machine.startSend(...SLOWLY, ...NOWHERE, '--connections', '8');
    await halfWay(sender);
    killAll(await machine.receivers());
    const ended = await bounded('the sender', sender.ended, END_MS_MAX);
    // It is said of longer ones only.
    const [, outage = '0 s'] = /^note {5}resumed after (.*)$/m.exec(ended.stderr) ?? [];
    assert.match(outage, /^\d s$/);
    await assertComplete(machine, ended);
  });

  test('ssh that is killed is started again', async () => {
    await using machine = await make();
    const sender = await machine.startSend(...SLOWLY, ...NOWHERE);
    await halfWay(sender);
    const [receiver] = await machine.receivers();
    killAll((await machine.processes(/^ssh[: ]/)).map(({ id }) => id));
    const ended = await bounded('the sender', sender.ended, END_MS_MAX);
    assert.notEqual(receiver, undefined);
    await assertComplete(machine, ended);
  });

  test('after a sender that is killed, the same command finds the receiver', async () => {
    await using machine = await make();
    const sender = await machine.startSend(...SLOWLY, ...NOWHERE);
    await halfWay(sender);
    const [receiver] = await machine.receivers();
    sender.kill('SIGKILL');
    await sender.ended;
    assert.deepEqual(await machine.receivers(), [receiver], 'it waits');
    const done = await assertComplete(machine, await machine.send('--progress', 'json', ...NOWHERE));
    assert(Number(done['blocksSkipped']) > 0, JSON.stringify(done));
  });

  test('after both were killed, the same command resumes', async () => {
    await using machine = await make();
    const sender = await machine.startSend(...SLOWLY);
    await halfWay(sender);
    sender.kill('SIGKILL');
    killAll(await machine.receivers());
    await sender.ended;
    const done = await assertComplete(machine, await machine.send('--progress', 'json'));
    assert(Number(done['blocksSkipped']) > 0, JSON.stringify(done));
  });
});

void suite('interruptions by the user', { skip, concurrency: 3 }, () => {
  test('Ctrl-C leaves a receiver that waits, and says so', async () => {
    await using machine = await make();
    const sender = await machine.startSend(...SLOWLY, ...NOWHERE);
    await halfWay(sender);
    sender.killGroup('SIGINT');
    const { status, stderr } = await bounded('the sender', sender.ended);
    assert.equal(status, 130, stderr);
    assert.match(stderr, /^left {5}at loopback: the receiver, which waits, and \/.*\/ssh\/[0-9a-f]{16}$/m);
    assert.equal((await machine.receivers()).length, 1);
    await assertComplete(machine, await machine.send('--progress', 'json'));
  });

  test('a second command waits for the first, and leaves its receiver alone', async () => {
    await using machine = await make();
    // Until the second one has logged in, which takes a while on a busy machine.
    const first = await machine.startSend(...SLOWLY, '--bwlimit', '1M');
    await first.waitForLine(/"blocksDurable":[1-9]/);
    const [receiver] = await machine.receivers();
    const second = await machine.startSend();
    await second.waitForLine(/another ddt-send at 127\.0\.0\.1 is sending to this target/);
    second.killGroup('SIGINT');
    const { status, stderr } = await bounded('the second sender', second.ended);
    assert.equal(status, 130, stderr);
    assert.deepEqual(await machine.receivers(), [receiver]);
    await assertComplete(machine, await bounded('the first sender', first.ended, END_MS_MAX));
  });

  test('a running copy is not discarded by another command', async () => {
    await using machine = await make();
    const first = await machine.startSend(...SLOWLY, '--bwlimit', '1M');
    await first.waitForLine(/"blocksDurable":[1-9]/);
    const [receiver] = await machine.receivers();
    for (const option of ['--discard-transfer', '--update']) {
      const { status, stderr } = await machine.send(option, '--yes');
      assert.equal(status, 4, stderr);
      assert.match(stderr, /error: another ddt-send is sending to \S+ at loopback\n.*hint: wait until/s);
    }
    assert.deepEqual(await machine.receivers(), [receiver]);
    first.kill('SIGKILL');
    await first.ended;
    // Nobody is connected: it is stopped, and begun again.
    const done = await assertComplete(
      machine,
      await machine.send('--progress', 'json', '--discard-transfer', '--overwrite-target', '--yes'),
    );
    assert.equal(done['blocksSkipped'], 0, JSON.stringify(done));
  });
});
