/** Several disks in one run of ddt-send: with tickets, and through ssh. */
import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { BLOCK_BYTES, SMALL_BLOCKS, randomSource } from '../support/copied.ts';
import { damagedDisk } from '../support/damaged-disk.ts';
import { skipUnlessFaultDisk } from '../support/fault-disk.ts';
import { FarMachine, NOWHERE, assertNothingLeft } from '../support/far-machine.ts';
import {
  MIB,
  assertEqualFiles,
  bounded,
  eventsOf,
  runSender,
  startReceiver,
  startSender,
  until,
  type Receiver,
} from '../support/processes.ts';
import { unlessInstalled, unlessRoot } from '../support/requires.ts';
import { makeSshKey, publicLine } from '../support/ssh-keygen.ts';
import { tempDir } from '../support/temp-dir.ts';
import { TicketClient } from '../support/ticket-client.ts';
import { skipUnlessTmpfs, tmpfs } from '../support/tmpfs.ts';

const COUNTS = [40, 16, 24];

interface Scene extends AsyncDisposable {
  readonly folder: string;
  readonly sources: readonly string[];
  readonly targets: readonly string[];
  readonly receiver: Receiver;
  /** What each run of ddt-send begins with. */
  readonly words: readonly string[];
}

/** Three sources of different sizes, and a receiver for all of them. */
async function makeScene(
  options: readonly string[] = [],
  place?: (folder: string, at: number) => string,
): Promise<Scene> {
  await using stack = new AsyncDisposableStack();
  const { path: folder } = stack.use(await tempDir());
  const sources: string[] = [];
  for (const count of COUNTS) sources.push(await randomSource(folder, count));
  const [target = '', ...more] = COUNTS.map((_, at) => place?.(folder, at) ?? join(folder, `target-${at}`));
  const receiver = stack.use(await startReceiver({ folder, target, more, options }));
  const owned = stack.move();
  return {
    folder,
    sources,
    targets: [target, ...more],
    receiver,
    words: [...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, ...sources],
    [Symbol.asyncDispose]: async () => await owned.disposeAsync(),
  };
}

async function assertAllEqual({ sources, targets }: Pick<Scene, 'sources' | 'targets'>): Promise<void> {
  for (const [at, source] of sources.entries()) await assertEqualFiles(source, targets[at] ?? '');
}

test('all are shown first, then copied one after another, each with its receipt', async () => {
  await using scene = await makeScene(['--once']);
  const { folder, sources, targets, receiver, words } = scene;
  const receipts = join(folder, 'receipts');
  await mkdir(receipts);
  const { status, stdout, stderr } = await runSender([...words, '--progress', 'json', '--receipt', receipts]);
  assert.equal(status, 0, stderr);
  const shown = stderr.split('\n').map((line) => line.replace(/^(\w+) +([^ :]+).*/, '$1 $2'));
  const begun = shown.indexOf('disk 1');
  assert.deepEqual(shown.slice(0, begun), [
    ...sources.map((source) => `source ${source}`),
    ...targets.map((target) => `target ${target}`),
  ]);
  const lines = stderr.split('\n').filter((line) => /^(disk|result) /.test(line));
  const pairs = sources.map((source, at) => `${at + 1} of 3: ${source} to ${targets[at]}`);
  assert.deepEqual(lines, [
    ...pairs.map((pair) => `disk     ${pair}`),
    ...pairs.map((pair) => `result   ${pair}: verified`),
  ]);
  const events = eventsOf(stdout).filter(({ event }) => event !== 'progress');
  assert.deepEqual(
    events.map(({ event, number = null, count = null, blocksTotal = null }) => [
      event,
      number,
      count,
      blocksTotal,
    ]),
    COUNTS.flatMap((blocks, at) => [
      ['disk', at + 1, 3, null],
      ['done', null, null, blocks],
    ]),
  );
  await assertAllEqual(scene);
  const names = sources.map((source, at) => `${at + 1}-${source.split('/').at(-1)}.json`);
  assert.deepEqual(
    (await readdir(receipts)).sort(),
    names.flatMap((name) => [name, `${name}.digests`, `${name}.sig`]).sort(),
  );
  const ended = await bounded('the receiver to end', receiver.process.ended);
  assert.equal(ended.status, 0, ended.stderr);
});

test('both sides are killed, and the same commands resume: what is complete is compared last', async () => {
  await using scene = await makeScene();
  const { receiver, words, sources } = scene;
  const [, second = ''] = receiver.tickets;
  await using sender = await startSender([...words, '--bwlimit', '512KiB', '--progress', 'plain']);
  await sender.waitForLine(/^disk {5}2 of 3: /);
  {
    using client = new TicketClient(second);
    await until('some of the second', async () => (await client.durableCount()) > 2);
  }
  sender.kill('SIGKILL');
  await bounded('the sender to end', sender.ended);
  await receiver.end('SIGKILL');
  await receiver.start();
  const { status, stdout, stderr } = await runSender([...words, '--progress', 'json']);
  assert.equal(status, 0, stderr);
  const order = [...stderr.matchAll(/^disk {5}(\d) of 3: /gm)].map(([, number]) => Number(number));
  assert.deepEqual(order, [2, 3, 1]);
  const done = eventsOf(stdout).filter(({ event }) => event === 'done');
  assert(Number(done[0]?.['blocksSkipped']) > 2, 'the second goes on where it was');
  assert.deepEqual([done[2]?.['blocksSent'], done[2]?.['blocksSkipped']], [0, COUNTS[0]]);
  await assertAllEqual(scene);
  await writeFile(sources[0] ?? '', Buffer.alloc(5, 1), { flag: 'r+' });
  const changed = await runSender(words);
  assert.equal(changed.status, 3, 'exit 0 says that the source was read in this run');
  assert.match(changed.stderr, /^result {3}1 of 3: .*: finished, not proven$/m);
  assert.match(changed.stderr, /^result {3}3 of 3: .*: verified$/m);
});

test(
  'an unreadable source does not keep the next ones from being copied',
  { skip: skipUnlessFaultDisk },
  async () => {
    await using scene = await makeScene();
    const { sources, targets, receiver } = scene;
    await using disk = await damagedDisk(16 * BLOCK_BYTES);
    await disk.spoil([[5 * BLOCK_BYTES, 5 * BLOCK_BYTES + 512]]);
    const all = [sources[0] ?? '', disk.path, sources[2] ?? ''];
    const { status, stderr } = await runSender([
      ...SMALL_BLOCKS,
      '--ticket-file',
      receiver.ticketFile,
      ...all,
    ]);
    assert.equal(status, 5, stderr);
    assert.match(stderr, new RegExp(`^ddt-send: error: .*${disk.path}`, 'm'));
    const results = [...stderr.matchAll(/^result .*: (.*)$/gm)].map(([, result]) => result);
    assert.deepEqual(results, ['verified', 'failed (exit status 5)', 'verified']);
    for (const at of [0, 2]) await assertEqualFiles(all[at] ?? '', targets[at] ?? '');
  },
);

test(
  'a target that is full is given up after --retry-for, and the next disk is copied',
  { skip: skipUnlessTmpfs },
  async () => {
    await using small = await tmpfs('1m');
    await using scene = await makeScene([], (folder, at) =>
      join(at === 0 ? small.path : folder, `target-${at}`),
    );
    const { status, stderr } = await runSender([...scene.words, '--retry-for', '2s']);
    assert.equal(status, 6, stderr);
    assert.match(stderr, /^ddt-send: error: gave up .*no space left on device/m);
    const results = [...stderr.matchAll(/^result .*: (.*)$/gm)].map(([, result]) => result);
    assert.deepEqual(results, ['failed (exit status 6)', 'verified', 'verified']);
    for (const at of [1, 2]) await assertEqualFiles(scene.sources[at] ?? '', scene.targets[at] ?? '');
    await scene.receiver.end('SIGKILL');
  },
);

test('a receiver that is gone ends the run: the disks after it are not tried', async () => {
  await using scene = await makeScene();
  const { receiver, words } = scene;
  await using sender = await startSender([...words, '--bwlimit', '1MiB', '--retry-for', '1s']);
  await sender.waitForLine(/^disk {5}1 of 3: /);
  using client = new TicketClient(receiver.ticket);
  await until('some of the first', async () => (await client.durableCount()) > 2);
  await receiver.end('SIGKILL');
  const { status, stderr } = await bounded('the sender to end', sender.ended);
  assert.equal(status, 6, stderr);
  const results = [...stderr.matchAll(/^result .*: (.*)$/gm)].map(([, result]) => result);
  assert.deepEqual(results, ['failed (exit status 6)', 'not begun', 'not begun']);
});

test('a source that is the target of another one stops all, before the first byte', async () => {
  await using scene = await makeScene();
  const { receiver, sources, targets } = scene;
  const all = [sources[0] ?? '', sources[1] ?? '', targets[0] ?? ''];
  const { status, stderr } = await runSender([...SMALL_BLOCKS, '--ticket-file', receiver.ticketFile, ...all]);
  assert.equal(status, 4, stderr);
  assert.match(stderr, /error: cannot send \S+target-0 to \S+target-0: they are the same disk\n/);
  for (const ticket of receiver.tickets) {
    using client = new TicketClient(ticket);
    assert.equal((await client.status()).state, 'unclaimed');
  }
});

test(
  'public tickets of several transfers, and one key that signs for each',
  { skip: unlessInstalled('ssh-keygen') },
  async () => {
    await using keys = await tempDir();
    const key = await makeSshKey(join(keys.path, 'id'), 'ed25519');
    const allowed = join(keys.path, 'allowed');
    await writeFile(allowed, `alice@example.org ${await publicLine(key)}\n`);
    await using scene = await makeScene(['--allow-signers', allowed]);
    const { receiver, sources } = scene;
    const publicFile = `${receiver.ticketFile}.pub`;
    const lines = (await readFile(publicFile, 'utf8')).trim().split('\n');
    assert.equal(new Set(lines).size, 3);
    const words = [...SMALL_BLOCKS, '--identity', key, '--ticket-file', publicFile, ...sources];
    const { status, stderr } = await runSender(words, { SSH_AUTH_SOCK: undefined });
    assert.equal(status, 0, stderr);
    await assertAllEqual(scene);
  },
);

test('a file of tickets has to have one for each source', async () => {
  await using scene = await makeScene();
  const { receiver, sources } = scene;
  const place = ['--ticket-file', receiver.ticketFile];
  for (const [words, message] of [
    [
      [...place, ...sources.slice(0, 2)],
      `cannot use the tickets in ${receiver.ticketFile}: it has 3 tickets, there are 2 sources`,
    ],
    [
      [...place, sources[0] ?? ''],
      `cannot use the tickets in ${receiver.ticketFile}: it has 3 tickets, there is one source`,
    ],
  ] as const) {
    const { status, stderr } = await runSender(words);
    assert.deepEqual([status, stderr.split('\n')[0]], [2, `ddt-send: error: ${message}`]);
  }
});

void suite('through ssh', { skip: unlessRoot || unlessInstalled('ssh', 'sshd', 'ssh-keygen') }, () => {
  test('one login and one receiver for two disks; killed at both ends, it resumes', async () => {
    await using machine = await FarMachine.make();
    const sources = [await randomSource(machine.folder, 64), await randomSource(machine.folder, 40)];
    const targets = ['one', 'two'].map((name) => join(machine.folder, 'disks', name));
    const slow = [...SMALL_BLOCKS, '--bwlimit', '1MiB'];
    const first = await machine.startSeveral(sources, targets, ...slow);
    await first.waitForLine(/^disk {5}2 of 2: /);
    const receivers = await machine.receivers();
    assert.equal(receivers.length, 1);
    await new Promise((resolve) => void setTimeout(resolve, 1200));
    first.kill('SIGKILL');
    await bounded('the sender to end', first.ended);
    for (const id of receivers) process.kill(id, 'SIGKILL');
    const again = await machine.startSeveral(sources, targets, ...SMALL_BLOCKS);
    const { status, stderr } = await bounded('the second run', again.ended, 60_000);
    assert.equal(status, 0, stderr);
    assert.deepEqual(
      [...stderr.matchAll(/^disk {5}(\d) of 2: /gm)].map(([, number]) => number),
      ['2', '1'],
    );
    assert.equal([...stderr.matchAll(/^login /gm)].length, 1);
    assert.match(stderr, /^left {5}nothing at loopback$/m);
    for (const [at, source] of sources.entries()) await assertEqualFiles(source, targets[at] ?? '');
    await assertNothingLeft(machine);
  });

  test('it works where every connection has a login of its own', async () => {
    await using machine = await FarMachine.make();
    const sources = [await randomSource(machine.folder, 20), await randomSource(machine.folder, 30)];
    const targets = ['one', 'two'].map((name) => join(machine.folder, 'disks', name));
    const sender = await machine.startSeveral(sources, targets, ...SMALL_BLOCKS, ...NOWHERE);
    const { status, stderr } = await bounded('the run', sender.ended, 60_000);
    assert.equal(status, 0, stderr);
    for (const [at, source] of sources.entries()) await assertEqualFiles(source, targets[at] ?? '');
    await assertNothingLeft(machine);
  });

  test('a target that holds something is refused without a terminal, and none is claimed', async () => {
    await using machine = await FarMachine.make();
    const sources = [await randomSource(machine.folder, 2), await randomSource(machine.folder, 3)];
    const targets = ['one', 'two'].map((name) => join(machine.folder, 'disks', name));
    await writeFile(targets[1] ?? '', Buffer.alloc(MIB, 1));
    const sender = await machine.startSeveral(sources, targets, ...SMALL_BLOCKS);
    const { status, stderr } = await bounded('the run', sender.ended, 60_000);
    assert.equal(status, 4, stderr);
    assert.match(stderr, /says: cannot write to \S+two .*: it is not empty/);
    await assertNothingLeft(machine);
  });
});
