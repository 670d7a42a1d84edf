import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { programTrailer, readProgram } from '../../../common/program/program.ts';
import { VERSION } from '../../../common/protocol/version.ts';
import { sha256sum } from '../../support/processes.ts';
import { tempDir } from '../../support/temp-dir.ts';

test('a program is known by its end, and gets its digest', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'program');
  const bytes = Buffer.concat([Buffer.alloc(3_000_001, 7), programTrailer('arm64')]);
  await writeFile(path, bytes);
  assert.deepEqual(await readProgram(path, 'arm64'), {
    path,
    architecture: 'arm64',
    version: VERSION,
    sizeBytes: 3_000_065,
    sha256: await sha256sum(path),
  });
  assert.equal(await readProgram(path, 'x64'), undefined);
});

test('no program, one cut off, or one of another version is none', async () => {
  await using folder = await tempDir();
  const path = join(folder.path, 'program');
  assert.equal(await readProgram(path, 'x64'), undefined);
  const trailer = programTrailer('x64');
  const other = Buffer.from(trailer.toString('latin1').replace(VERSION, VERSION.replace(/\d/, '9')));
  for (const bytes of [Buffer.alloc(0), trailer.subarray(1), other]) {
    await writeFile(path, bytes);
    assert.equal(await readProgram(path, 'x64'), undefined);
  }
});
