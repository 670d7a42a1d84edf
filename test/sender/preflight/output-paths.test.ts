import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkOutputPaths } from '../../../sender/preflight/output-paths.ts';
import { tempDir } from '../../support/temp-dir.ts';

const OPTION = '--receipt';
const isRoot = process.geteuid?.() === 0;

test('files that can be written pass: new ones and old ones, by whatever name', async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('source'), '');
  await writeFile(at('old'), '', { mode: 0o400 });
  await symlink('old', at('link'));
  for (const path of [at('new'), at('old'), at('link'), at('a b\n')])
    await checkOutputPaths([{ option: OPTION, path }], at('source'));
  await checkOutputPaths([], at('absent'));
});

test('whatever cannot be written is refused, with its reason', async () => {
  await using folder = await tempDir();
  const at = (name: string): string => join(folder.path, name);
  await writeFile(at('source'), '');
  await symlink('source', at('link'));
  await mkdir(at('folder'));
  for (const [path, reason] of [
    [at('absent/x'), `there is no folder ${at('absent')}`],
    [at('folder'), 'it is a directory'],
    [at('source/x'), `${at('source')}: a part of the path is not a directory`],
    ['/dev/null', 'it is not a regular file'],
    [at('source'), 'it is the source'],
    [at('link'), 'it is the source'],
  ] as const) {
    await assert.rejects(checkOutputPaths([{ option: OPTION, path }], at('source')), {
      code: 'usage',
      message: `cannot write --receipt ${path}: ${reason}`,
    });
  }
});

test('two outputs in one place are refused', async () => {
  await using folder = await tempDir();
  const outputs = [
    { option: '--receipt', path: join(folder.path, 'x') },
    { option: '--mapfile', path: join(folder.path, '.', 'x') },
  ];
  await assert.rejects(checkOutputPaths(outputs, '/dev/null'), {
    message: `cannot write --mapfile ${join(folder.path, 'x')}: --receipt is written there`,
  });
});

test('a folder without the right to write is refused', { skip: !isRoot && 'needs root' }, async () => {
  await using folder = await tempDir();
  const locked = join(folder.path, 'locked');
  await mkdir(locked, { mode: 0o755 });
  const outputs = [{ option: OPTION, path: join(locked, 'x') }];
  process.seteuid?.(65_534);
  try {
    await assert.rejects(checkOutputPaths(outputs, '/dev/null'), { message: /: permission denied$/ });
  } finally {
    process.seteuid?.(0);
  }
});
