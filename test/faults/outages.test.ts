/**
 * Outages between two machines: connections that hang are replaced, nothing has to be restarted by hand, and
 * the sender reports what it waits for.
 */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { assertCopied, randomSource } from '../support/copied.ts';
import { doneOf, until } from '../support/processes.ts';
import { progressEventsOf } from '../support/progress-events.ts';
import type { Ended, Started } from '../support/run.ts';
import { tempDir } from '../support/temp-dir.ts';
import { ELSEWHERE, FAR, NEAR, TwoMachines, skipUnlessNamespaces } from '../support/two-machines.ts';

const BLOCKS = 64;
/** 16 blocks a second, so that the outage comes in the middle. */
const SLOWLY = ['--block-size', '64KiB', '--connections', '4', '--bwlimit', '1M'];
/** Blocks in flight, and those of the last second, which no flush has made durable yet. */
const LOST_MAX = 4 + 2 * 16;

interface Scene extends AsyncDisposable {
  readonly machines: TwoMachines;
  readonly folder: string;
  readonly source: string;
  readonly target: string;
  /** The progress so far. */
  durable(sender: Started): number;
}

async function scene(): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const folder = stack.use(await tempDir()).path;
  const source = await randomSource(folder, BLOCKS);
  const machines = stack.use(await TwoMachines.make());
  const moved = stack.move();
  return {
    machines,
    folder,
    source,
    target: join(folder, 'target'),
    durable: ({ stdout }) => Number(/.*"blocksDurable":(\d+)/s.exec(stdout)?.[1] ?? 0),
    [Symbol.asyncDispose]: async () => await moved.disposeAsync(),
  };
}

async function middle(all: Scene, sender: Started): Promise<void> {
  await until('some blocks to be durable', () => all.durable(sender) >= 8);
}

/** What it reported to wait for. */
function waitingOf({ stdout }: Ended): { code: string; message: string; seconds: number }[] {
  return progressEventsOf(stdout).filter(({ event }) => event === 'waiting') as never;
}

async function receiverKilled(all: Scene, t: TestContext): Promise<void> {
  const receiver = await all.machines.receive(all.folder);
  const sender = await all.machines.send(all.folder, all.source, ...SLOWLY);
  await middle(all, sender);
  receiver.kill('SIGKILL');
  await receiver.ended;
  await sender.waitForLine(/"event":"waiting".*"seconds":2\b/);
  await all.machines.receive(all.folder);
  const ended = await sender.ended;
  await assertCopied(ended, all.source, all.target);
  const { blocksSent, blocksResent } = doneOf(ended);
  t.diagnostic(`${blocksResent} of ${blocksSent} blocks were sent again`);
  assert(blocksResent <= LOST_MAX, `${blocksResent}`);
  const [first] = waitingOf(ended);
  assert.equal(first?.code, 'connection-failed');
  assert.match(
    waitingOf(ended).at(-1)?.message ?? '',
    /^waiting for the receiver: (connection refused|the connection was (closed|reset))$/,
  );
  assert.match(ended.stderr, /warning: cannot reach the receiver at 10\.77\.0\.2:8443: .*; retrying\n/);
}

async function shortSilence(all: Scene): Promise<void> {
  await all.machines.receive(all.folder);
  const sender = await all.machines.send(all.folder, all.source, ...SLOWLY);
  await middle(all, sender);
  await all.machines.removeAddress('far', FAR);
  await delay(3000);
  await all.machines.addAddress('far', FAR);
  const ended = await sender.ended;
  await assertCopied(ended, all.source, all.target);
  assert.equal(doneOf(ended).blocksResent, 0);
}

async function ownAddressChanges(all: Scene): Promise<void> {
  await all.machines.receive(all.folder);
  const sender = await all.machines.send(all.folder, all.source, ...SLOWLY);
  await middle(all, sender);
  await all.machines.removeAddress('near', NEAR);
  await all.machines.addAddress('near', ELSEWHERE);
  await sender.waitForLine(/warning: no data on the connection for \d+ s; retrying$/);
  const ended = await sender.ended;
  await assertCopied(ended, all.source, all.target);
  assert(doneOf(ended).blocksResent <= LOST_MAX);
}

async function nameMoves(all: Scene): Promise<void> {
  await all.machines.nameFar('vm.test', FAR);
  await all.machines.receive(all.folder, 'vm.test');
  const sender = await all.machines.send(all.folder, all.source, ...SLOWLY);
  await middle(all, sender);
  await all.machines.removeAddress('far', FAR);
  await all.machines.addAddress('far', ELSEWHERE);
  await all.machines.nameFar('vm.test', ELSEWHERE);
  await assertCopied(await sender.ended, all.source, all.target);
}

async function ticketMoves(all: Scene): Promise<void> {
  await all.machines.receive(all.folder);
  const first = await all.machines.send(all.folder, all.source, ...SLOWLY);
  await middle(all, first);
  first.kill('SIGINT');
  assert.equal((await first.ended).status, 130);
  await all.machines.removeAddress('far', FAR);
  await all.machines.addAddress('far', ELSEWHERE);
  const ticketFile = join(all.folder, 'ticket');
  const ticket = await readFile(ticketFile, 'utf8');
  await writeFile(ticketFile, ticket.replace(/\/\/[^/]*\//, `//${ELSEWHERE}:8443/`));
  const ended = await (await all.machines.send(all.folder, all.source)).ended;
  await assertCopied(ended, all.source, all.target);
  assert(doneOf(ended).blocksSkipped >= 8, 'it resumes, and does not start over');
}

async function stoppedForLong(all: Scene): Promise<void> {
  const receiver = await all.machines.receive(all.folder);
  const sender = await all.machines.send(all.folder, all.source, ...SLOWLY, '--retry-for', '3s');
  await middle(all, sender);
  receiver.kill('SIGKILL');
  await sender.waitForLine(/"event":"waiting"/);
  sender.kill('SIGSTOP');
  await receiver.ended;
  await all.machines.receive(all.folder);
  await delay(4000);
  sender.kill('SIGCONT');
  await assertCopied(await sender.ended, all.source, all.target);
}

/** Each with its own two machines. */
const OUTAGES: readonly (readonly [string, (all: Scene, t: TestContext) => Promise<void>])[] = [
  ['a receiver that was killed and comes back is gone on with; nothing durable goes twice', receiverKilled],
  ['a short silence costs no block', shortSilence],
  ['a sender whose own address changes connects anew while the old connections hang', ownAddressChanges],
  ['a receiver that has another address is found again by its name, in the same run', nameMoves],
  ['a ticket whose address was replaced by the new one resumes', ticketMoves],
  ['a sender stopped for longer than --retry-for continues if the receiver is there', stoppedForLong],
];

describe('outages', { skip: skipUnlessNamespaces, concurrency: true }, () => {
  for (const [name, happen] of OUTAGES) {
    test(name, async (t) => {
      await using all = await scene();
      await happen(all, t);
    });
  }
});

/** A ticket of a receiver that nobody can reach any more. */
async function abandoned(all: Scene, advertise = FAR): Promise<void> {
  const receiver = await all.machines.receive(all.folder, advertise);
  receiver.kill('SIGTERM');
  await receiver.ended;
}

const STATES = [
  ['refused', 'connection refused', async (all: Scene) => await abandoned(all)],
  [
    'unreachable',
    'no route to the host',
    async (all: Scene) => {
      await abandoned(all);
      await all.machines.ip('near', 'route', 'add', 'unreachable', FAR);
    },
  ],
  ['without an address', 'the host name ', async (all: Scene) => await abandoned(all, 'vm.invalid')],
  [
    'in use',
    'another ddt-send at 10.77.0.1 is sending to this target',
    async (all: Scene) => {
      await all.machines.receive(all.folder);
      await middle(all, await all.machines.send(all.folder, all.source, ...SLOWLY, '--bwlimit', '64K'));
    },
  ],
] as const;

describe('--retry-for ends it with 6', { skip: skipUnlessNamespaces, concurrency: true }, () => {
  for (const [state, reason, prepare] of STATES) {
    test(`when the receiver is ${state}`, async () => {
      await using all = await scene();
      await prepare(all);
      const ended = await (await all.machines.send(all.folder, all.source, '--retry-for', '2s')).ended;
      assert.equal(ended.status, 6, ended.stderr);
      const firstContact =
        /error: gave up after \d+ s: cannot reach .*\n.*hint: (is TCP 8443 open|check the host name)/;
      const later = /error: gave up after \d+ s without progress: .*\n.*hint: run the same/;
      assert.match(ended.stderr, state === 'in use' ? later : firstContact);
      const [first] = waitingOf(ended);
      assert(first?.message.includes(reason) === true, ended.stdout);
      const last = progressEventsOf(ended.stdout).at(-1);
      assert.deepEqual([last?.['event'], last?.['code']], ['failed', 'no-progress']);
    });
  }
});
