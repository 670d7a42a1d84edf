import assert from 'node:assert/strict';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { keepPresence, readPresence } from '../../receiver/presence.ts';
import type { TransferSummary } from '../../receiver/transfer-summary.ts';
import { tempDir } from '../support/temp-dir.ts';

const SUMMARY: TransferSummary = {
  state: 'unclaimed',
  target: null,
  source: null,
  sizeBytes: null,
  blockCount: null,
  durableBlocks: 0,
};

test('a receiver is present from its start to its end, and leaves nothing behind', async () => {
  await using folder = await tempDir();
  {
    await using _presence = await keepPresence(folder.path, () => SUMMARY);
    const presence = await readPresence(folder.path);
    assert.deepEqual([presence?.processId, presence?.transfer], [process.pid, SUMMARY]);
  }
  assert.equal(await readPresence(folder.path), undefined);
  assert.deepEqual(await readdir(folder.path), []);
});

test('what a killed receiver leaves behind is ignored, even if its process id is in use', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'receiver.json');
  let text = '';
  {
    await using _presence = await keepPresence(folder.path, () => SUMMARY);
    text = await readFile(path, 'utf8');
  }
  for (const [change, isPresent] of [
    [{}, true],
    [{ processStart: '1' }, false],
    [{ processId: 1 }, false],
    [{ processId: 2 ** 22 + 1 }, false],
  ] as const) {
    await writeFile(path, JSON.stringify({ ...JSON.parse(text), ...change }));
    assert.equal((await readPresence(folder.path)) !== undefined, isPresent, JSON.stringify(change));
  }
  for (const damaged of ['', '{', 'null', '[]', text.slice(0, 20)]) {
    await writeFile(path, damaged);
    assert.equal(await readPresence(folder.path), undefined, damaged);
  }
});

test('a folder that can be written no more ends nothing', async () => {
  await using folder = await tempDir();
  const gone = join(folder.path, 'gone');
  await using _presence = await keepPresence(gone, () => SUMMARY);
  assert.equal(await readPresence(gone), undefined);
});
