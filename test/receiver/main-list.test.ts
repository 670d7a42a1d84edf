/** `ddt-receive --list`, over the journals of real receivers, stopped, killed and running. */
import assert from 'node:assert/strict';
import { mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { blockOf, claimByHand, putByHand } from '../support/by-hand.ts';
import { BLOCK_BYTES, SMALL_BLOCKS, randomSource } from '../support/copied.ts';
import { eventsOf, runReceiver, sendAll, startReceiver, until, type Receiver } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const BLOCKS = 16;
const SIZE_BYTES = BLOCKS * BLOCK_BYTES;

async function list(stateDir: string): Promise<string> {
  const { status, stdout, stderr } = await runReceiver(['--list', '--state-dir', stateDir]);
  assert.deepEqual([status, stderr], [0, '']);
  return stdout;
}

async function listJson(stateDir: string): Promise<Record<string, unknown>[]> {
  const { status, stdout, stderr } = await runReceiver(['--list', '--log', 'json', '--state-dir', stateDir]);
  assert.deepEqual([status, stderr], [0, '']);
  return eventsOf(stdout);
}

async function begin(receiver: Receiver, source: string, count: number): Promise<void> {
  await claimByHand(receiver, SIZE_BYTES, source);
  const bytes = await readFile(source);
  for (let at = 0; at < count; at++) assert.equal(await putByHand(receiver, at, blockOf(bytes, at)), 201);
}

/** Its lines, each value by its first word. */
function entryOf(stdout: string, target: string): Record<string, string> {
  const entry = stdout.split('\n\n').find((each) => each.startsWith(`target   ${target}:`));
  assert(entry !== undefined, stdout);
  const lines = entry.trim().split('\n');
  return Object.fromEntries(lines.map((line) => [line.slice(0, 8).trim(), line.slice(9)]));
}

test('each transfer of a state folder is listed with its state, whether a receiver runs or not', async () => {
  await using folder = await tempDir();
  const source = await randomSource(folder.path, BLOCKS);
  const [unclaimed, open, sealed] = ['unclaimed', 'open', 'sealed'].map((name) => join(folder.path, name));
  assert(unclaimed !== undefined && open !== undefined && sealed !== undefined);
  const start = async (target: string): Promise<Receiver> =>
    await startReceiver({ folder: folder.path, target });
  await using one = await start(unclaimed);
  await one.end('SIGTERM');
  await using two = await start(open);
  await begin(two, source, 6);
  await using three = await start(sealed);
  await sendAll(...SMALL_BLOCKS, source, three.ticket);
  await three.end('SIGKILL');
  const { stateDir } = one;

  const stdout = await list(stateDir);
  const { changed, journal, ...first } = entryOf(stdout, unclaimed);
  assert.match(changed ?? '', /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
  assert.match(journal ?? '', /\/[0-9a-f]{16}\/journal\.db$/);
  const notRunning = { receiver: 'not running' };
  const file = (path: string): string => `${path}: regular file`;
  assert.deepEqual(first, { target: file(unclaimed), state: 'waiting for a sender', ...notRunning });
  const from = { source: `${source}: regular file, 1 MiB` };
  const { changed: _c, journal: _j, ...third } = entryOf(stdout, sealed);
  assert.deepEqual(third, { target: file(sealed), state: 'sealed: all 16 blocks', ...from, ...notRunning });

  // The figures of one that runs are a few seconds old at most.
  const state = 'open, 37 %: 6 of 16 blocks durable';
  let running: Record<string, string> = {};
  await until('the receiver to note its progress', async () => {
    running = entryOf(await list(stateDir), open);
    return running['state'] === state;
  });
  assert.equal(running['receiver'], `running, process ${two.process.pid}`);
  assert.equal(running['source'], from.source);
  await two.end('SIGKILL');
  assert.deepEqual(
    [entryOf(await list(stateDir), open)['state'], entryOf(await list(stateDir), open)['receiver']],
    [state, 'not running'],
  );
});

test('listing changes nothing: a killed receiver resumes, and no time of change moves', async () => {
  await using folder = await tempDir();
  const source = await randomSource(folder.path, BLOCKS);
  await using receiver = await startReceiver({ folder: folder.path, target: join(folder.path, 'target') });
  await begin(receiver, source, 3);
  await receiver.end('SIGKILL');
  const first = await list(receiver.stateDir);
  await delay(1100);
  assert.equal(await list(receiver.stateDir), first);
  await receiver.start();
  const done = await sendAll(...SMALL_BLOCKS, source, receiver.ticket);
  assert.equal(done.blocksSkipped, 3);
});

test('as JSON each transfer is an object on standard output', async () => {
  await using folder = await tempDir();
  const source = await randomSource(folder.path, BLOCKS);
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ folder: folder.path, target });
  await begin(receiver, source, 4);
  await receiver.end('SIGTERM');
  const [{ changedMs, journal, ...facts } = {}, ...more] = await listJson(receiver.stateDir);
  assert.equal(Math.max((await stat(String(journal))).mtimeMs), changedMs);
  assert.deepEqual(more, []);
  assert.deepEqual(facts, {
    processId: null,
    isInUse: false,
    transfer: {
      state: 'open',
      target: { path: target, byId: null, description: 'regular file', serial: null, sizeBytes: null },
      source: { description: 'regular file', path: source, model: null, serial: null, byId: null },
      sizeBytes: SIZE_BYTES,
      blockCount: BLOCKS,
      durableBlocks: 4,
    },
  });
});

test('a damaged journal is listed with what is wrong, and the others all the same', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ folder: folder.path, target });
  const { stateDir } = receiver;
  const damaged = join(stateDir, '0123456789abcdef');
  await mkdir(damaged);
  await writeFile(join(damaged, 'journal.db'), 'this is no database'.repeat(100));
  const stdout = await list(stateDir);
  assert.equal(entryOf(stdout, target)['receiver'], `running, process ${receiver.process.pid}`);
  assert.match(
    stdout,
    /^problem {2}cannot open the journal \S+0123456789abcdef\/journal\.db: file is not a database$/m,
  );
  assert.deepEqual(await readdir(damaged), ['journal.db']);
});

test('a state folder without transfers, or that does not exist, lists none and stays as it is', async () => {
  await using folder = await tempDir();
  const stateDir = join(folder.path, 'state');
  assert.equal(await list(stateDir), `no transfers in ${stateDir}\n`);
  await mkdir(stateDir, { mode: 0o700 });
  assert.equal(await list(stateDir), `no transfers in ${stateDir}\n`);
  assert.deepEqual(await listJson(stateDir), []);
  assert.deepEqual(await readdir(stateDir), []);
});

test('a receiver that finds its journal in use names the process that has it', async () => {
  await using folder = await tempDir();
  const target = join(folder.path, 'target');
  await using receiver = await startReceiver({ folder: folder.path, target });
  const { status, stderr } = await runReceiver(['--state-dir', receiver.stateDir, target]);
  const { pid } = receiver.process;
  assert.equal(status, 4);
  const message = `^ddt-receive: error: another ddt-receive is using the journal \\S+ \\(process ${pid}\\)\n`;
  assert.match(stderr, new RegExp(`${message}ddt-receive: hint: stop that receiver first: kill ${pid}\n$`));
});
