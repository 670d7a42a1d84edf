import assert from 'node:assert/strict';
import { open, readFile, readlink, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { DiskTools } from '../../../receiver/target/disk-tools.ts';
import { tempDir } from '../../support/temp-dir.ts';

const MIB = 1024 * 1024;

async function withTools(work: (tools: DiskTools, path: string) => Promise<void>): Promise<void> {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk');
  await writeFile(path, Buffer.alloc(4 * MIB, 0xa5));
  await using handle = await open(path, 'r+');
  const tools = new DiskTools(handle);
  try {
    await work(tools, path);
  } finally {
    await tools.close();
  }
}

/** The processes that have this file open, other than this one. */
async function holdersOf(path: string): Promise<string[]> {
  const holders: string[] = [];
  for (const processId of await readdir('/proc')) {
    if (!/^\d+$/.test(processId) || processId === String(process.pid)) continue;
    const folder = `/proc/${processId}/fd`;
    for (const fd of await readdir(folder).catch(() => [])) {
      const end = await readlink(join(folder, fd)).catch(() => '');
      if (end === path) holders.push(processId);
    }
  }
  return holders;
}

test('requests that are made at once are answered each for itself', async () => {
  await withTools(async (tools, path) => {
    const answers = await Promise.all([
      tools.punchHole(MIB, MIB),
      // Not a number for the shell.
      tools.punchHole(-1, MIB),
      tools.dropFromCache(),
      tools.punchHole(3 * MIB, MIB),
    ]);
    assert.deepEqual(answers, ['done', 'failed', true, 'done']);
    const expected = Buffer.alloc(4 * MIB, 0xa5)
      .fill(0, MIB, 2 * MIB)
      .fill(0, 3 * MIB);
    assert((await readFile(path)).equals(expected));
  });
});

test('signals for the receiver do not end it; killed, it punches no hole and drops no cache', async () => {
  await withTools(async (tools, path) => {
    const [processId] = await holdersOf(path);
    for (const signal of ['SIGUSR1', 'SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.kill(Number(processId), signal);
      assert.equal(await tools.punchHole(MIB, MIB), 'done', signal);
    }
    process.kill(Number(processId), 'SIGKILL');
    assert.equal(await tools.punchHole(0, MIB), 'not-supported');
    assert.equal(await tools.dropFromCache(), false);
  });
});

test('nothing of a request is taken for shell, and only numbers are taken', async () => {
  await withTools(async (tools, path) => {
    for (const offset of ['$(touch x)', '1;touch', '`id`', '0 1 2', '--help', '1MiB', '']) {
      assert.equal(await tools.punchHole(offset as never, MIB), 'failed', offset);
    }
    assert((await readFile(path)).equals(Buffer.alloc(4 * MIB, 0xa5)));
  });
});

test('closing lets go of the target, and nothing more is done', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'disk');
  await writeFile(path, 'x');
  await using handle = await open(path, 'r+');
  const tools = new DiskTools(handle);
  assert.equal(await tools.dropFromCache(), true);
  assert.equal((await holdersOf(path)).length, 1);
  await tools.close();
  assert.deepEqual(await holdersOf(path), []);
  assert.equal(await tools.dropFromCache(), false);
  assert.equal(await tools.punchHole(0, MIB), 'not-supported');
});
